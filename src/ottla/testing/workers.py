"""Workers without threads: jobs run on the loop and finish at seeded times."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

from ottla.broker.slices import run_in_slices
from ottla.model.workers import Lane, SteppedJob

T = TypeVar("T")


class SimulatedWorkers:
    """Each job takes its own time, so jobs finish in another order than they were submitted."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seed: int, *, max_duration_ms: float = 2.0
    ) -> None:
        self._loop = loop
        self._random = random.Random(seed)
        self._max_duration_ms = max_duration_ms
        self._closed = False

    def submit(self, lane: Lane, job: Callable[[], T], /) -> asyncio.Future[T]:
        if self._closed:
            raise RuntimeError("the workers are closed")
        future: asyncio.Future[T] = self._loop.create_future()
        duration = self._random.random() * self._max_duration_ms / 1000
        self._loop.call_later(duration, _finish, job, future)
        return future

    def run_steps(
        self, job: SteppedJob, told: Callable[[Any], bool], bytes_per_second: float, /
    ) -> asyncio.Future[None]:
        """Each step takes its own time."""
        if self._closed:
            raise RuntimeError("the workers are closed")

        def pause() -> float:
            return self._random.random() * self._max_duration_ms / 1000

        return self._loop.create_task(
            run_in_slices(job, told, bytes_per_second, pause, slice_s=0.0)
        )

    async def close(self) -> None:
        """Take no more jobs; those under way finish."""
        self._closed = True


def _finish(job: Callable[[], T], future: asyncio.Future[T]) -> None:
    """Do the job, even if nobody waits for it any more, as a thread would."""
    try:
        result = job()
    except Exception as error:
        if not future.cancelled():
            future.set_exception(error)
    else:
        if not future.cancelled():
            future.set_result(result)
