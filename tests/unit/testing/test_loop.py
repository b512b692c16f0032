"""Virtual time leaps, never waits, and finds programs that cannot go on."""

import asyncio
import time

import pytest

import ottla.testing.loop
from ottla.testing.loop import DeadlockError, SpinError, VirtualLoop, run


def test_a_year_passes_in_a_moment() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 24 * 3600)
        return asyncio.get_running_loop().time()

    assert run(main()) == 365 * 24 * 3600


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    async def main() -> list[int]:
        woken: list[int] = []

        async def sleeper(seconds: int) -> None:
            await asyncio.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*map(sleeper, [5, 3, 9, 1]))
        return woken

    assert run(main()) == [1, 3, 5, 9]


def test_a_time_out_needs_no_time() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), 30)

    run(main())


def test_no_real_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> float:
        raise AssertionError("the real clock was read")

    loop = VirtualLoop()
    monkeypatch.setattr(time, "monotonic", forbidden)
    monkeypatch.setattr(time, "time", forbidden)
    loop.run_until_complete(asyncio.sleep(60))
    loop.close()


def test_waiting_for_what_can_never_happen_is_a_deadlock() -> None:
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="stuck"):
        run(stuck())


def test_a_program_that_spins_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ottla.testing.loop, "MAX_TURNS_AT_ONE_INSTANT", 100)

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(SpinError):
        run(spin())


def test_there_are_no_threads() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="no threads"):
            await asyncio.to_thread(print)

    run(main())


async def finishing_order() -> tuple[int, ...]:
    done: list[int] = []

    async def task(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        done.append(number)

    await asyncio.gather(*map(task, range(6)))
    return tuple(done)


def test_without_a_seed_tasks_go_on_in_the_order_they_were_started() -> None:
    assert run(finishing_order()) == (0, 1, 2, 3, 4, 5)


def test_seeds_find_different_orders_and_each_always_the_same() -> None:
    orders = [run(finishing_order(), seed) for seed in range(20)]
    assert orders == [run(finishing_order(), seed) for seed in range(20)]
    assert len(set(orders)) > 10


def test_with_a_seed_plain_callbacks_keep_their_order() -> None:
    async def main() -> list[int]:
        called: list[int] = []
        for number in range(20):
            asyncio.get_running_loop().call_soon(called.append, number)
        await asyncio.sleep(0.001)
        return called

    assert run(main(), seed=1) == list(range(20))
