"""The worker process: what it does, and when it ends."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tools.subject import until

from ottla.broker.worker_process import WorkerProcess
from ottla.model.workers import WorkerDied


class Squares(NamedTuple):
    """Tells squares; a number that is told is wrapped, bare ones are bytes."""

    count: int
    may_run_elsewhere: bool = True

    def steps(self) -> Iterator[object]:
        for number in range(self.count):
            yield number
            yield (number * number, os.getpid(), os.nice(0))


class Endless(NamedTuple):
    may_run_elsewhere: bool = True

    def steps(self) -> Iterator[object]:
        yield "begun"
        while True:
            yield 0


class Failing(NamedTuple):
    may_run_elsewhere: bool = True

    def steps(self) -> Iterator[object]:
        print("this must not get between the answers")
        yield ("told", 1)
        raise FileNotFoundError(2, "no such file", "/nowhere")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run(case: Callable[[WorkerProcess], Awaitable[None]]) -> None:
    async def main() -> None:
        worker = WorkerProcess()
        try:
            await case(worker)
        finally:
            await worker.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_jobs_run_one_after_the_other_in_one_process_of_low_priority() -> None:
    async def case(worker: WorkerProcess) -> None:
        told: list[Any] = []

        def hear(what: Any) -> bool:
            told.append(what)
            return True

        assert worker.pid is None, "nothing is started before it is needed"
        await asyncio.gather(worker.run(Squares(3), hear, 1e9), worker.run(Squares(2), hear, 1e9))
        assert [square for square, _, _ in told] == [0, 1, 4, 0, 1]
        assert {pid for _, pid, _ in told} == {worker.pid}
        assert told[0][2] >= min(19, os.nice(0) + 10)

    run(case)


def test_what_a_job_raises_comes_back() -> None:
    async def case(worker: WorkerProcess) -> None:
        told: list[Any] = []
        with pytest.raises(FileNotFoundError, match="nowhere"):
            await worker.run(Failing(), lambda what: told.append(what) or True, 1e9)
        assert told == [("told", 1)]
        pid = worker.pid
        await worker.run(Squares(1), lambda what: True, 1e9)
        assert worker.pid == pid, "it is still good for another job"

    run(case)


def test_who_has_heard_enough_stops_the_job() -> None:
    async def case(worker: WorkerProcess) -> None:
        await worker.run(Endless(), lambda what: False, 1e9)

    run(case)


def test_a_cancelled_job_ends() -> None:
    async def case(worker: WorkerProcess) -> None:
        begun = asyncio.Event()

        def hear(what: Any) -> bool:
            begun.set()
            return True

        task = asyncio.ensure_future(worker.run(Endless(), hear, 1e9))
        await begun.wait()
        pid = worker.pid
        assert pid is not None
        task.cancel()
        await asyncio.wait([task])
        until("the process is gone", lambda: not alive(pid))

    run(case)


def test_a_process_that_dies_is_told_and_replaced() -> None:
    async def case(worker: WorkerProcess) -> None:
        def kill(what: Any) -> bool:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            return True

        with pytest.raises(WorkerDied, match="status -9"):
            await worker.run(Endless(), kill, 1e9)
        told: list[Any] = []
        await worker.run(Squares(1), lambda what: told.append(what) or True, 1e9)
        assert len(told) == 1

    run(case)


PARENT = """
import asyncio, sys
from tests.unit.broker.test_worker_process import Endless
from ottla.broker.worker_process import WorkerProcess

async def main():
    worker = WorkerProcess()

    def hear(what):
        print(worker.pid, flush=True)
        return True

    await worker.run(Endless(), hear, 1e9)

asyncio.run(main())
"""


def test_it_ends_when_the_broker_was_killed() -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PARENT],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        until("the worker has noticed", lambda: not alive(pid))
