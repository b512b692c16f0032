"""Hand each new image to the parts of the broker, in order."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ottla.handlers.slices import in_slices
from ottla.metadata.changes import Delta, apply_in_steps, difference, from_snapshot
from ottla.metadata.image import Image
from ottla.metadata.store import CompactedError, Revision, Store
from ottla.model.clock import Clock
from ottla.model.errors import PeerError, StorageError
from ottla.model.steps import Steps

T = TypeVar("T")

RETRY_MS = 200

Follow = Callable[[Image, Delta], Steps[None] | None]
"""Acts on what changed: at once, or in the steps it returns."""

log = logging.getLogger("ottla.metadata")


class ImageFollower:
    """The newest image, and who must act when it changes."""

    def __init__(self, store: Store, clock: Clock, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears why the image can no longer be followed; `clock` cuts long work."""
        self.image = Image()
        self._store = store
        self._clock = clock
        self._failed = failed
        self._parts: list[Follow] = []
        self._waiting: list[tuple[Revision, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._followed: Revision = 0
        self._ended: StorageError | None = None

    def add(self, part: Follow) -> None:
        """Parts are called in the order they were added."""
        self._parts.append(part)

    async def load(self) -> Image:
        """Take the image from the store, without telling the parts."""
        self.image = from_snapshot(await self._store.load())
        self._followed = self.image.revision
        return self.image

    async def load_when_there(self, patience_ms: int, goes_on: Callable[[], bool]) -> Image:
        """As `load`; a store that cannot be reached is waited for, while somebody wants to.

        Raises:
            PeerError: it still cannot be reached.
        """
        until_ms = self._clock.now_ms() + patience_ms
        is_said = False
        while True:
            try:
                return await self.load()
            except PeerError as error:
                if not goes_on() or self._clock.now_ms() >= until_ms:
                    raise
                if not is_said:
                    is_said = True
                    log.warning("waiting for the metadata store: %s", error)
            await self._pause()

    async def newest(self) -> Image:
        """The image of everything that is in the store by now."""
        if self._task is None:
            return await self.load()
        await self.reached((await self._store.load()).revision)
        return self.image

    async def at(self, revision: Revision) -> Image:
        """The image of `revision`, or of a later one.

        Raises: as `reached`; before `start`, as the store's `load`.
        """
        if self._task is None:
            return self.image if self.image.revision >= revision > 0 else await self.load()
        await self.reached(revision)
        return self.image

    def start(self) -> None:
        """Follow every change after the loaded image."""
        self._task = asyncio.get_running_loop().create_task(self._follow(self.image.revision))

    async def _follow(self, revision: Revision) -> None:
        try:
            while True:
                try:
                    await self._watch(revision)
                    return
                except CompactedError as error:
                    log.warning("reading all metadata anew: %s", error)
                    revision = await self._reload()
        except Exception as error:
            log.exception("the metadata store can no longer be followed")
            self._end(f"the metadata store can no longer be followed: {error}")
            self._failed(error)

    async def _watch(self, revision: Revision) -> None:
        async for changes in self._store.watch(revision):
            image, delta = await self._run(apply_in_steps(self.image, changes))
            await self._hand_out(image, delta)

    async def _reload(self) -> Revision:
        """The store forgot changes before they were seen: take everything as it is now."""
        while True:
            try:
                image = from_snapshot(await self._store.load())
                break
            except PeerError as error:
                log.warning("the metadata store does not answer: %s", error)
                await self._pause()
        await self._hand_out(image, difference(self.image, image))
        return image.revision

    async def _hand_out(self, image: Image, delta: Delta) -> None:
        self.image = image
        for part in self._parts:
            steps = part(image, delta)
            if steps is not None:
                await self._run(steps)
        self._followed = image.revision
        self._wake(image.revision)

    async def _pause(self) -> None:
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.now_ms() + RETRY_MS, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    async def _run(self, steps: Steps[T]) -> T:
        return await in_slices(self._clock, steps)

    def _end(self, reason: str) -> None:
        """No image comes any more: nobody must go on waiting for one."""
        self._ended = StorageError(reason)
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(StorageError(reason))

    def _wake(self, revision: Revision) -> None:
        waiting, self._waiting = self._waiting, []
        for wanted, future in waiting:
            if wanted > revision:
                self._waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)

    async def reached(self, revision: Revision) -> None:
        """Return once every part has followed the image of `revision`.

        Raises:
            StorageError: no part will.
        """
        if self._followed >= revision:
            return
        if self._ended is not None:
            raise self._ended
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, future))
        await future

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._end("the broker stops")
