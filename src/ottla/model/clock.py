"""Time, as an argument.

A broker has two clocks of this shape. The *domain* clock rules retention,
sessions, transactions and tokens; tests move it by hand. The *transport* clock
rules I/O time-outs and idle connections; it is real unless simulated.
"""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """One call in the future."""

    def cancel(self) -> None:
        """Forget the call; harmless once it has happened."""


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since 1970 (domain) or since some fixed moment (transport)."""

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> Timer:
        """Call back on the loop once `now_ms()` has reached `when_ms`, in order of `when_ms`."""
