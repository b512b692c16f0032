"""Metadata changes: decided one at a time on the newest image, written, and answered once followed."""

import asyncio
from collections.abc import Callable
from typing import Any

from ottla.broker.image_follower import ImageFollower
from ottla.metadata.changes import CONTROLLER, merge
from ottla.metadata.controller import Writes
from ottla.metadata.image import Image
from ottla.metadata.store import Compare, Revision, Store
from ottla.model.errors import ApiError, ErrorCode, PeerError, StorageError


class Control:
    """The controller's hands: it holds the lock, the store and the follower."""

    def __init__(self, store: Store, follower: ImageFollower) -> None:
        self._store = store
        self._follower = follower
        self._lock = asyncio.Lock()
        self.controller_revision: Revision = 0
        """Of the key that says who controls; every transaction compares it."""
        self._in_doubt = False
        self._closed = False

    def close(self) -> None:
        """Decide nothing any more."""
        self._closed = True

    async def change(self, decide: Callable[[Image], tuple[Writes, Any]]) -> Any:
        """Decide, write, and return the decision's answer once this broker follows it.

        Raises:
            ApiError: the decision was to refuse; NOT_CONTROLLER, somebody else controls, or
                this broker stops;
                UNKNOWN_SERVER_ERROR, the store failed and the outcome is unknown.
        """
        async with self._lock:
            if self._closed:
                raise ApiError(ErrorCode.NOT_CONTROLLER)
            try:
                if self._in_doubt:
                    # What the last transaction did is learnt before the next is decided.
                    await self._follower.reached((await self._store.load()).revision)
                    self._in_doubt = False
                writes, answer = decide(self._follower.image)
                if not writes.puts and not writes.deletes:
                    return answer
                self._in_doubt = True
                result = await self._store.transact(
                    [Compare(CONTROLLER, self.controller_revision)],
                    merge(writes.puts),
                    writes.deletes,
                )
                self._in_doubt = False
                if result.ok:
                    await self._follower.reached(result.revision)
            except (StorageError, PeerError) as error:
                raise ApiError(
                    ErrorCode.UNKNOWN_SERVER_ERROR, f"the metadata store failed: {error}"
                ) from error
            if not result.ok:
                raise ApiError(ErrorCode.NOT_CONTROLLER)
            return answer
