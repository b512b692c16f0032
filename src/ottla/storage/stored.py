"""Records that stay in their file until they are sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.model.errors import ApiError, StorageError
from ottla.model.workers import Lane, Later, Workers
from ottla.storage import scan
from ottla.storage.cold import ColdRead

if TYPE_CHECKING:
    from ottla.storage.log import Log
    from ottla.storage.segment import Segment

LARGE_BYTES = 64 * 1024
"""Records from this size on are left in the file."""


class StoredRecords:
    """Whole batches in one segment; see `model/parts.py`.

    No descriptor is kept meanwhile, so slow readers do not hold files open. Who reads after a
    truncation, or after the segment was deleted, gets an error: the bytes may be others.
    """

    __slots__ = ("_failed", "_generation", "_log", "_position", "_segment", "_size")

    def __init__(self, log: "Log", segment: "Segment", position: int, size: int) -> None:
        self._log = log
        self._segment = segment
        self._position = position
        self._size = size
        self._generation = log.generation
        self._failed: ApiError | StorageError | None = None

    def __len__(self) -> int:
        return self._size

    def read_into(self, target: memoryview, at: int, /) -> int:
        self._check()
        wanted = min(len(target), self._size - at)
        handle = self._segment.handle
        try:
            file = handle.file or handle.get()
            count = file.pread_into_now(target[:wanted], self._position + at)
        except OSError as error:
            self._log.directory.refuse(error, f"read of {handle.path}")
        if count == 0 and wanted:
            raise StorageError(f"{handle.path} ends at {self._position + at}")
        return count or 0

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._generation != self._log.generation or self._segment.handle.is_discarded:
            raise StorageError(f"{self._segment.log_path} was cut or deleted while it was read")

    def warm(self, workers: Workers, at: int, size: int, done: Callable[[], None], /) -> None:
        position = self._position + at
        size = min(size, self._size - at)

        def job(read: scan.Read) -> None:
            read(size, position)  # what it leaves in the page cache is what it is for

        try:
            self._check()
            cold = ColdRead(self._log, self._segment.handle, job, stays=True)
        except OSError as error:
            self._failed = StorageError(f"read of {self._segment.log_path}: {error}")
            return done()
        except StorageError as error:
            self._failed = error
            return done()

        def read(later: "Later[object]") -> None:
            cold.release()
            try:
                later.result()
            except StorageError as error:
                self._log.read_failed(error)
                self._failed = error
            done()

        workers.submit(Lane.READ, cold.run).add_done_callback(read)
