"""Many wait with one timer, and each is told in its time."""

from ottla.handlers.timeouts import Timeouts
from ottla.testing.clock import ManualClock


class Waiter:
    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    def due(self) -> None:
        self.told.append(self.name)


def test_each_is_told_at_its_time_and_once() -> None:
    clock, told = ManualClock(), list[str]()
    timeouts = Timeouts(clock)
    for name in ("first", "second", "third"):
        timeouts.add(100, Waiter(name, told).due)
        clock.advance(10)
    timeouts.add(5, Waiter("short", told).due)
    clock.advance(5)
    assert told == ["short"]
    clock.advance(65)
    assert told == ["short", "first"]
    clock.advance(10)
    assert told == ["short", "first", "second"]
    clock.advance(10_000)
    assert told == ["short", "first", "second", "third"]
    assert len(timeouts) == 0


def test_who_needs_it_no_more_is_not_told() -> None:
    clock, told = ManualClock(), list[str]()
    timeouts = Timeouts(clock)
    waiters = [Waiter(str(number), told) for number in range(4)]
    for waiter in waiters:
        timeouts.add(100, waiter.due)
        clock.advance(1)
    timeouts.remove(100, waiters[0].due)
    timeouts.remove(100, waiters[2].due)
    timeouts.remove(100, waiters[2].due)
    clock.advance(1_000)
    assert told == ["1", "3"]


def test_where_nobody_waits_no_timer_is_left() -> None:
    clock, told = ManualClock(), list[str]()
    timeouts = Timeouts(clock)
    for timeout_ms in range(50):
        waiter = Waiter("", told)
        timeouts.add(timeout_ms, waiter.due)
        timeouts.remove(timeout_ms, waiter.due)
    assert len(timeouts) == len(timeouts._waiting) == len(timeouts._timers) == 0
    waiter = Waiter("again", told)
    timeouts.add(10, waiter.due)
    clock.advance(10)
    assert told == ["again"]
    assert not timeouts._timers


def test_who_is_told_may_wait_again() -> None:
    clock, told = ManualClock(), list[str]()
    timeouts = Timeouts(clock)

    def again() -> None:
        told.append("due")
        if len(told) < 3:
            timeouts.add(10, again)

    timeouts.add(10, again)
    for _ in range(5):
        clock.advance(10)
    assert told == ["due"] * 3
