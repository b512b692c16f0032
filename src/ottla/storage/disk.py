"""The few file operations used, with their durability stated; the real disk.

Everything above calls these and nothing else, so `memory_disk.MemoryDisk` can
stand in for `--memory`, and a test's subclass of it can tear writes or fail.

What always holds:
- Nothing is durable before `File.sync` (contents) and `Disk.sync_directory`
  (names: created, renamed and removed entries) have returned.
- What was written survives the death of the process, not of the machine.
- An `OSError` comes out as the system raised it; `is_passing` and
  `LogDirectory.refuse` say what it means.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import sys
from typing import NamedTuple, Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

PROBE_BYTES = 16 * 1024
"""Before more than this is read without waiting, its last byte is looked at."""

ONCE_BYTES = 16 * 1024
"""Less than this is read once like anything else: the next read is likely to want the rest."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""There is no room; it heals by itself."""

SHORT = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.EOPNOTSUPP}
)
"""The process is short of something; the disk is not to blame."""

_NOT_SUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_RWF_DONTCACHE = 0x80 if sys.platform == "linux" else 0
"""Of <linux/fs.h>, since Linux 6.14; Python has no name for it."""


def is_passing(error: OSError) -> bool:
    """Say whether trying later may help, so that the disk need not be given up."""
    return error.errno in FULL or error.errno in SHORT


def is_read_only(error: OSError) -> bool:
    """Say whether nothing may be written there, by us at least."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


class Space(NamedTuple):
    """Bytes of the file system that holds a path."""

    total_bytes: int
    usable_bytes: int


class File(Protocol):
    """One open file. Positions and sizes are in bytes."""

    def pread(self, size: int, position: int, /) -> bytes:
        """Return `size` bytes, fewer only where the file ends."""

    def pread_once(self, size: int, position: int, /) -> Buffer:
        """Like `pread`, but what had to be brought into memory for it need not stay there."""

    def pread_now(self, size: int, position: int, /) -> Buffer | None:
        """Like `pread`, but None where that would wait for the device."""

    def pread_into_now(self, target: memoryview, position: int, /) -> int | None:
        """Fill `target`, at least in part; 0 at the end of the file, None where that would wait."""

    def pwrite(self, data: Buffer, position: int, /) -> None:
        """Write all of `data`; on an OSError some of it may be there."""

    def truncate(self, size: int, /) -> None: ...

    def sync(self) -> None:
        """Make contents and size durable (fdatasync)."""

    def size(self) -> int: ...

    def close(self) -> None: ...


class Lock(Protocol):
    """A lock file held by this process."""

    def sync_file_system(self) -> bool:
        """Make everything written since the lock was taken durable, names and contents.

        Return False where it was tried, but a failure would not be told.

        Raises:
            OSError: something written since then may be lost.
        """

    def release(self) -> None: ...


class Disk(Protocol):
    """File operations by path; every one may raise OSError."""

    def open(self, path: str, /, *, create: bool = False, scattered: bool = False) -> File:
        """Open for reading and writing; FileNotFoundError unless it exists or `create`.

        `scattered`: only what is asked for is read. Otherwise more may be, ahead of the reader
        and at the expense of whoever reads, were it one who cannot wait.
        """

    def read(self, path: str, /) -> bytes:
        """Return the whole file."""

    def write(self, path: str, data: bytes, /, *, sync: bool) -> None:
        """Replace the file at once (a temporary one, renamed); durable if `sync`."""

    def create(self, path: str, data: bytes, /) -> None:
        """Write a file whose loss in a power cut is harmless."""

    def list(self, path: str, /) -> list[str]:
        """Return the entries of a directory, sorted."""

    def make_directory(self, path: str, /) -> None:
        """Create it; FileExistsError if it is there, parents are not made."""

    def make_directories(self, path: str, /) -> None:
        """Create it and its parents where missing."""

    def rename(self, old: str, new: str, /) -> None: ...

    def remove(self, path: str, /) -> None:
        """Remove a file; FileNotFoundError if there is none."""

    def remove_tree(self, path: str, /) -> None:
        """Remove a directory with all it holds; nothing happens if there is none."""

    def exists(self, path: str, /) -> bool: ...

    def is_directory(self, path: str, /) -> bool: ...

    def size(self, path: str, /) -> int: ...

    def modified_ms(self, path: str, /) -> int: ...

    def sync_directory(self, path: str, /) -> None:
        """Make the names in it durable."""

    def lock(self, path: str, /) -> Lock:
        """Hold the file; BlockingIOError when another holder lives."""

    def space(self, path: str, /) -> Space: ...

    def boot_id(self) -> str:
        """Name the running kernel's boot; "" where that cannot be known."""


