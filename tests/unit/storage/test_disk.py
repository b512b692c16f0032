"""The real disk and the one in memory behave alike."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.storage import disk as disk_module
from ottla.storage.disk import Disk, RealDisk, RealFile
from ottla.storage.memory_disk import MemoryDisk


@pytest.fixture(params=["real", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Disk, str]:
    if request.param == "real":
        return RealDisk(), str(tmp_path)
    disk = MemoryDisk()
    disk.make_directories("/data")
    return disk, "/data"


Place = tuple[Disk, str]


def test_what_is_written_is_read(place: Place) -> None:
    disk, root = place
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"hello world", 0)
    file.pwrite(memoryview(b"W"), 6)
    assert file.pread(100, 6) == b"World"
    assert bytes(file.pread_now(5, 0) or b"") == b"hello"
    assert file.pread(5, 50) == b""
    assert not file.pread_now(5, 50)
    assert file.size() == 11
    file.truncate(5)
    file.sync()
    file.close()
    assert disk.read(f"{root}/a") == b"hello"
    assert disk.size(f"{root}/a") == 5


def test_a_write_beyond_the_end_leaves_zeroes(place: Place) -> None:
    disk, root = place
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"x", 3)
    assert file.pread(10, 0) == b"\0\0\0x"
    file.truncate(6)
    assert file.size() == 6
    file.close()


def test_a_large_read_comes_whole(place: Place) -> None:
    disk, root = place
    data = bytes(range(256)) * 4000
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(data, 0)
    for size in (1, 1000, disk_module.PROBE_BYTES, disk_module.PROBE_BYTES + 1, len(data)):
        assert bytes(file.pread_now(size, 0) or b"") == data[:size]
    file.close()


def test_writing_a_file_replaces_it_at_once(place: Place) -> None:
    disk, root = place
    for sync in (True, False):
        disk.write(f"{root}/a", b"old and long", sync=sync)
        disk.write(f"{root}/a", b"new", sync=sync)
        assert disk.read(f"{root}/a") == b"new"
    assert disk.list(root) == ["a"]


MISSING: dict[str, Callable[[Disk, str], object]] = {
    "open": lambda disk, path: disk.open(path),
    "read": lambda disk, path: disk.read(path),
    "list": lambda disk, path: disk.list(path),
    "rename": lambda disk, path: disk.rename(path, path + "2"),
    "remove": lambda disk, path: disk.remove(path),
    "size": lambda disk, path: disk.size(path),
    "modified_ms": lambda disk, path: disk.modified_ms(path),
    "create": lambda disk, path: disk.create(path + "/below", b""),
    "make_directory": lambda disk, path: disk.make_directory(path + "/below"),
}


@pytest.mark.parametrize("operation", sorted(MISSING))
def test_what_is_missing_is_not_found(place: Place, operation: str) -> None:
    disk, root = place
    with pytest.raises(FileNotFoundError):
        MISSING[operation](disk, f"{root}/missing")


def test_directories_are_made_listed_renamed_and_removed(place: Place) -> None:
    disk, root = place
    disk.make_directories(f"{root}/a/b")
    disk.create(f"{root}/a/b/file", b"data")
    disk.create(f"{root}/a/z", b"")
    assert disk.list(f"{root}/a") == ["b", "z"]
    with pytest.raises(FileExistsError):
        disk.make_directory(f"{root}/a")
    disk.rename(f"{root}/a", f"{root}/c")
    assert disk.list(root) == ["c"]
    assert disk.read(f"{root}/c/b/file") == b"data"
    assert disk.is_directory(f"{root}/c/b")
    assert not disk.is_directory(f"{root}/c/z")
    assert disk.exists(f"{root}/c/z")
    disk.make_directory(f"{root}/d")
    with pytest.raises(OSError) as error:
        disk.rename(f"{root}/d", f"{root}/c")
    assert error.value.errno == errno.ENOTEMPTY
    disk.sync_directory(f"{root}/c")
    disk.remove_tree(f"{root}/c")
    disk.remove_tree(f"{root}/c")
    assert disk.list(root) == ["d"]


def test_a_removed_file_stays_readable_to_who_has_it_open(place: Place) -> None:
    disk, root = place
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"data", 0)
    disk.remove(f"{root}/a")
    assert file.pread(4, 0) == b"data"
    file.close()


def test_a_lock_is_held_once(place: Place) -> None:
    disk, root = place
    lock = disk.lock(f"{root}/.lock")
    with pytest.raises(BlockingIOError):
        disk.lock(f"{root}/.lock")
    lock.sync_file_system()
    lock.release()
    disk.lock(f"{root}/.lock").release()


def test_space_is_told(place: Place) -> None:
    disk, root = place
    space = disk.space(root)
    assert 0 < space.usable_bytes <= space.total_bytes


def test_the_boot_has_a_name() -> None:
    assert MemoryDisk().boot_id()
    assert RealDisk().boot_id() == RealDisk().boot_id()


# What the operating system may do, which a real disk here does not.


def opened(tmp_path: Path, size: int) -> RealFile:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    file = RealDisk().open(str(path))
    assert isinstance(file, RealFile)
    return file


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened(tmp_path, 0)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:3], at))
    file.pwrite(b"0123456789", 5)
    assert file.pread(20, 5) == b"0123456789"
    file.close()


def test_pages_that_are_not_cached_make_no_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path, 1 << 20)

    def not_cached(fd: int, buffers: object, at: int, flags: int = 0) -> int:
        raise BlockingIOError(errno.EAGAIN, "not now")

    monkeypatch.setattr(os, "preadv", not_cached)
    assert file.pread_now(10, 0) is None
    assert file.pread_now(1 << 20, 0) is None
    file.close()


def test_pages_that_are_partly_cached_make_no_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path, 100)
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at, flags=0: 4)
    assert file.pread_now(10, 0) is None
    file.close()


def test_a_file_system_without_nowait_gets_plain_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unsupported(fd: int, buffers: object, at: int, flags: int = 0) -> int:
        asked.append(at)
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(os, "preadv", unsupported)
    (tmp_path / "t-0").mkdir()
    disk = RealDisk()
    for name in ("a", "b"):
        file = disk.open(str(tmp_path / "t-0" / name), create=True)
        file.pwrite(b"data", 0)
        assert file.pread_now(4, 0) == b"data"
        file.close()
    assert len(asked) == 1


# What only the one in memory does.


class Torn(MemoryDisk):
    tracks_durability = True

    def fault(self, operation: str, path: str, size: int) -> int | None:
        return 3 if operation == "pwrite" and size > 5 else None


def test_a_torn_write_leaves_its_beginning() -> None:
    disk = Torn()
    file = disk.open("/a", create=True)
    with pytest.raises(OSError, match="Input/output"):
        file.pwrite(b"0123456789", 0)
    assert disk.read("/a") == b"012"


def test_a_power_cut_leaves_what_was_synced() -> None:
    disk = Torn()
    file = disk.open("/a", create=True)
    file.pwrite(b"one", 0)
    file.sync()
    file.pwrite(b"two", 3)
    boot = disk.boot_id()
    disk.power_cut()
    assert disk.read("/a") == b"one"
    assert disk.boot_id() != boot
