"""Waiting for something to become true, with a deadline and a reason."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, condition: Callable[[], T], seconds: float = 30.0, every: float = 0.02) -> T:
    """Ask `condition` until it answers something true, and return that.

    Raises:
        TimeoutError: it did not within `seconds`; the message is `what` and
            the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what} (last: {answer!r})")
        time.sleep(every)
