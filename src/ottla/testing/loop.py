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
import heapq
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CANCELLED_TIMERS_KEPT = 100
"""With more, of which most are cancelled, the others are put into a new heap, as asyncio does."""

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
    _scheduled: list[tuple[float, asyncio.TimerHandle]]
    """With their times beside them: a timer is slow to compare."""
    _check_closed: Callable[[], None]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._order = None if seed is None else random.Random(seed)
        self.holds: Callable[[Any], bool] | None = None
        """Asked before anything runs: True keeps it from running, and it is the asked one's."""
        self._clock_resolution = 1e-6  # above the rounding of a float that counts years

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        raise RuntimeError("there are no threads on virtual time")

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, (when, timer))
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def run_soon(self, handle: asyncio.Handle) -> None:
        """Run in the next turn what was held."""
        self._ready.append(handle)

    def handles(self) -> list[Any]:
        """All that is ready, and all that will be."""
        return [*self._ready, *(timer for _, timer in self._scheduled)]

    def forget(self) -> None:
        """Nothing of what is ready or scheduled happens."""
        self._ready.clear()
        self._scheduled.clear()

    def _run_once(self) -> None:
        """One turn: leap if nothing is ready, then run what is ready now.

        What asyncio's own does, without a selector and without its debug mode:
        a simulation spends much of its time here.
        """
        ready = self._ready
        if self._order is not None and len(ready) > 1:
            self._shuffle_tasks(self._order)
        self._forget_cancelled()
        scheduled = self._scheduled
        if ready or self._stopping or (scheduled and scheduled[0][0] <= self._now):
            self._turns += 1
            if self._turns > MAX_TURNS_AT_ONE_INSTANT:
                self._turns = 0
                raise SpinError(f"{MAX_TURNS_AT_ONE_INSTANT} turns at {self._now} s")
        elif scheduled:
            self._turns = 0
            self._now = scheduled[0][0]
        else:
            waiting = sorted(repr(task) for task in asyncio.all_tasks(self))
            raise DeadlockError("nothing can happen any more; waiting:\n" + "\n".join(waiting))
        due = self._now + self._clock_resolution
        while scheduled and scheduled[0][0] < due:
            timer: Any = heapq.heappop(scheduled)[1]
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled and (self.holds is None or not self.holds(handle)):
                handle._run()

    def _forget_cancelled(self) -> None:
        scheduled: list[tuple[float, Any]] = self._scheduled
        count = len(scheduled)
        if count > CANCELLED_TIMERS_KEPT and 2 * self._timer_cancelled_count > count:
            for _, timer in scheduled:
                timer._scheduled = not timer._cancelled
            self._scheduled = [entry for entry in scheduled if entry[1]._scheduled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
            return
        while scheduled and scheduled[0][1]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)[1]._scheduled = False

    def _shuffle_tasks(self, order: random.Random) -> None:
        """Permute the ready steps of tasks among their places; callbacks keep theirs."""
        places = [place for place, handle in enumerate(self._ready) if _steps_a_task(handle)]
        handles = [self._ready[place] for place in places]
        order.shuffle(handles)
        for place, handle in zip(places, handles, strict=True):
            self._ready[place] = handle

    def _write_to_self(self) -> None:
        pass


def _steps_a_task(handle: Any) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


def run(main: Coroutine[Any, Any, T], seed: int | None = None) -> T:
    """Run `main` to its end on virtual time, as `asyncio.run` does on real time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(main)
