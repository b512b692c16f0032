"""The store's old revisions are forgotten, or etcd would keep each of them for ever.

Every broker notes once in an interval how far the metadata is. The controller has the store forget
what was before its note from the interval before: who follows with less delay than that misses
nothing, and who has more reads everything anew.
"""

import asyncio
import logging

from ottla.broker.control import Control
from ottla.broker.image_follower import ImageFollower
from ottla.metadata.store import Revision, Store
from ottla.model.errors import PeerError, StorageError

log = logging.getLogger("ottla.cluster")


class Forgetting:
    interval_ms = 3_600_000

    def __init__(self, store: Store, follower: ImageFollower, control: Control) -> None:
        self._store = store
        self._follower = follower
        self._control = control
        self._noted: Revision = 0
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """To be called once in an interval."""
        before, self._noted = self._noted, self._follower.image.revision
        if before and self._control.is_controller and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._forget(before))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _forget(self, revision: Revision) -> None:
        try:
            await self._store.compact(revision)
        except (PeerError, StorageError) as error:
            log.warning("old revisions of the metadata are not forgotten yet: %s", error)
