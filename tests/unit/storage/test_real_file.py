"""Reads that may not wait, on real files."""

import ctypes
import errno
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ottla.storage.disk import RealDisk

SIZE = 4 * 1024 * 1024
PAGE = mmap.PAGESIZE
LOOKED_AT = 2
"""The first page, whether such reads work at all; the last, whether this one would."""
CACHESTAT = 451
"""Number of the system call, the same on every architecture."""
RWF_DONTCACHE = 0x80

_libc = ctypes.CDLL(None, use_errno=True)


def cached_pages(path: Path) -> int:
    """How many pages of a file the kernel has made room for, read already or not (cachestat(2))."""
    found = (ctypes.c_uint64 * 5)()
    everything = (ctypes.c_uint64 * 2)(0, 0)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syscall(CACHESTAT, descriptor, everything, found, 0) != 0:
            raise OSError(ctypes.get_errno(), "cachestat")
    finally:
        os.close(descriptor)
    return int(found[0])


@pytest.fixture
def forgotten(tmp_path: Path) -> Path:
    """A file the kernel has written out and dropped from memory."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("this system has no reads that may not wait")
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    try:
        left = cached_pages(path)
    except OSError as error:
        pytest.skip(f"nobody tells what is in memory: {os.strerror(error.errno or 0)}")
    if left:
        pytest.skip("this file system does not drop pages")
    return path


class Asked:
    """How much reads that may not wait asked for, until one had to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self.answered = 0
        real = os.preadv

        def preadv(descriptor: int, buffers: Sequence[memoryview], offset: int, flags: int) -> int:
            size = sum(map(len, buffers))
            self.bytes += size
            count = real(descriptor, buffers, offset, flags)
            self.answered += size
            return count

        monkeypatch.setattr(os, "preadv", preadv)

    def check(self, path: Path) -> None:
        """Next to nothing, unless the disk was so fast that what was asked for first was there."""
        if self.answered:
            pytest.skip("the disk answered at once")
        assert self.bytes <= PAGE
        assert cached_pages(path) <= LOOKED_AT


@pytest.mark.parametrize("size", [64 << 10, 100 << 10, 256 << 10, 512 << 10, 1 << 20])
def test_a_read_that_may_not_wait_asks_for_next_to_nothing(
    forgotten: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not wait does not pay for pages either, those read ahead least of all."""
    file = RealDisk().open(str(forgotten), scattered=True)
    asked = Asked(monkeypatch)
    try:
        assert file.pread_now(size, 0) is None
    finally:
        file.close()
    asked.check(forgotten)


def test_nor_does_one_into_memory_that_is_there(
    forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RealDisk().open(str(forgotten), scattered=True)
    asked = Asked(monkeypatch)
    try:
        assert file.pread_into_now(memoryview(bytearray(512 << 10)), 0) is None
    finally:
        file.close()
    asked.check(forgotten)


def test_a_hole_is_no_read(forgotten: Path) -> None:
    """The last page is in memory, and those before it are not."""
    file = RealDisk().open(str(forgotten), scattered=True)
    try:
        file.pread(PAGE, (512 << 10) - PAGE)
        assert file.pread_now(512 << 10, 0) is None
    finally:
        file.close()


def test_what_a_worker_read_is_there(forgotten: Path) -> None:
    file = RealDisk().open(str(forgotten), scattered=True)
    try:
        data = file.pread(512 << 10, 0)
        assert file.pread_now(512 << 10, 0) == data
        target = bytearray(512 << 10)
        assert file.pread_into_now(memoryview(target), 0) == 512 << 10
        assert target == data
    finally:
        file.close()
    assert cached_pages(forgotten) == (512 << 10) // PAGE


def test_what_is_read_once_is_right_and_leaves_nothing(forgotten: Path) -> None:
    """Where the system can (Linux 6.14) no page stays; elsewhere it is a plain read."""
    file = RealDisk().open(str(forgotten), scattered=True)
    size = 512 << 10
    try:
        assert bytes(file.pread_once(8192, SIZE - PAGE)) == file.pread(8192, SIZE - PAGE)
        before = cached_pages(forgotten)
        data = bytes(file.pread_once(size, PAGE))
        after = cached_pages(forgotten)
        assert bytes(file.pread_once(size, SIZE - PAGE)) == file.pread(8192, SIZE - PAGE)
        assert data == file.pread(size, PAGE)
    finally:
        file.close()
    assert after == before + (0 if keeps_out(forgotten) else size // PAGE)


def keeps_out(path: Path) -> bool:
    """Whether the kernel knows RWF_DONTCACHE for this file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.preadv(descriptor, [bytearray(1)], 0, RWF_DONTCACHE)
    except OSError as error:
        return error.errno not in (errno.EOPNOTSUPP, errno.EINVAL)
    finally:
        os.close(descriptor)
    return True
