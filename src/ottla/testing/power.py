"""A disk that fails as disks do: power cuts, the process's death, full, broken, bits flipped.

What a power cut leaves of a file is drawn anew each time: only what was synced;
all that was written; the first operations since the sync, the next one torn; or
page by page the old or the new contents, zeroes where the file grew and its
pages never arrived. Names that were created, renamed or removed are durable
from the `sync_directory` of their directory on; of the others a beginning is
kept, as a journal does, or any of them. A rename is never half done.

A process that dies (`Died`) has done all operations up to that one, a write
perhaps in part. All is drawn from the randomness given: one seed, one outcome.
"""

import errno
import os
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from ottla.model.randomness import Randomness
from ottla.storage.disk import Buffer, File, Lock, Space
from ottla.storage.memory_disk import MemoryContent, MemoryDisk, MemoryFile

PAGE_BYTES: Final = 4096

_Operation: TypeAlias = tuple[int, bytes | None]
"""(position, data written there), or (size, None) for a truncation."""


class Died(BaseException):
    """The process ended in the middle of this call; nothing may be done after it."""


@dataclass
class Failure:
    """Operations that fail: those named, on paths that end so."""

    number: int
    """The errno."""
    operations: frozenset[str]
    suffix: str = ""
    spared: int = 0
    """So many of them succeed first."""
    times: int = -1
    """Then so many fail; -1: all."""


class _Content(MemoryContent):
    """A file that knows what of it is durable."""

    __slots__ = ("journal",)

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[_Operation] = []
        """What was done since the last sync."""


class _Directory:
    """A directory's durable names."""

    __slots__ = ("durable",)

    def __init__(self) -> None:
        self.durable: dict[str, _Content | _Directory] = {}


class _Place(NamedTuple):
    directory: _Directory
    name: str


class _Change(NamedTuple):
    """A name that is not durable yet: made (no source), removed (no target) or moved."""

    source: _Place | None
    target: _Place | None
    node: _Content | _Directory

    def concerns(self, directory: _Directory) -> bool:
        return any(
            place is not None and place.directory is directory
            for place in (self.source, self.target)
        )

    def take_effect(self) -> None:
        if self.source is not None:
            names = self.source.directory.durable
            if names.get(self.source.name) is not self.node:
                return  # what made it never took effect
            del names[self.source.name]
        if self.target is not None:
            self.target.directory.durable[self.target.name] = self.node


class _PowerFile(MemoryFile):
    __slots__ = ("_journaled", "_power")

    def __init__(self, disk: "PowerDisk", path: str, content: _Content) -> None:
        super().__init__(disk, path, content)
        self._power = disk
        self._journaled = content

    def pwrite(self, data: Buffer, position: int, /) -> None:
        disk, content = self._power, self._journaled
        size = len(data)
        allowed = size
        died = False
        gone = disk.was_dead
        try:
            disk.fault("pwrite", self._path, size)
        except Died:
            if gone:
                raise
            allowed, died = disk.randomness.below(size + 1), True
        room = disk.room()
        if position + allowed - len(content.data) > room:
            allowed = max(0, min(allowed, room + len(content.data) - position))
        done = bytes(data) if allowed == size else bytes(data[:allowed])
        if done:
            _perform(content.data, (position, done))
            content.journal.append((position, done))
            content.modified_ms = disk.now_ms()
        if died:
            raise Died
        if allowed < size:
            raise _error(errno.ENOSPC, self._path)

    def truncate(self, size: int, /) -> None:
        super().truncate(size)
        self._journaled.journal.append((size, None))

    def sync(self) -> None:
        content = self._journaled
        try:
            self._power.fault("sync", self._path, len(content.data))
        except OSError:
            # The kernel calls the pages clean now; the next sync says nothing of them.
            content.journal.clear()
            raise
        content.synced = bytes(_after(content.synced, content.journal))
        content.journal.clear()


