"""Making a log durable, off the loop.

A `FlushJob` is a value: the loop makes it (`Log.flush_job`), a worker runs it,
the loop hands it back (`Log.flushed` or `Log.flush_failed`). One job covers
every append up to its end offset, however many wait for it.
"""

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.storage.disk import Disk, File, RealFile
from ottla.storage.handles import Handle
from ottla.storage.segment import Segment


class FlushJob:
    """Sync some segment files, smaller files beside them, and directories that name new ones."""

    __slots__ = (
        "_directories",
        "_disk",
        "_files",
        "_handles",
        "_paths",
        "_what",
        "active_size",
        "end_offset",
        "generation",
        "rolled",
        "segments",
    )

    def __init__(
        self,
        disk: Disk,
        what: str,
        segments: list[Segment],
        paths: list[str],
        directories: list[str],
        end_offset: Offset,
        generation: int,
    ) -> None:
        self._disk = disk
        self._what = what
        self._paths = paths
        self._directories = directories
        self.segments = segments
        self.end_offset = end_offset
        """What the log's `flushed_end_offset` becomes."""
        self.generation = generation
        self.rolled: list[Segment] = []
        """Closed segments whose index files are among what is synced."""
        self.active_size = 0
        """Bytes of the last of `segments` that are covered."""
        self._handles: list[Handle] = []
        self._files: list[File] = []
        try:
            for segment in segments:
                self._files.append(segment.handle.lease())
                self._handles.append(segment.handle)
        except BaseException:
            self.release()
            raise

    @property
    def descriptor(self) -> int | None:
        """The file to sync where it is the only thing to do, and the operating system's own."""
        if len(self._files) != 1 or self._paths or self._directories:
            return None
        (file,) = self._files
        return file.fd if type(file) is RealFile else None

    def failure(self, error: OSError) -> StorageError:
        """What `run` would raise where `error` was met."""
        failure = StorageError(f"flush of {self._what}: {error}")
        failure.__cause__ = error
        return failure

    def run(self) -> None:
        """Do it; for a worker. Nothing is retried: what a failed sync lost, it lost.

        Raises:
            StorageError: something may not be durable.
        """
        try:
            for file in self._files:
                file.sync()
            for path in self._paths:
                self._sync_path(path)
            for directory in self._directories:
                self._disk.sync_directory(directory)
        except OSError as error:
            raise self.failure(error) from error

    def _sync_path(self, path: str) -> None:
        try:
            file = self._disk.open(path)
        except FileNotFoundError:
            return
        try:
            file.sync()
        finally:
            file.close()

    def release(self) -> None:
        """Let the files be closed again; on the loop, once."""
        while self._handles:
            self._handles.pop().release()
