"""Many that wait, and give up after the same time: one timer for all of them.

Nearly every wait ends long before its time. A timer for each costs more than the rest
of the waiting; here one is armed for the oldest, and looks again when it comes.
"""

from collections.abc import Callable
from functools import partial

from ottla.model.clock import Clock, Timer


class Timeouts:
    def __init__(self, clock: Clock) -> None:
        """`clock` is the transport clock."""
        self._clock = clock
        # By time-out: callbacks in the order of their deadlines, and the timer of the oldest.
        self._waiting: dict[int, dict[Callable[[], None], int]] = {}
        self._timers: dict[int, Timer] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, timeout_ms: int, callback: Callable[[], None]) -> None:
        """Call back in `timeout_ms` milliseconds, unless `remove` comes before; once only."""
        waiting = self._waiting.get(timeout_ms)
        deadline_ms = self._clock.now_ms() + timeout_ms
        if waiting is None:
            waiting = self._waiting[timeout_ms] = {}
            self._arm(timeout_ms, deadline_ms)
        waiting[callback] = deadline_ms

    def remove(self, timeout_ms: int, callback: Callable[[], None]) -> None:
        """Forget what was given to `add`; harmless once it was called."""
        waiting = self._waiting.get(timeout_ms)
        if waiting is not None and waiting.pop(callback, None) is not None and not waiting:
            del self._waiting[timeout_ms]
            self._timers.pop(timeout_ms).cancel()

    def _arm(self, timeout_ms: int, when_ms: int) -> None:
        self._timers[timeout_ms] = self._clock.call_at(when_ms, partial(self._due, timeout_ms))

    def _due(self, timeout_ms: int) -> None:
        waiting = self._waiting[timeout_ms]
        now_ms = self._clock.now_ms()
        due: list[Callable[[], None]] = []
        for callback, deadline_ms in waiting.items():
            if deadline_ms > now_ms:
                self._arm(timeout_ms, deadline_ms)
                break
            due.append(callback)
        for callback in due:
            del waiting[callback]
        if not waiting:
            del self._waiting[timeout_ms], self._timers[timeout_ms]
        for callback in due:
            callback()
