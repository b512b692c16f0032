"""Producer ids, a block at a time: a block is durable before its first id is handed out."""

import asyncio

from ottla.handlers.context import Control
from ottla.metadata import changes
from ottla.metadata.controller import Writes
from ottla.metadata.image import Image
from ottla.model.ids import ProducerId

BLOCK = 1000


class ProducerIds:
    """Ids that nobody was given before, also not before a restart: what is left of a block is lost."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def next(self) -> ProducerId:
        async with self._lock:
            if self._next == self._end:
                self._next = await self._control.change(self._take_block)
                self._end = self._next + BLOCK
            self._next += 1
            return self._next - 1

    def _take_block(self, image: Image) -> tuple[Writes, ProducerId]:
        first = image.next_producer_id
        return Writes((changes.producer_ids_key(first + BLOCK),)), first
