"""An asyncio event loop on virtual time: no selector, no socket, no thread.

When nothing is ready it leaps to the next deadline, so an hour of time-outs
passes in a moment, and two runs of the same program take the same steps. When
nothing is ready and nothing is scheduled, nothing can ever happen again: that
is a `DeadlockError` instead of a test that hangs.

asyncio promises that callbacks run in the order they were scheduled, and code
may rely on it. In which order *tasks* that are ready go on is no such promise;
with a seed they are shuffled, and other seeds find other interleavings.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_TURNS_AT_ONE_INSTANT = 1_000_000
"""More without time going on is a program that spins."""


class DeadlockError(Exception):
    """Nothing is ready and nothing is scheduled, but somebody still waits."""


class SpinError(Exception):
    """The program keeps the loop busy without time going on."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Time starts at 0 and moves only when nothing is ready."""

    # What asyncio's own loops share, as far as this one touches it.
    _ready: Any
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._order = None if seed is None else random.Random(seed)
        self._clock_resolution = 1e-6  # above the rounding of a float that counts years
        self._selector = _Leap(self)

    def time(self) -> float:
        return self._now

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        raise RuntimeError("there are no threads on virtual time")

    def leap(self, timeout: float | None) -> None:
        """Called once a turn, before due timers join the ready callbacks."""
        if timeout == 0:
            self._turns += 1
            if self._turns > MAX_TURNS_AT_ONE_INSTANT:
                self._turns = 0
                raise SpinError(f"{MAX_TURNS_AT_ONE_INSTANT} turns at {self._now} s")
            return
        if timeout is None:
            waiting = sorted(repr(task) for task in asyncio.all_tasks(self))
            raise DeadlockError("nothing can happen any more; waiting:\n" + "\n".join(waiting))
        self._turns = 0
        # Not `now + timeout`, which may miss the deadline by a rounding.
        self._now = max(self._now, self._scheduled[0].when())

    def _run_once(self) -> None:
        if self._order is not None and len(self._ready) > 1:
            self._shuffle_tasks(self._order)
        super()._run_once()  # type: ignore[misc]

    def _shuffle_tasks(self, order: random.Random) -> None:
        """Permute the ready steps of tasks among their places; callbacks keep theirs."""
        places = [place for place, handle in enumerate(self._ready) if _steps_a_task(handle)]
        handles = [self._ready[place] for place in places]
        order.shuffle(handles)
        for place, handle in zip(places, handles, strict=True):
            self._ready[place] = handle

    def _process_events(self, event_list: list[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _Leap:
    """Stands where the selector of a real loop stands."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop.leap(timeout)
        return []


def _steps_a_task(handle: Any) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


def run(main: Coroutine[Any, Any, T], seed: int | None = None) -> T:
    """Run `main` to its end on virtual time, as `asyncio.run` does on real time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(main)
