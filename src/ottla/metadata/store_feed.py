"""The recent changes of an embedded store, and the watches that read them.

There is one bounded history and no queue per watch: a watch remembers only the
revision it has reached. One that falls behind further than the history reaches
is told so (`CompactedError`) and loads anew.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from ottla.metadata.store import Changes, CompactedError, Revision

MAX_CHANGES = 1_000
MAX_KEYS = 50_000
"""Whichever is reached first; the newest change is always kept, however big."""


class Feed:
    """The changes of the revisions (`_forgotten`, `_forgotten` + len(`_history`)], without gaps."""

    def __init__(
        self, revision: Revision, *, max_changes: int = MAX_CHANGES, max_keys: int = MAX_KEYS
    ) -> None:
        self._history: deque[Changes] = deque()
        self._forgotten = revision
        self._keys = 0
        self._max_changes = max_changes
        self._max_keys = max_keys
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False

    def publish(self, changes: Changes) -> None:
        """Hand the changes of the next revision to every watch."""
        assert changes.revision == self._forgotten + len(self._history) + 1, changes.revision
        self._history.append(changes)
        self._keys += _key_count(changes)
        while len(self._history) > 1 and (
            len(self._history) > self._max_changes or self._keys > self._max_keys
        ):
            self._keys -= _key_count(self._history.popleft())
            self._forgotten += 1
        self._wake()

    def forget(self, revision: Revision) -> None:
        """Forget the changes before `revision`, as far as there are any."""
        while self._history and self._forgotten + 1 < revision:
            self._keys -= _key_count(self._history.popleft())
            self._forgotten += 1

    def close(self) -> None:
        """End every watch once it has yielded what was published."""
        self._closed = True
        self._wake()

    async def watch(self, after_revision: Revision) -> AsyncIterator[Changes]:
        while True:
            if after_revision < self._forgotten:
                raise CompactedError(
                    f"changes up to revision {self._forgotten} are forgotten, "
                    f"those after {after_revision} were asked for"
                )
            index = after_revision - self._forgotten
            if index < len(self._history):
                after_revision += 1
                yield self._history[index]
            elif self._closed:
                return
            else:
                waiting = asyncio.get_running_loop().create_future()
                self._waiting.append(waiting)
                await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


def _key_count(changes: Changes) -> int:
    return len(changes.puts) + len(changes.deletes)
