"""Reads that may not wait, on real files."""

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from ottla.storage.disk import RealDisk

SIZE = 4 * 1024 * 1024
ASKED = 512 * 1024


def resident_pages(path: Path) -> int:
    """How many pages of a file the kernel has in memory (mincore(2))."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), SIZE, mmap.MAP_PRIVATE) as mapped:
        pages = (ctypes.c_ubyte * (SIZE // mmap.PAGESIZE))()
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        if ctypes.CDLL(None).mincore(ctypes.c_void_p(start), ctypes.c_size_t(SIZE), pages) != 0:
            raise OSError("mincore")
        return sum(page & 1 for page in pages)


@pytest.fixture
def forgotten(tmp_path: Path) -> Path:
    """A file the kernel has written out and dropped from memory."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    if resident_pages(path):
        pytest.skip("this file system does not drop pages")
    return path


def test_a_read_that_may_not_wait_brings_next_to_nothing_into_memory(forgotten: Path) -> None:
    """Whoever may not wait does not pay for pages either, those read ahead least of all."""
    file = RealDisk().open(str(forgotten), scattered=True)
    try:
        assert file.pread_into_now(memoryview(bytearray(ASKED)), 0) is None
        assert file.pread_now(ASKED, 0) is None
    finally:
        file.close()
    assert resident_pages(forgotten) <= 4


def test_what_a_worker_read_is_there(forgotten: Path) -> None:
    file = RealDisk().open(str(forgotten), scattered=True)
    try:
        data = file.pread(ASKED, 0)
        target = bytearray(ASKED)
        assert file.pread_into_now(memoryview(target), 0) == ASKED
        assert target == data
    finally:
        file.close()
    assert resident_pages(forgotten) == ASKED // mmap.PAGESIZE


def test_what_is_read_once_is_right_and_may_be_gone(forgotten: Path) -> None:
    """Where the system can (Linux 6.14) it leaves no pages; elsewhere it is a plain read."""
    file = RealDisk().open(str(forgotten), scattered=True)
    try:
        data = bytes(file.pread_once(ASKED, 4096))
        assert bytes(file.pread_once(8192, SIZE - 4096)) == file.pread(8192, SIZE - 4096)
        assert bytes(file.pread_once(ASKED, SIZE - 4096)) == file.pread(8192, SIZE - 4096)
        resident = resident_pages(forgotten)
        assert data == file.pread(ASKED, 4096)
    finally:
        file.close()
    assert resident < ASKED // mmap.PAGESIZE or not keeps_out(forgotten)


def keeps_out(path: Path) -> bool:
    """Whether the kernel knows RWF_DONTCACHE for this file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.preadv(descriptor, [bytearray(1)], 0, 0x80)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
