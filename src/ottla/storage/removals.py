"""Files to write or remove: what a worker does for a log directory, and what waits to be removed."""

import contextlib
from typing import NamedTuple

from ottla.model.errors import StorageError
from ottla.storage import names
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import is_passing
from ottla.storage.segment import Segment


class NotNowError(StorageError):
    """The disk is full, or short of something: the same job may be run again later."""


class FilesJob:
    """Files to write or remove, for a worker."""

    __slots__ = ("directory", "disk", "number", "removals", "size", "trees", "writes")

    def __init__(self, directory: LogDirectory) -> None:
        self.directory = directory
        self.disk = directory.disk
        self.writes: list[tuple[str, bytes]] = []
        self.number = directory.newest.number()
        """Of what `writes` says."""
        self.removals: list[str] = []
        self.trees: list[str] = []
        self.size = 0
        """Bytes of segments among what is removed."""

    @property
    def rewrites(self) -> tuple[str, ...]:
        """The files it writes, if it does nothing else; a newer job for them replaces it."""
        return () if self.removals or self.trees else tuple(path for path, _ in self.writes)

    def run(self) -> None:
        """Write and remove; what was done already is done again.

        Raises:
            NotNowError: there was no room, or no descriptor.
            StorageError: tell `LogDirectory.go_offline` on the loop.
        """
        try:
            self.directory.newest.write(self.disk, self.writes, self.number)
            # A segment must not come back alone, with those after it gone: first all are renamed.
            for path in sorted({names.parent(path) for path in self.removals}):
                if self.disk.exists(path):
                    self.disk.sync_directory(path)
            for path in self.removals:
                with contextlib.suppress(FileNotFoundError):  # a truncation was first
                    self.disk.remove(path)
            for path in self.trees:
                self.disk.remove_tree(path)
        except OSError as error:
            if is_passing(error):
                self.directory.found_wanting(error, "writing or removing files")
                raise NotNowError(f"in {self.directory.path}: {error}") from error
            raise StorageError(f"in {self.directory.path}: {error}") from error

    def done(self) -> None:
        """What it removes is not there any more; on the loop."""
        self.directory.leaving_bytes -= self.size


class _Pending(NamedTuple):
    due_ms: int
    directory: LogDirectory
    path: str
    tree: bool
    segment: Segment | None = None
    """Its readers may go on until then."""
    size: int = 0
    """Bytes of segments in it."""


class Removals:
    """What was taken out of service, until `file.delete.delay.ms` has passed."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def add_tree(self, directory: LogDirectory, path: str, due_ms: int, size: int = 0) -> None:
        """Remove a directory with all it holds, `size` bytes of segments."""
        self._pending.append(_Pending(due_ms, directory, path, True, size=size))

    def add_segment(self, directory: LogDirectory, segment: Segment, due_ms: int) -> None:
        """Remove the files of a segment, which were renamed."""
        for path in segment.paths():
            size = segment.size if path == segment.log_path else 0
            deleted = path + names.DELETED
            self._pending.append(_Pending(due_ms, directory, deleted, False, size=size))

    def add_replaced(self, directory: LogDirectory, segments: list[Segment], due_ms: int) -> None:
        """Remove the files of segments in whose place others are; who reads them may go on."""
        paths = {path for segment in segments for path in segment.paths()}
        later = []
        for pending in self._pending:
            # Replaced twice within the delay: the name stands for the newer file now.
            if pending.path not in paths:
                later.append(pending)
            elif pending.segment is not None:
                pending.segment.handle.discard()
        for segment in segments:
            for path in segment.paths():
                size = segment.size if path == segment.log_path else 0
                later.append(_Pending(due_ms, directory, path, False, segment, size))
        self._pending = later

    def bytes_in(self, directory: LogDirectory) -> int:
        """Bytes of segments that wait to be removed there."""
        return sum(entry.size for entry in self._pending if entry.directory is directory)

    def hasten(self, directory: LogDirectory, now_ms: int) -> None:
        """Let what waits there wait no longer."""
        self._pending = [
            entry._replace(due_ms=min(entry.due_ms, now_ms))
            if entry.directory is directory
            else entry
            for entry in self._pending
        ]

    def jobs(self, now_ms: int) -> list[FilesJob]:
        """Return the removals that are due, one job a directory."""
        due = [pending for pending in self._pending if pending.due_ms <= now_ms]
        if not due:
            return []
        self._pending = [pending for pending in self._pending if pending.due_ms > now_ms]
        jobs: dict[LogDirectory, FilesJob] = {}
        for pending in due:
            if pending.segment is not None:
                pending.segment.handle.discard()
            if pending.directory.is_online:
                job = jobs.setdefault(pending.directory, FilesJob(pending.directory))
                (job.trees if pending.tree else job.removals).append(pending.path)
                job.size += pending.size
                pending.directory.leaving_bytes += pending.size
        return list(jobs.values())