class PowerDisk(MemoryDisk):
    """A memory disk whose power can be cut, and on which any operation can be the last."""

    def __init__(self, randomness: Randomness, page_bytes: int = PAGE_BYTES) -> None:
        super().__init__()
        self.randomness = randomness
        self.page_bytes = page_bytes
        self.operations = 0
        """How many were begun."""
        self.dies_at: int | None = None
        """The number of the operation in which the process dies."""
        self.was_dead = False
        """It died, and was not started again."""
        self.in_order = True
        """The names that the last power cut kept are the first of those not durable."""
        self.capacity: int | None = None
        """Bytes that fit; None: any number."""
        self.failures: list[Failure] = []
        self._root = _Directory()
        self._tree: dict[str, _Directory] = {"/": self._root}
        self._changes: list[_Change] = []

    # Faults.

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.was_dead:
            raise Died
        self.operations += 1
        if self.dies_at is not None and self.operations >= self.dies_at:
            self.dies_at = None
            self.was_dead = True
            raise Died
        for failure in self.failures:
            if operation in failure.operations and path.endswith(failure.suffix):
                if failure.spared:
                    failure.spared -= 1
                elif failure.times:
                    failure.times -= 1
                    raise _error(failure.number, path)
        return None

    def flip(self, path: str, bit: int) -> None:
        """Turn one bit of a file over, on the device itself; bit 0 is the first byte's lowest."""
        content = self.files[path]
        content.data[bit // 8] ^= 1 << bit % 8
        content.synced = bytes(content.data)

    def room(self) -> int:
        """How many bytes files may still grow by."""
        if self.capacity is None:
            return 1 << 40
        return self.capacity - sum(len(content.data) for content in self.files.values())

    def space(self, path: str, /) -> Space:
        if self.capacity is None:
            return super().space(path)
        return Space(self.capacity, max(self.room(), 0))

    # What changes files and names, step by step as the real disk does it.

    def open(self, path: str, /, *, create: bool = False, scattered: bool = False) -> File:
        path = _normal(path)
        self.fault("create" if create and path not in self.files else "open", path, 0)
        content = self.files.get(path)
        if content is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            content = self._new(path)
        assert isinstance(content, _Content)
        return _PowerFile(self, path, content)

    def _new(self, path: str) -> MemoryContent:
        super()._new(path)
        content = self.files[path] = _Content()
        content.modified_ms = self.now_ms()
        self._changes.append(_Change(None, self._place(path), content))
        return content

    def write(self, path: str, data: bytes, /, *, sync: bool) -> None:
        temporary = path + ".tmp"
        self._fill(temporary, data, sync)
        self.rename(temporary, path)
        if sync:
            self.sync_directory(os.path.dirname(path))

    def create(self, path: str, data: bytes, /) -> None:
        self._fill(path, data, sync=False)

    def _fill(self, path: str, data: bytes, sync: bool) -> None:
        file = self.open(path, create=True)
        try:
            if file.size():
                file.truncate(0)
            file.pwrite(data, 0)
            if sync:
                file.sync()
        finally:
            file.close()

    def make_directory(self, path: str, /) -> None:
        super().make_directory(path)
        path = _normal(path)
        directory = self._tree[path] = _Directory()
        self._changes.append(_Change(None, self._place(path), directory))

    def rename(self, old: str, new: str, /) -> None:
        old, new = _normal(old), _normal(new)
        node = self._node(old)
        super().rename(old, new)
        assert node is not None
        for path in [path for path in self._tree if path == old or path.startswith(old + "/")]:
            self._tree[new + path[len(old) :]] = self._tree.pop(path)
        self._changes.append(_Change(self._place(old), self._place(new), node))

    def remove(self, path: str, /) -> None:
        path = _normal(path)
        node = self._node(path)
        super().remove(path)
        assert node is not None
        self._changes.append(_Change(self._place(path), None, node))

    def remove_tree(self, path: str, /) -> None:
        path = _normal(path)
        for name in list(self.directories.get(path, ())):
            inside = f"{path}/{name}"
            if inside in self.directories:
                self.remove_tree(inside)
            else:
                self.remove(inside)
        super().remove_tree(path)
        directory = self._tree.pop(path, None)
        if directory is not None:
            self._changes.append(_Change(self._place(path), None, directory))

    def sync_directory(self, path: str, /) -> None:
        super().sync_directory(path)
        directory = self._tree.get(_normal(path))
        if directory is None:
            raise _error(errno.ENOENT, path)
        for change in self._changes:
            if change.concerns(directory):
                change.take_effect()
        self._changes = [change for change in self._changes if not change.concerns(directory)]

    def lock(self, path: str, /) -> Lock:
        self.fault("lock", _normal(path), 0)
        return _PowerLock(self, super().lock(path), path)

    def sync_all(self) -> None:
        """Make everything durable, names and contents."""
        self._keep(self._changes)
        for content in self.files.values():
            assert isinstance(content, _Content)
            content.synced = bytes(content.data)
            content.journal.clear()

    # Ends.

    def process_death(self) -> None:
        """The process is gone and the machine lives: what was written is there."""
        super().process_death()
        self.in_order = True
        self.was_dead = False
        self.dies_at = None

    def power_cut(self) -> None:
        """The machine is gone; what it leaves is durable, and a new boot begins."""
        below = self.randomness.below
        changes = self._changes
        in_order = below(2) == 0
        if in_order:
            kept = changes[: below(len(changes) + 1)]
        else:
            kept = [change for change in changes if below(2)]
        self._keep(kept)
        self.files.clear()
        self.directories.clear()
        self._tree.clear()
        self._appear("/", self._root)
        for content in self.files.values():
            assert isinstance(content, _Content)
            content.data = self._left(content)
            content.synced = bytes(content.data)
            content.journal.clear()
        self.process_death()
        self.in_order = in_order
        self.boot += "+"

    def _keep(self, changes: list[_Change]) -> None:
        for change in changes:
            change.take_effect()
        self._changes = []

    def _appear(self, path: str, directory: _Directory) -> None:
        self._tree[path] = directory
        self.directories[path] = dict.fromkeys(directory.durable)
        for name, node in directory.durable.items():
            inside = os.path.join(path, name)
            if isinstance(node, _Directory):
                self._appear(inside, node)
            else:
                self.files[inside] = node

    def _left(self, content: _Content) -> bytearray:
        """Draw what of a file reached the device."""
        below, journal = self.randomness.below, content.journal
        outcome = below(4) if journal else 0
        if outcome == 0:
            return bytearray(content.synced)
        if outcome == 1:
            return _after(content.synced, journal)
        done = below(len(journal))
        image = _after(content.synced, journal[:done])
        if outcome == 2:
            position, data = journal[done]
            if data is not None:
                _perform(image, (position, data[: below(len(data) + 1)]))
            return image
        versions = [content.synced, image, _after(content.synced, journal)]
        size = len(versions[below(3)])
        left = bytearray(size)
        for start in range(0, size, self.page_bytes):
            page = versions[below(3)][start : min(start + self.page_bytes, size)]
            left[start : start + len(page)] = page
        return left

    def _place(self, path: str) -> _Place:
        return _Place(self._tree[os.path.dirname(path)], os.path.basename(path))

    def _node(self, path: str) -> _Content | _Directory | None:
        found = self.files.get(path)
        assert found is None or isinstance(found, _Content)
        return found if found is not None else self._tree.get(path)


class _PowerLock:
    def __init__(self, disk: PowerDisk, lock: Lock, path: str) -> None:
        self._disk = disk
        self._lock = lock
        self._path = path

    def sync_file_system(self) -> bool:
        self._disk.fault("sync_file_system", self._path, 0)
        self._disk.sync_all()
        return True

    def release(self) -> None:
        self._lock.release()


def _perform(image: bytearray, operation: _Operation) -> None:
    position, data = operation
    end = position if data is None else position + len(data)
    if end > len(image):
        image.extend(bytes(end - len(image)))
    if data is None:
        del image[position:]
    else:
        image[position:end] = data


def _after(synced: bytes, journal: list[_Operation]) -> bytearray:
    image = bytearray(synced)
    for operation in journal:
        _perform(image, operation)
    return image


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _normal(path: str) -> str:
    return os.path.normpath(os.path.join("/", path))
