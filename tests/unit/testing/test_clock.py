"""A clock moved by hand fires what falls due, in order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.testing.clock import LoopClock, ManualClock
from ottla.testing.loop import VirtualLoop


@given(st.lists(st.integers(0, 1_000)), st.lists(st.integers(0, 300), min_size=1))
def test_each_timer_fires_at_its_own_time_in_order(delays: list[int], steps: list[int]) -> None:
    clock = ManualClock(0)
    fired: list[tuple[int, int]] = []
    for delay in delays:
        clock.call_at(delay, lambda delay=delay: fired.append((delay, clock.now_ms())))
    for step in steps:
        clock.advance(step)
    assert fired == [(delay, delay) for delay in sorted(delays) if delay <= sum(steps)]
    assert clock.now_ms() == sum(steps)


def test_a_timer_set_while_another_fires_also_fires() -> None:
    clock = ManualClock(0)
    fired: list[int] = []

    def again() -> None:
        fired.append(clock.now_ms())
        clock.call_at(clock.now_ms() + 10, again)

    clock.call_at(10, again)
    clock.advance(35)
    assert fired == [10, 20, 30]
    assert clock.next_deadline_ms() == 40


def test_on_a_loop_what_is_due_at_once_fires_in_the_next_turn() -> None:
    async def main() -> list[str]:
        clock = ManualClock(loop=asyncio.get_running_loop())
        fired: list[str] = []
        clock.call_at(clock.now_ms(), lambda: fired.append("now"))
        clock.call_at(clock.now_ms() + 1, lambda: fired.append("later"))
        assert not fired
        await asyncio.sleep(0)
        return fired

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == ["now"]


def test_a_cancelled_timer_does_not_fire() -> None:
    clock = ManualClock(0)
    fired: list[str] = []
    timer = clock.call_at(5, lambda: fired.append("cancelled"))
    clock.call_at(5, lambda: fired.append("kept"))
    timer.cancel()
    clock.advance(5)
    timer.cancel()
    assert fired == ["kept"]
    assert clock.next_deadline_ms() is None


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="go back"):
        ManualClock().advance(-1)


@given(st.lists(st.integers(0, 10**10), min_size=1))
def test_on_a_loop_a_timer_finds_its_millisecond_reached(delays: list[int]) -> None:
    loop = VirtualLoop()
    clock = LoopClock(loop)
    start = clock.now_ms()
    fired: list[int] = []
    for delay in delays:
        clock.call_at(start + delay, lambda: fired.append(clock.now_ms() - start))
    loop.call_at(clock.loop_time(start + max(delays) + 1), loop.stop)
    loop.run_forever()
    loop.close()
    assert fired == sorted(delays)


def test_on_a_loop_a_cancelled_timer_does_not_fire() -> None:
    async def main() -> list[str]:
        clock = LoopClock(asyncio.get_running_loop())
        fired: list[str] = []
        clock.call_at(clock.now_ms() + 5, lambda: fired.append("cancelled")).cancel()
        clock.call_at(clock.now_ms() + 5, lambda: fired.append("kept"))
        await asyncio.sleep(1)
        return fired

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == ["kept"]
