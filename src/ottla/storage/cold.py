"""Reads of what is not in memory, for a worker."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import Offset
from ottla.storage import scan
from ottla.storage.disk import Buffer
from ottla.storage.handles import Handle

if TYPE_CHECKING:
    from ottla.storage.log import Log


class ColdRead:
    """A read for a worker: `run` there, then `release` on the loop, once.

    The log may have been truncated meanwhile: use the result only while
    `is_current`. An empty result says that the loop should read again.
    """

    __slots__ = ("_generation", "_handle", "_job", "_log", "_stays")

    def __init__(
        self,
        log: "Log",
        handle: Handle,
        job: Callable[[scan.Read], scan.Chunk | None],
        *,
        stays: bool = False,
    ) -> None:
        """`stays`: what is read is to stay in the page cache.

        Otherwise it need not: who reads old data reads much of it, and leaves others what is in
        memory for them.
        """
        self._stays = stays
        self._log = log
        self._handle = handle
        self._job = job
        self._generation = log.generation
        handle.lease()

    def run(self) -> tuple[Buffer, Offset]:
        """Return (whole batches, next offset).

        Raises:
            StorageError: the disk failed; tell `Log.read_failed`.
            ApiError: CORRUPT_MESSAGE, what is there are no batches.
        """
        file = self._handle.file
        assert file is not None, self._handle.path
        try:
            chunk = self._job(file.pread if self._stays else file.pread_once)
        except scan.NotABatch as error:
            raise corrupt(self._handle.path, error) from error
        except OSError as error:
            raise StorageError(f"read of {self._handle.path}: {error}") from error
        return (b"", -1) if chunk is None else (chunk.records, chunk.next_offset)

    def is_current(self) -> bool:
        return self._generation == self._log.generation

    def release(self) -> None:
        self._handle.release()


def corrupt(path: str, error: scan.NotABatch) -> ApiError:
    return ApiError(ErrorCode.CORRUPT_MESSAGE, f"{path}: {error}")
