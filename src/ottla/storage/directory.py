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
from ottla.storage.disk import FULL, Disk, is_passing
from ottla.storage.handles import Handles
from ottla.storage.newest import Newest

if TYPE_CHECKING:
    from ottla.storage.budget import Budget

logger = logging.getLogger(__name__)

QUIET_LOOKS = 30
"""So many looks in a row at which nothing had been refused: it is over."""


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
        "quiet_looks",
        "refused",
        "short_of",
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
        self.short_of: set[int | None] = set()
        """The passing errors that were told of, and are not over."""
        self.refused = False
        """Whether there was one since the last look."""
        self.quiet_looks = 0

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
            self.found_wanting(error, doing)
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, f"{doing}: {error}") from error
        self.go_offline(f"{doing}: {error}")
        raise StorageError(f"{doing}: {error}") from error

    def found_wanting(self, error: OSError, doing: str) -> None:
        """Tell of a passing error once, however often it is met, until `look_back` says it is over."""
        self.refused = True
        if error.errno not in self.short_of:
            self.short_of.add(error.errno)
            what = "is full" if error.errno in FULL else "cannot be used now"
            logger.warning(
                "log directory %s %s; requests are refused until it is over: %s: %s",
                *(self.path, what, doing, error),
            )

    def look_back(self) -> None:
        """Once a second: tell when nothing has been refused for a while, after something was."""
        if self.refused:
            self.refused = False
            self.quiet_looks = 0
        elif self.short_of:
            self.quiet_looks += 1
            if self.quiet_looks >= QUIET_LOOKS:
                self.short_of.clear()
                logger.info("log directory %s: nothing is refused any more", self.path)
