"""What goes to other brokers in batches: to each, one request under way at a time.

What comes meanwhile goes together in the next. Nothing is sent again here: who is told
that it failed asks again, and finds who is to be asked by then. A broker that the cluster
takes for dead is not waited for.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from ottla.broker.peers import Peers
from ottla.metadata.image import Image
from ottla.model.errors import PeerError
from ottla.model.ids import BrokerId
from ottla.net.peer import Link

log = logging.getLogger("ottla.batched")

T = TypeVar("T")

GONE = "the broker is not there any more"


class Batched(Generic[T]):
    def __init__(
        self,
        peers: Peers,
        *,
        split: Callable[[list[T]], tuple[list[T], list[T]]],
        send: Callable[[Link, list[T]], Awaitable[None]],
        failed: Callable[[list[T], str], None],
    ) -> None:
        """`peers` is for this alone.

        `split` says what goes with the next request, which is not empty, and what waits on;
        `send` answers everything it is given; `failed` hears of what was not sent, or of
        which nobody knows what became.
        """
        self._peers = peers
        self._split = split
        self._send = send
        self._failed = failed
        self._unsent: dict[BrokerId, list[T]] = {}
        self._senders: dict[BrokerId, asyncio.Task[None]] = {}
        self._is_closed = False

    def add(self, broker_id: BrokerId, item: T) -> None:
        """Send something with the next request to a broker."""
        self._unsent.setdefault(broker_id, []).append(item)
        if broker_id not in self._senders:
            sending = asyncio.get_running_loop().create_task(self._send_all(broker_id))
            self._senders[broker_id] = sending
            sending.add_done_callback(partial(self._ended, broker_id))

    def follow(self, image: Image) -> None:
        """Wait no longer for brokers that are not there any more."""
        for broker_id, sender in self._senders.items():
            if broker_id not in image.brokers:
                sender.cancel()

    def drop(self, is_unwanted: Callable[[T], bool]) -> list[T]:
        """Take back what was not sent yet and is not wanted any more."""
        dropped: list[T] = []
        for broker_id, unsent in self._unsent.items():
            dropped += [each for each in unsent if is_unwanted(each)]
            self._unsent[broker_id] = [each for each in unsent if not is_unwanted(each)]
        return dropped

    def close(self) -> None:
        """Send no more, and tell nobody."""
        self._is_closed = True
        self._unsent.clear()
        for sender in self._senders.values():
            sender.cancel()
        self._peers.close()

    async def _send_all(self, broker_id: BrokerId) -> None:
        under_way: list[T] = []
        why = GONE
        try:
            while unsent := self._unsent.pop(broker_id, None):
                under_way, waiting = self._split(unsent)
                if waiting:
                    self._unsent[broker_id] = waiting
                try:
                    link = await self._peers.link(broker_id)
                except PeerError as error:
                    self._failed(under_way, str(error))
                else:
                    await self._send(link, under_way)
                under_way = []
        except asyncio.CancelledError:
            pass
        except Exception as error:
            log.exception("to broker %d nothing was sent", broker_id)
            why = str(error)
        finally:
            self._give_up(broker_id, under_way, why)

    def _ended(self, broker_id: BrokerId, sender: "asyncio.Task[None]") -> None:
        """One that was cancelled before its first step has tidied nothing up."""
        if self._senders.get(broker_id) is sender:
            self._give_up(broker_id, [], GONE)

    def _give_up(self, broker_id: BrokerId, under_way: list[T], why: str) -> None:
        del self._senders[broker_id]
        left = under_way + self._unsent.pop(broker_id, [])
        if left and not self._is_closed:
            self._failed(left, why)
