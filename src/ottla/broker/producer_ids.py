"""Producer ids, a block at a time: a block is durable before its first id is handed out.

No controller is needed: whoever takes a block compares what it took it from.
"""

import asyncio

from ottla.broker.image_follower import ImageFollower
from ottla.metadata import changes
from ottla.metadata.store import Compare, Store
from ottla.model.errors import ApiError, ErrorCode, PeerError, StorageError
from ottla.model.ids import ProducerId

BLOCK = 1000


class ProducerIds:
    """Ids that nobody was given before, also not before a restart: what is left of a block is lost."""

    def __init__(self, store: Store, follower: ImageFollower) -> None:
        self._store = store
        self._follower = follower
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def next(self) -> ProducerId:
        """Raise ApiError, COORDINATOR_LOAD_IN_PROGRESS as Kafka, where the store fails: try again."""
        async with self._lock:
            if self._next == self._end:
                try:
                    self._next = await self._take_block()
                except (StorageError, PeerError) as failure:
                    raise ApiError(
                        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
                        f"the metadata store failed: {failure}",
                    ) from failure
                self._end = self._next + BLOCK
            self._next += 1
            return self._next - 1

    async def _take_block(self) -> ProducerId:
        image = self._follower.image
        while True:
            first = image.next_producer_id
            key, value = changes.producer_ids_key(first + BLOCK)
            result = await self._store.transact(
                [Compare(key, image.producer_ids_revision)], [(key, value)]
            )
            image = await self._follower.at(result.revision)
            if result.ok:
                return first
