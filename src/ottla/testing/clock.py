"""Clocks for tests: one moved by hand, and one that follows an event loop.

`ManualClock` serves as the domain clock of a broker: nothing expires until the
test says that time has passed. `LoopClock` on a `VirtualLoop` leaps as the loop
does.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

START_MS = 1_700_000_000_000
"""When a simulated world begins: 14 November 2023, 22:13:20 UTC."""


class ManualTimer:
    """A call that `ManualClock` may still make."""

    __slots__ = ("callback", "when_ms")

    def __init__(self, when_ms: int, callback: Callable[[], None]) -> None:
        self.when_ms = when_ms
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Stands still until `advance`; then fires what falls due, in order, each at its own time.

    A timer set for now or earlier fires at the next `advance`, even by 0, or, on a
    loop, in its next turn.
    """

    def __init__(
        self, now_ms: int = START_MS, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._now_ms = now_ms
        self._loop = loop
        self._timers: list[tuple[int, int, ManualTimer]] = []
        self._sequence = count()

    def now_ms(self) -> int:
        return self._now_ms

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> ManualTimer:
        timer = ManualTimer(when_ms, callback)
        heapq.heappush(self._timers, (when_ms, next(self._sequence), timer))
        if self._loop is not None and when_ms <= self._now_ms:
            self._loop.call_soon(self.advance, 0)
        return timer

    def advance(self, by_ms: int) -> None:
        """Let `by_ms` pass; timers set meanwhile fire too if they fall due."""
        if by_ms < 0:
            raise ValueError(f"time does not go back: {by_ms} ms")
        end_ms = self._now_ms + by_ms
        while self._timers and self._timers[0][0] <= end_ms:
            when_ms, _, timer = heapq.heappop(self._timers)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._now_ms = max(self._now_ms, when_ms)
                callback()
        self._now_ms = max(self._now_ms, end_ms)

    def next_deadline_ms(self) -> int | None:
        """When the earliest timer falls due; None when there is none."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None


class LoopTimer:
    """A call that `LoopClock` may still make."""

    __slots__ = ("_callback", "_clock", "_handle", "_when_ms")

    def __init__(self, clock: "LoopClock", when_ms: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._when_ms = when_ms
        self._callback = callback
        self._arm()

    def cancel(self) -> None:
        self._handle.cancel()

    def _arm(self) -> None:
        self._handle = self._clock.loop.call_at(self._clock.loop_time(self._when_ms), self._fire)

    def _fire(self) -> None:
        if self._clock.now_ms() < self._when_ms:  # a loop may call a little early
            self._arm()
        else:
            self._callback()


class LoopClock:
    """The time of a loop, counted from `start_ms`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ms: int = START_MS) -> None:
        self.loop = loop
        self._start_ms = start_ms
        self._ahead_ms = 0
        self._loop_start = loop.time()

    def put(self, ahead_ms: int) -> None:
        """Show so much more than the loop's time from now on; timers that are set are not moved."""
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        # Whole microseconds first, so that a timer set for a millisecond finds it reached.
        elapsed_ms = round((self.loop.time() - self._loop_start) * 1e6) // 1000
        return self._start_ms + self._ahead_ms + elapsed_ms

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> LoopTimer:
        return LoopTimer(self, when_ms, callback)

    def loop_time(self, when_ms: int) -> float:
        """The loop's time, in seconds, at which this clock shows `when_ms`."""
        return self._loop_start + (when_ms - self._start_ms - self._ahead_ms) / 1000
