"""Threads that take jobs from one queue, and bring what came of them back to the loop together.

A thread that has something for the loop waits for the interpreter, which the loop
has; every system call in between is one more such wait. So a job costs one: what is
done goes into a list, and the loop is woken once for all that is there by then. Measured with
32 syncs at once: 60 us a job less than `concurrent.futures`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class ThreadLane:
    """At most `limit` threads, started when there is work for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, name: str) -> None:
        self._loop = loop
        self._limit = limit
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            SimpleQueue()
        )
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = False
        self._threads: list[Thread] = []
        self._under_way = 0
        self._emptied: asyncio.Future[None] | None = None

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Do it as soon as a thread is free; its result comes on the loop."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._under_way += 1
        if self._under_way > len(self._threads) < self._limit:
            name = f"{self._name}_{len(self._threads)}"
            thread = Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put((job, future))
        return future

    def _work(self) -> None:
        jobs, done = self._jobs, self._done
        while (taken := jobs.get()) is not None:
            job, future = taken
            result, error = None, None
            try:
                result = job()
            except BaseException as caught:
                error = caught
            done.append((future, result, error))
            # Set: the loop has yet to begin to look, and will find this too.
            if not self._waking:
                self._waking = True
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """On the loop: hand out what came, also what comes meanwhile."""
        self._waking = False
        done = self._done
        while done:
            future, result, error = done.popleft()
            self._under_way -= 1
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if self._emptied is not None and not self._under_way:
            self._emptied.set_result(None)

    async def close(self) -> None:
        """Come back when every job is done and no thread is left."""
        if self._under_way:
            self._emptied = self._loop.create_future()
            await self._emptied
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
