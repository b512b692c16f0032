"""The worker process: Python work that would starve the loop, at low priority.

It is started for the first job and ends when there was none for a while, when
the broker stops, or when the broker is gone: then its input ends. Jobs and what
they tell travel pickled, each behind its length in four bytes, big-endian.
"""

import asyncio
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

from ottla.broker.worker_main import LENGTH
from ottla.model.workers import SteppedJob, WorkerDied

IDLE_S = 60.0


class WorkerProcess:
    """One process, one job at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: dict[asyncio.subprocess.Process, None] = {}

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def run(
        self, job: SteppedJob, told: Callable[[Any], bool], bytes_per_second: float
    ) -> None:
        """Do `job` there.

        Raises:
            WorkerDied: the process ended before the job.
            Exception: what the job raised.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            for ended in [p for p in self._ending if p.returncode is not None]:
                del self._ending[ended]
            process = await self._ensure()
            done = False
            try:
                await self._converse(process, job, told, bytes_per_second)
                done = True
            except (asyncio.IncompleteReadError, ConnectionError):
                status = await process.wait()
                raise WorkerDied(f"the worker process ended with status {status}") from None
            except _JobError as error:
                done = True
                raise error.reason from None
            finally:
                if done:
                    loop = asyncio.get_running_loop()
                    self._idle = loop.call_later(IDLE_S, self._end)
                else:
                    self._end(kill=True)

    async def _ensure(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            path = os.pathsep.join(entry for entry in sys.path if entry)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "ottla.broker.worker_main",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # what a terminal interrupts is the broker
            )
        return self._process

    async def _converse(
        self,
        process: asyncio.subprocess.Process,
        job: SteppedJob,
        told: Callable[[Any], bool],
        bytes_per_second: float,
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        data = pickle.dumps((job, bytes_per_second))
        process.stdin.write(LENGTH.pack(len(data)) + data)
        await process.stdin.drain()
        while True:
            (size,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            kind, value = pickle.loads(await process.stdout.readexactly(size))
            if kind == "done":
                return
            if kind == "failed":
                raise _JobError(value)
            if not told(value):
                return self._end(kill=True)

    def _end(self, kill: bool = False) -> None:
        """Let it end; `kill` does not wait for its step."""
        process, self._process = self._process, None
        if process is None:
            return
        self._ending[process] = None
        if kill and process.returncode is None:
            process.kill()
        elif process.stdin is not None:
            process.stdin.close()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._end(kill=True)
        for process in self._ending:
            await process.communicate()


class _JobError(Exception):
    def __init__(self, reason: BaseException) -> None:
        self.reason = reason