class RealFile:
    """A file descriptor."""

    __slots__ = ("_dontcache", "_nowait", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._nowait = _RWF_NOWAIT
        self._dontcache = _RWF_DONTCACHE

    def pread(self, size: int, position: int, /) -> bytes:
        data = os.pread(self.fd, size, position)
        if len(data) == size or not data:
            return data
        parts = [data]
        have = len(data)
        while have < size:
            data = os.pread(self.fd, size - have, position + have)
            if not data:
                break
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def pread_once(self, size: int, position: int, /) -> Buffer:
        if size < ONCE_BYTES or not self._dontcache:
            return self.pread(size, position)
        buffer = bytearray(size)
        try:
            if os.preadv(self.fd, (buffer,), position, self._dontcache) == size:
                return buffer
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            self._dontcache = 0
        return self.pread(size, position)

    def pread_now(self, size: int, position: int, /) -> Buffer | None:
        if not self._nowait:
            return self.pread(size, position)
        buffer = bytearray(size)
        count = self.pread_into_now(memoryview(buffer), position)
        if count == size:
            return buffer
        return b"" if count == 0 else None

    def pread_into_now(self, target: memoryview, position: int, /) -> int | None:
        try:
            if len(target) > PROBE_BYTES and self._nowait:
                # Where a page is missing, the kernel makes room for all that was asked for first.
                last = position + len(target) - 1
                os.preadv(self.fd, (bytearray(1),), last, self._nowait)
            return os.preadv(self.fd, (target,), position, self._nowait)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED or not self._nowait:
                raise
            self._nowait = 0
            return os.preadv(self.fd, (target,), position)

    def pwrite(self, data: Buffer, position: int, /) -> None:
        written = os.pwrite(self.fd, data, position)
        if written != len(data):
            view = memoryview(data)
            while written < len(view):
                written += os.pwrite(self.fd, view[written:], position + written)

    def truncate(self, size: int, /) -> None:
        os.ftruncate(self.fd, size)

    def sync(self) -> None:
        sync_data(self.fd)

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        os.close(self.fd)


class _RealLock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def sync_file_system(self) -> bool:
        # Since 5.8 syncfs tells of every write-back that failed since the descriptor was opened.
        if sys.platform != "linux" or _kernel() < (5, 8):
            os.sync()
            return False
        import ctypes  # takes milliseconds, and is wanted when stopping only

        if ctypes.CDLL(None, use_errno=True).syncfs(self._fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return True

    def release(self) -> None:
        os.close(self._fd)


class RealDisk:
    """The operating system's files."""

    def __init__(self) -> None:
        # A file system without RWF_NOWAIT gets plain reads; by data directory.
        self._nowait_of_directory: dict[str, bool] = {}

    def open(self, path: str, /, *, create: bool = False, scattered: bool = False) -> File:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        file = RealFile(os.open(path, flags, 0o644))
        try:
            if scattered and _RWF_NOWAIT:
                # Else even RWF_NOWAIT finds memory for all that the kernel reads ahead, 8 MiB
                # where a device says so: measured, 20 ms of the loop.
                os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_RANDOM)
            if _RWF_NOWAIT and not self._nowait_works(os.path.dirname(path), file.fd):
                file._nowait = 0
        except OSError:
            file.close()
            raise
        return file

    def _nowait_works(self, directory: str, fd: int) -> bool:
        """Try it once per data directory; an empty file answers as well as a full one."""
        root = os.path.dirname(directory)
        works = self._nowait_of_directory.get(root)
        if works is None:
            try:
                os.preadv(fd, (bytearray(1),), 0, _RWF_NOWAIT)
                works = True
            except BlockingIOError:
                works = True
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                works = False
            self._nowait_of_directory[root] = works
        return works

    def read(self, path: str, /) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write(self, path: str, data: bytes, /, *, sync: bool) -> None:
        temporary = path + ".tmp"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        if sync:
            self.sync_directory(os.path.dirname(path))

    def create(self, path: str, data: bytes, /) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(fd, data)
        finally:
            os.close(fd)

    def list(self, path: str, /) -> list[str]:
        return sorted(os.listdir(path))

    def make_directory(self, path: str, /) -> None:
        os.mkdir(path, 0o755)

    def make_directories(self, path: str, /) -> None:
        os.makedirs(path, 0o755, exist_ok=True)

    def rename(self, old: str, new: str, /) -> None:
        os.rename(old, new)

    def remove(self, path: str, /) -> None:
        os.unlink(path)

    def remove_tree(self, path: str, /) -> None:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if os.path.lexists(path):
                raise

    def exists(self, path: str, /) -> bool:
        return os.path.lexists(path)

    def is_directory(self, path: str, /) -> bool:
        try:
            return stat.S_ISDIR(os.stat(path).st_mode)
        except FileNotFoundError:
            return False

    def size(self, path: str, /) -> int:
        return os.stat(path).st_size

    def modified_ms(self, path: str, /) -> int:
        return os.stat(path).st_mtime_ns // 1_000_000

    def sync_directory(self, path: str, /) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str, /) -> Lock:
        # Two locks: Kafka's own (POSIX, per process) keeps a Kafka out, and
        # flock keeps out a second broker inside this very process.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise BlockingIOError(errno.EAGAIN, "held by another process", path) from None
            raise
        return _RealLock(fd)

    def space(self, path: str, /) -> Space:
        found = os.statvfs(path)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def boot_id(self) -> str:
        try:
            return self.read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
        except OSError:
            return ""


def _kernel() -> tuple[int, int]:
    parts = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(parts[1]), int(parts[2])) if parts else (0, 0)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_data(fd: int) -> None:
    """Make what was written to a file durable, and its size."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # macOS, where plain fsync does not reach the platters either
        fcntl.fcntl(fd, getattr(fcntl, "F_FULLFSYNC", 51))
