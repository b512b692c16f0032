"""Jobs are done by a bounded number of threads; what comes of them arrives on the loop."""

import asyncio
import threading

import pytest

from ottla.broker.thread_lane import ThreadLane


def run(program: object) -> None:
    asyncio.run(program)  # type: ignore[arg-type]


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        lane = ThreadLane(asyncio.get_running_loop(), 2, "test")
        assert await lane.submit(lambda: 7) == 7

        def fail() -> None:
            raise OSError(5, "I/O error")

        with pytest.raises(OSError, match="I/O error"):
            await lane.submit(fail)
        await lane.close()

    run(main())


def test_many_jobs_all_come_back_from_few_threads() -> None:
    async def main() -> None:
        lane = ThreadLane(asyncio.get_running_loop(), 4, "test")
        seen: set[str] = set()

        def job(number: int) -> int:
            seen.add(threading.current_thread().name)
            return number

        futures = [lane.submit(lambda at=number: job(at)) for number in range(5_000)]
        assert await asyncio.gather(*futures) == list(range(5_000))
        assert seen <= {f"test_{number}" for number in range(4)}
        await lane.close()

    run(main())


def test_as_many_threads_as_jobs_at_once() -> None:
    """Two jobs that wait for each other both get one."""

    async def main() -> None:
        lane = ThreadLane(asyncio.get_running_loop(), 2, "test")
        met = threading.Barrier(2)
        await asyncio.gather(lane.submit(met.wait), lane.submit(met.wait))
        await lane.close()

    run(main())


def test_closing_waits_for_jobs_and_threads() -> None:
    async def main() -> None:
        lane = ThreadLane(asyncio.get_running_loop(), 1, "test")
        done: list[int] = []
        for number in range(3):
            lane.submit(lambda at=number: done.append(at))
        await lane.close()
        assert done == [0, 1, 2]
        assert not [thread for thread in threading.enumerate() if thread.name == "test_0"]

    run(main())


def test_who_gave_up_is_not_told() -> None:
    async def main() -> None:
        lane = ThreadLane(asyncio.get_running_loop(), 1, "test")
        go = threading.Event()
        future = lane.submit(go.wait)
        future.cancel()
        go.set()
        assert await lane.submit(lambda: "next") == "next"
        await lane.close()

    run(main())
