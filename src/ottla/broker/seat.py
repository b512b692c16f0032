"""The controller's seat: whoever finds it empty tries to take it; the store lets one."""

import asyncio
import logging

from ottla.broker.membership import Membership
from ottla.metadata import changes
from ottla.metadata.changes import Delta
from ottla.metadata.image import Image
from ottla.metadata.store import Compare, Store
from ottla.model.errors import PeerError, StorageError
from ottla.model.ids import NO_BROKER

log = logging.getLogger("ottla.cluster")


class Seat:
    """Follows images; the seat's key vanishes with the lease of the broker that has it."""

    def __init__(self, store: Store, membership: Membership) -> None:
        self._store = store
        self._membership = membership
        self._task: asyncio.Task[None] | None = None

    def follow(self, image: Image, delta: Delta | None = None) -> None:
        if image.controller_id != NO_BROKER or self._membership.epoch < 0:
            return
        mine = image.brokers.get(self._membership.me.broker_id)
        if mine is None or not mine.is_usable:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        membership = self._membership
        key, value = changes.controller_key(membership.me.broker_id)
        try:
            result = await self._store.transact(
                [Compare(key, 0), membership.registration],
                [(key, value)],
                leases={key: membership.lease},
            )
        except (PeerError, StorageError) as error:
            log.warning("the controller's seat may be empty: %s", error)
            return
        if result.ok:
            log.info("broker %d is the controller", membership.me.broker_id)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
