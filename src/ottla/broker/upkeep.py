"""Periodic work, each piece bounded: flushes, retention, checkpoints, idle connections."""

import logging
from collections.abc import Callable

from ottla.model.clock import Clock, Timer

log = logging.getLogger("ottla.upkeep")


class Upkeep:
    """Jobs that run again and again, each at its own interval."""

    def __init__(self, clock: Clock, doubt: Callable[[AssertionError], None]) -> None:
        """`doubt` hears of a job that found our own state to be wrong."""
        self._clock = clock
        self._doubt = doubt
        self._timers: dict[str, Timer] = {}
        self._closed = False

    def every(self, name: str, interval_ms: Callable[[], int], job: Callable[[], object]) -> None:
        """Run `job` each `interval_ms()`; the interval is asked anew each time."""

        def run() -> None:
            if self._closed:
                return
            try:
                job()
            except AssertionError as error:
                self._doubt(error)
                return
            except Exception:
                log.exception("%s failed; it is tried again", name)
            arm()

        def arm() -> None:
            self._timers[name] = self._clock.call_at(self._clock.now_ms() + interval_ms(), run)

        arm()

    def close(self) -> None:
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
