"""Simulated workers finish in seeded orders and keep what threads promise."""

import asyncio

import pytest

from ottla.model.workers import Lane
from ottla.testing.loop import run
from ottla.testing.workers import SimulatedWorkers


async def finishing_order(seed: int) -> tuple[int, ...]:
    workers = SimulatedWorkers(asyncio.get_running_loop(), seed)
    done: list[int] = []
    jobs = [workers.submit(Lane.READ, lambda n=n: done.append(n) or n) for n in range(6)]
    assert await asyncio.gather(*jobs) == list(range(6))
    return tuple(done)


def test_jobs_finish_in_an_order_of_the_seed() -> None:
    orders = [run(finishing_order(seed)) for seed in range(20)]
    assert orders == [run(finishing_order(seed)) for seed in range(20)]
    assert len(set(orders)) > 10


def test_what_a_job_raises_is_raised() -> None:
    async def main() -> None:
        workers = SimulatedWorkers(asyncio.get_running_loop(), 0)
        with pytest.raises(ZeroDivisionError):
            await workers.submit(Lane.CODEC, lambda: 1 // 0)

    run(main())


def test_a_job_nobody_waits_for_any_more_is_done_all_the_same() -> None:
    async def main() -> None:
        workers = SimulatedWorkers(asyncio.get_running_loop(), 0)
        done: list[str] = []
        workers.submit(Lane.FSYNC, lambda: done.append("value")).cancel()
        workers.submit(Lane.FSYNC, lambda: done[99]).cancel()
        await asyncio.sleep(1)
        assert done == ["value"]

    run(main())


def test_closed_workers_take_no_job() -> None:
    async def main() -> None:
        workers = SimulatedWorkers(asyncio.get_running_loop(), 0)
        await workers.close()
        with pytest.raises(RuntimeError, match="closed"):
            workers.submit(Lane.READ, lambda: None)

    run(main())
