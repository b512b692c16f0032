"""The kernel's queue syncs files; what it refuses, something else does; nothing is forgotten."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from ottla.broker import kernel_sync
from ottla.broker.kernel_sync import AT_ONCE, Done, KernelSyncs
from ottla.broker.system import ThreadWorkers


class Asked:
    """Who waits for a number of syncs."""

    def __init__(self, expected: int) -> None:
        self.outcomes: list[OSError | None] = []
        self._expected = expected
        self._all = asyncio.Event()

    def done(self, error: OSError | None) -> None:
        self.outcomes.append(error)
        if len(self.outcomes) == self._expected:
            self._all.set()

    async def wait(self) -> list[OSError | None]:
        await self._all.wait()
        return self.outcomes


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"data")
    yield fd
    os.close(fd)


def run(program: Callable[[KernelSyncs, list[int]], Awaitable[None]]) -> None:
    """Call it with a queue, and the descriptors that went another way."""

    async def main() -> None:
        refused: list[int] = []

        def otherwise(fd: int, done: Done) -> None:
            refused.append(fd)
            done(None)

        try:
            syncs = KernelSyncs(asyncio.get_running_loop(), otherwise)
        except OSError as error:
            pytest.skip(f"no such queue here: {error}")
        await program(syncs, refused)
        await syncs.close()

    asyncio.run(main())


def test_more_than_fit_at_once_are_all_synced(file: int) -> None:
    async def program(syncs: KernelSyncs, refused: list[int]) -> None:
        asked = Asked(3 * AT_ONCE)
        for _ in range(3 * AT_ONCE):
            syncs.sync(file, asked.done)
        assert await asked.wait() == [None] * (3 * AT_ONCE)
        assert refused == []

    run(program)


def test_what_the_kernel_refuses_goes_another_way_and_holds_up_nobody(file: int) -> None:
    async def program(syncs: KernelSyncs, refused: list[int]) -> None:
        ends = os.pipe()
        asked = Asked(5)
        for fd in (file, ends[0], file, ends[1], file):
            syncs.sync(fd, asked.done)
        assert await asked.wait() == [None] * 5
        assert refused == [*ends]
        for end in ends:
            os.close(end)

    run(program)


def test_a_sync_that_failed_is_told_with_its_reason(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def program(syncs: KernelSyncs, refused: list[int]) -> None:
        real = syncs._get

        def failing(queue: int, least: int, most: int, at: int, timeout: int) -> int:
            count = real(queue, least, most, at, timeout)
            for number in range(count):
                position = number * kernel_sync._EVENT.size
                slot, request, _, _ = kernel_sync._EVENT.unpack_from(syncs._events, position)
                kernel_sync._EVENT.pack_into(syncs._events, position, slot, request, -errno.EIO, 0)
            return count

        monkeypatch.setattr(syncs, "_get", failing)
        asked = Asked(1)
        syncs.sync(file, asked.done)
        (error,) = await asked.wait()
        assert error is not None
        assert error.errno == errno.EIO

    run(program)


def test_a_full_queue_is_tried_again_when_one_has_ended(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def program(syncs: KernelSyncs, refused: list[int]) -> None:
        real = syncs._submit

        def one_at_a_time(queue: int, count: int, at: int, _: int, __: int) -> int:
            if len(syncs._under_way) > count:
                kernel_sync.ctypes.set_errno(errno.EAGAIN)
                return -1
            return real(queue, 1, at, 0, 0)

        monkeypatch.setattr(syncs, "_submit", one_at_a_time)
        asked = Asked(20)
        for _ in range(20):
            syncs.sync(file, asked.done)
        assert await asked.wait() == [None] * 20
        assert refused == []

    run(program)


def test_closing_waits_for_what_was_asked_for(file: int) -> None:
    outcomes: list[OSError | None] = []

    async def program(syncs: KernelSyncs, refused: list[int]) -> None:
        for _ in range(AT_ONCE + 1):
            syncs.sync(file, outcomes.append)

    run(program)
    assert outcomes == [None] * (AT_ONCE + 1)


@pytest.mark.parametrize("there", [True, False])
def test_without_such_a_queue_threads_do_it(
    there: bool, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not there:
        monkeypatch.setattr(kernel_sync, "_NUMBERS", {})

    async def main() -> None:
        workers = ThreadWorkers(asyncio.get_running_loop())
        asked = Asked(3)
        workers.sync(file, asked.done)
        workers.sync(file, asked.done)
        workers.sync(1 << 20, asked.done)
        outcomes = await asked.wait()
        assert outcomes.count(None) == 2
        (error,) = [outcome for outcome in outcomes if outcome is not None]
        assert error.errno == errno.EBADF
        await workers.close()

    asyncio.run(main())
