"""A clock that goes as another does, and leaps ahead when it is told to.

As the domain clock of a broker it lets a test have hours pass: sessions, transactions, retention
and delays fall due, in order, each at its own time.
"""

import heapq
from collections.abc import Callable
from itertools import count

from ottla.model.clock import Clock, Timer
from ottla.testing.clock import ManualTimer


class LeapingClock:
    """`clock`, and what was leapt over. Timers set back or cancelled cost nothing later."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = 0
        self._timers: list[tuple[int, int, ManualTimer]] = []
        self._order = count()
        self._armed: tuple[int, Timer] | None = None

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._ahead_ms

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> ManualTimer:
        timer = ManualTimer(when_ms, callback)
        heapq.heappush(self._timers, (when_ms, next(self._order), timer))
        self._arm()
        return timer

    def advance(self, by_ms: int) -> None:
        """Leap; what falls due on the way is called, each thing when it is due."""
        if by_ms < 0:
            raise ValueError(f"time does not go back: {by_ms} ms")
        end_ms = self.now_ms() + by_ms
        self._call_due(end_ms)
        self._ahead_ms += max(0, end_ms - self.now_ms())
        self._arm()

    def _call_due(self, end_ms: int) -> None:
        while self._timers and self._timers[0][0] <= end_ms:
            when_ms, _, timer = heapq.heappop(self._timers)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._ahead_ms += max(0, when_ms - self.now_ms())
                callback()

    def _arm(self) -> None:
        """Have the other clock call when the first timer is due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        when_ms = self._timers[0][0] - self._ahead_ms if self._timers else None
        if self._armed is not None:
            if self._armed[0] == when_ms:
                return
            self._armed[1].cancel()
            self._armed = None
        if when_ms is not None:
            self._armed = (when_ms, self._clock.call_at(when_ms, self._fire))

    def _fire(self) -> None:
        self._armed = None
        self._call_due(self.now_ms())
        self._arm()
