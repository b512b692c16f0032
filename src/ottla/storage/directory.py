"""One log directory: is it usable, and what a failed system call means for it.

An `OSError` is one of three things (DESIGN.md section 5, "Errors"):

- full (ENOSPC, EDQUOT, EFBIG): this request fails, reads go on, it heals by itself;
- passing (EMFILE, ENFILE, ENOMEM, EINTR, EAGAIN, EOPNOTSUPP): this request
  fails, the disk is not to blame;
- anything else, and every failing sync: the directory goes offline for good.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import ZERO_UUID, Uuid
from ottla.storage.disk import Disk, is_passing
from ottla.storage.handles import Handles
from ottla.storage.newest import Newest

if TYPE_CHECKING:
    from ottla.storage.budget import Budget

logger = logging.getLogger(__name__)


class LogDirectory:
    """A directory of `log.dirs`; all its logs share this object."""

    __slots__ = (
        "budget",
        "directory_id",
        "disk",
        "handles",
        "leaving_bytes",
        "newest",
        "offline_reason",
        "on_offline",
        "on_truncation",
        "path",
    )

    def __init__(self, path: str, disk: Disk, handles: Handles) -> None:
        self.path = path
        self.disk = disk
        self.handles = handles
        self.newest = Newest()
        """Through it the directory's checkpoints are written."""
        self.directory_id: Uuid = ZERO_UUID
        self.leaving_bytes = 0
        """Of segments that a worker is removing."""
        self.budget: Budget | None = None
        """What may still be written, where that is limited."""
        self.offline_reason: str | None = None
        self.on_offline: Callable[[LogDirectory], None] | None = None
        self.on_truncation: Callable[[LogDirectory], None] | None = None
        """Makes lowered recovery points durable, before what they cover changes."""

    @property
    def is_online(self) -> bool:
        return self.offline_reason is None

    def check_online(self) -> None:
        """Raise ApiError(KAFKA_STORAGE_ERROR) once the directory has failed."""
        if self.offline_reason is not None:
            raise ApiError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                f"log directory {self.path} is offline: {self.offline_reason}",
            )

    def go_offline(self, reason: str) -> None:
        """Serve nothing from here any more; the first reason stays."""
        if self.offline_reason is None:
            self.offline_reason = reason
            logger.error("log directory %s goes offline: %s", self.path, reason)
            if self.on_offline is not None:
                self.on_offline(self)

    def refuse(self, error: OSError, doing: str) -> NoReturn:
        """Turn a failed system call into what the caller must raise.

        Raises:
            ApiError: KAFKA_STORAGE_ERROR, the disk is full or the process is
                short of something; trying later may help.
            StorageError: the disk failed, and the directory is now offline.
        """
        if is_passing(error):
            logger.warning("%s: %s", doing, error)
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, f"{doing}: {error}") from error
        self.go_offline(f"{doing}: {error}")
        raise StorageError(f"{doing}: {error}") from error
