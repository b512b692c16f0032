"""A disk that is memory: for `ottla serve --memory` and for tests.

Same behaviour as `disk.RealDisk`, error numbers included. Nothing is shared
between two instances; a broker restarted on the same instance finds its files.

A test's subclass overrides `fault`, which is asked before every operation that
may change or read something: it raises an OSError, or returns how many bytes
of a write reach the file before the error that `torn` names.
"""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Final

from ottla.storage.disk import Buffer, File, Lock, Space

TOTAL_BYTES: Final = 1 << 40
"""What `space` reports as the size of memory."""


class MemoryContent:
    """A file's bytes, shared by all its openings and names."""

    __slots__ = ("data", "modified_ms", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""
        """What a power cut would leave; kept only where `tracks_durability`."""
        self.modified_ms = 0


class MemoryFile:
    """One opening of a file."""

    __slots__ = ("_content", "_disk", "_open", "_path")

    def __init__(self, disk: "MemoryDisk", path: str, content: MemoryContent) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._open = True
        disk.open_files += 1

    def pread(self, size: int, position: int, /) -> bytes:
        assert self._open, self._path
        self._disk.fault("pread", self._path, size)
        return bytes(self._content.data[position : position + size])

    def pread_once(self, size: int, position: int, /) -> Buffer:
        return self.pread(size, position)

    def pread_now(self, size: int, position: int, /) -> Buffer | None:
        assert self._open, self._path
        if not self._disk.cached(self._path, position, size):
            return None
        self._disk.fault("pread", self._path, size)
        return self._content.data[position : position + size]

    def pread_into_now(self, target: memoryview, position: int, /) -> int | None:
        data = self.pread_now(len(target), position)
        if data is None:
            return None
        target[: len(data)] = data
        return len(data)

    def pwrite(self, data: Buffer, position: int, /) -> None:
        assert self._open, self._path
        size = len(data)
        allowed = self._disk.fault("pwrite", self._path, size)
        content = self._content
        have = content.data
        if allowed is not None and allowed < size:
            data = memoryview(data)[:allowed]
        if position > len(have):
            have.extend(bytes(position - len(have)))
        have[position : position + len(data)] = data
        content.modified_ms = self._disk.now_ms()
        if len(data) != size:
            raise OSError(self._disk.torn, os.strerror(self._disk.torn), self._path)

    def truncate(self, size: int, /) -> None:
        assert self._open, self._path
        self._disk.fault("truncate", self._path, size)
        have = self._content.data
        if size <= len(have):
            del have[size:]
        else:
            have.extend(bytes(size - len(have)))

    def sync(self) -> None:
        assert self._open, self._path
        self._disk.fault("sync", self._path, len(self._content.data))
        if self._disk.tracks_durability:
            self._content.synced = bytes(self._content.data)

    def size(self) -> int:
        return len(self._content.data)

    def close(self) -> None:
        assert self._open, self._path
        self._open = False
        self._disk.open_files -= 1


class _MemoryLock:
    def __init__(self, disk: "MemoryDisk", path: str) -> None:
        self._disk = disk
        self._path = path

    def sync_file_system(self) -> bool:
        self._disk.fault("sync_file_system", self._path, 0)
        if self._disk.tracks_durability:
            for content in self._disk.files.values():
                content.synced = bytes(content.data)
        return True

    def release(self) -> None:
        self._disk.locked.discard(self._path)


class MemoryDisk:
    """Files by absolute path."""

    tracks_durability: bool = False
    """Keep what `sync` made durable, so that `power_cut` can go back to it."""

    def __init__(self, now_ms: Callable[[], int] = lambda: 0) -> None:
        self.files: dict[str, MemoryContent] = {}
        self.directories: dict[str, dict[str, None]] = {"/": {}}
        """The names in each directory."""
        self.now_ms = now_ms
        self.locked: set[str] = set()
        self.open_files = 0
        self.torn = errno.EIO
        self.boot = "memory"

    # Hooks.

    def fault(self, operation: str, path: str, size: int) -> int | None:
        """Raise to fail; return a byte count to tear a write; None to go on."""
        return None

    def cached(self, path: str, position: int, size: int) -> bool:
        """Is that range in the page cache? False sends the read to a worker."""
        return True

    # The Disk protocol.

    def open(self, path: str, /, *, create: bool = False, scattered: bool = False) -> File:
        path = _normal(path)
        self.fault("create" if create and path not in self.files else "open", path, 0)
        content = self.files.get(path)
        if content is None:
            if not create:
                raise _no_entry(path)
            content = self._new(path)
        return MemoryFile(self, path, content)

    def _new(self, path: str) -> MemoryContent:
        if path in self.directories:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self._names_beside(path)[os.path.basename(path)] = None
        content = self.files[path] = MemoryContent()
        content.modified_ms = self.now_ms()
        return content

    def _names_beside(self, path: str) -> dict[str, None]:
        try:
            return self.directories[os.path.dirname(path)]
        except KeyError:
            raise _no_entry(path) from None

    def _inside(self, path: str) -> Iterator[str]:
        """Yield the paths of all that a directory holds, it first."""
        yield path
        for name in list(self.directories.get(path, ())):
            yield from self._inside(os.path.join(path, name))

    def read(self, path: str, /) -> bytes:
        path = _normal(path)
        self.fault("read", path, 0)
        try:
            return bytes(self.files[path].data)
        except KeyError:
            raise _no_entry(path) from None

    def write(self, path: str, data: bytes, /, *, sync: bool) -> None:
        path = _normal(path)
        self.fault("write", path, len(data))
        self.files.pop(path, None)
        content = self._new(path)
        content.data += data
        if sync and self.tracks_durability:
            content.synced = data

    def create(self, path: str, data: bytes, /) -> None:
        path = _normal(path)
        self.fault("create", path, len(data))
        content = self._new(path)
        content.data += data

    def list(self, path: str, /) -> list[str]:
        try:
            return sorted(self.directories[_normal(path)])
        except KeyError:
            raise _no_entry(path) from None

    def make_directory(self, path: str, /) -> None:
        path = _normal(path)
        self.fault("make_directory", path, 0)
        if path in self.directories or path in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._names_beside(path)[os.path.basename(path)] = None
        self.directories[path] = {}

    def make_directories(self, path: str, /) -> None:
        path = _normal(path)
        if path not in self.directories:
            self.make_directories(os.path.dirname(path))
            self.make_directory(path)

    def rename(self, old: str, new: str, /) -> None:
        old, new = _normal(old), _normal(new)
        self.fault("rename", old, 0)
        if old not in self.files and old not in self.directories:
            raise _no_entry(old)
        if self.directories.get(new):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), new)
        self._names_beside(new)[os.path.basename(new)] = None
        del self._names_beside(old)[os.path.basename(old)]
        for path in list(self._inside(old)):
            moved = new + path[len(old) :]
            if path in self.files:
                self.files[moved] = self.files.pop(path)
            else:
                self.directories[moved] = self.directories.pop(path)

    def remove(self, path: str, /) -> None:
        path = _normal(path)
        self.fault("remove", path, 0)
        if self.files.pop(path, None) is None:
            raise _no_entry(path)
        del self._names_beside(path)[os.path.basename(path)]

    def remove_tree(self, path: str, /) -> None:
        path = _normal(path)
        self.fault("remove_tree", path, 0)
        if path not in self.directories:
            return
        del self._names_beside(path)[os.path.basename(path)]
        for entry in list(self._inside(path)):
            self.files.pop(entry, None)
            self.directories.pop(entry, None)

    def exists(self, path: str, /) -> bool:
        path = _normal(path)
        return path in self.files or path in self.directories

    def is_directory(self, path: str, /) -> bool:
        return _normal(path) in self.directories

    def size(self, path: str, /) -> int:
        try:
            return len(self.files[_normal(path)].data)
        except KeyError:
            raise _no_entry(path) from None

    def modified_ms(self, path: str, /) -> int:
        try:
            return self.files[_normal(path)].modified_ms
        except KeyError:
            raise _no_entry(path) from None

    def sync_directory(self, path: str, /) -> None:
        self.fault("sync_directory", _normal(path), 0)

    def lock(self, path: str, /) -> Lock:
        path = _normal(path)
        if path in self.locked:
            raise BlockingIOError(errno.EAGAIN, "held by another broker", path)
        if path not in self.files:
            self._new(path)
        self.locked.add(path)
        return _MemoryLock(self, path)

    def space(self, path: str, /) -> Space:
        used = sum(len(content.data) for content in self.files.values())
        return Space(TOTAL_BYTES, TOTAL_BYTES - used)

    def boot_id(self) -> str:
        return self.boot

    # For tests.

    def power_cut(self) -> None:
        """Forget what was never synced, and boot anew; needs `tracks_durability`."""
        assert self.tracks_durability
        for content in self.files.values():
            content.data = bytearray(content.synced)
        self.process_death()
        self.boot += "+"

    def process_death(self) -> None:
        """Let go of what only a living process holds."""
        self.locked.clear()
        self.open_files = 0

    def left_by_the_dead(self) -> "MemoryDisk":
        """What a process that died leaves, where what of it still moves no longer reaches it."""
        left = MemoryDisk(self.now_ms)
        left.boot = self.boot
        left.directories = {path: dict(names) for path, names in self.directories.items()}
        for path, content in self.files.items():
            copy = left.files[path] = MemoryContent()
            copy.data += content.data
            copy.modified_ms = content.modified_ms
        return left


def _normal(path: str) -> str:
    return os.path.normpath(os.path.join("/", path))


def _no_entry(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
