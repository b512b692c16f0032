from ottla.testing.clock import ManualClock
from ottla.testing.leaping_clock import LeapingClock


def test_it_goes_as_the_other_clock_does() -> None:
    under = ManualClock(1_000)
    clock = LeapingClock(under)
    called: list[str] = []
    clock.call_at(1_020, lambda: called.append("second"))
    clock.call_at(1_010, lambda: called.append("first"))
    clock.call_at(1_015, lambda: called.append("never")).cancel()
    under.advance(10)
    assert (called, clock.now_ms()) == (["first"], 1_010)
    under.advance(10)
    assert called == ["first", "second"]


def test_what_falls_due_in_a_leap_is_called_at_its_own_time() -> None:
    under = ManualClock(1_000)
    clock = LeapingClock(under)
    seen: list[int] = []

    def again() -> None:
        seen.append(clock.now_ms())
        if len(seen) < 3:
            clock.call_at(clock.now_ms() + 100, again)

    clock.call_at(1_100, again)
    clock.advance(250)
    assert (seen, clock.now_ms()) == ([1_100, 1_200], 1_250)
    assert under.now_ms() == 1_000
    under.advance(49)
    assert seen == [1_100, 1_200]
    under.advance(1)
    assert seen == [1_100, 1_200, 1_300]
