"""Where long work is cut: by the clock, and by steps where the clock stands still."""

import asyncio
from collections.abc import Callable

import pytest

from ottla.handlers.slices import FEW, LOOK_AT_CLOCK, SLICE_MS, SLICE_STEPS, answer, in_slices
from ottla.model.steps import Steps
from ottla.testing.clock import ManualClock
from ottla.testing.loop import run


def steps(count: int, each: Callable[[], object] = lambda: None) -> Steps[int]:
    for _ in range(count):
        each()
        yield
    return count


def turns(count: int, clock: ManualClock, each: Callable[[], object] = lambda: None) -> list[int]:
    """How many steps were done at each turn that somebody else had."""
    done = 0
    seen: list[int] = []

    def step() -> None:
        nonlocal done
        done += 1
        each()

    async def main() -> None:
        work = asyncio.ensure_future(in_slices(clock, steps(count, step)))
        await asyncio.sleep(0)
        while not work.done():
            seen.append(done)
            await asyncio.sleep(0)
        assert await work == count

    run(main())
    return seen


def test_short_work_is_one_slice() -> None:
    assert turns(FEW, ManualClock()) == []


def test_without_time_going_on_a_slice_is_a_number_of_steps() -> None:
    at_most = SLICE_STEPS + LOOK_AT_CLOCK & ~LOOK_AT_CLOCK
    assert turns(3 * at_most, ManualClock()) == [at_most, 2 * at_most, 3 * at_most, 3 * at_most]


def test_slow_steps_end_a_slice_early() -> None:
    clock = ManualClock()
    seen = turns(4 * (LOOK_AT_CLOCK + 1), clock, lambda: clock.advance(SLICE_MS))
    assert seen[:3] == [(LOOK_AT_CLOCK + 1) * number for number in (1, 2, 3)]


def test_the_answer_of_long_work_is_given_in_a_slice_of_its_own() -> None:
    seen = turns(SLICE_STEPS + 50, ManualClock())
    assert seen[-1] == SLICE_STEPS + 50


def test_an_error_ends_the_work() -> None:
    def broken() -> None:
        raise ValueError("the third step")

    async def main() -> None:
        with pytest.raises(ValueError, match="third"):
            await in_slices(ManualClock(), steps(1, broken))

    run(main())


def test_a_few_steps_need_no_task() -> None:
    assert answer(ManualClock(), FEW, steps(FEW)) == FEW
    long = answer(ManualClock(), FEW + 1, steps(FEW + 1))
    assert asyncio.iscoroutine(long)

    async def main() -> None:
        assert await long == FEW + 1

    run(main())
