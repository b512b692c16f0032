"""How much one log directory may hold, where that is limited (`log.dir.max.bytes`).

Counted are the bytes of segments, and of deleted ones that are still there. When a
twentieth of the limit is left, the oldest closed segments go: of topics whose own
settings let records be deleted, never of internal, compacted or keep-for-ever ones,
never past the high watermark. Where that does not help, records are refused with
KAFKA_STORAGE_ERROR, which clients try again; reads go on; it heals by itself.
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.names import INTERNAL_TOPICS
from ottla.storage import expiry, names
from ottla.storage.log import Log
from ottla.storage.segment import Segment

HEADROOM = 20
"""Deletion begins when one part of so many is left."""


class Budget:
    """What is left of one directory's limit."""

    __slots__ = ("_low_bytes", "_on_low", "_told", "left_bytes", "limit_bytes", "path", "refused")

    def __init__(self, path: str, on_low: Callable[[], object] = lambda: None) -> None:
        """`on_low` is called once when little is left since it was measured."""
        self.path = path
        self._on_low = on_low
        self._told = False
        self._low_bytes = 0
        self.limit_bytes = 0
        self.left_bytes = 0
        self.refused = False
        """Something was, since the last measurement."""

    def measured(self, limit_bytes: int, used_bytes: int) -> None:
        """Say anew what is used; what was taken since the last time is part of it."""
        self.limit_bytes = limit_bytes
        self.left_bytes = limit_bytes - used_bytes
        self.refused = False
        self._low_bytes = limit_bytes // HEADROOM
        self._told = self.left_bytes < self._low_bytes

    def take(self, size: int) -> None:
        """Use so many bytes.

        Raises:
            ApiError: KAFKA_STORAGE_ERROR, there is no room; trying later may help.
        """
        if self.left_bytes - size < self._low_bytes and not self._told:
            self._told = True
            self._on_low()
        if size > self.left_bytes:
            self.refused = True
            raise ApiError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                f"log directory {self.path} has reached log.dir.max.bytes={self.limit_bytes}",
            )
        self.left_bytes -= size


def target_bytes(limit_bytes: int) -> int:
    """Return down to where segments are deleted."""
    return limit_bytes - limit_bytes // HEADROOM


def free(logs: Iterable[Log], wanted_bytes: int) -> list[tuple[Log, Segment]]:
    """Take the oldest closed segments out until so many bytes are freed, or no more may go.

    Their files are renamed `.deleted`; the caller removes them. A log that is not
    open is opened only if it is its turn.
    """
    freed: list[tuple[Log, Segment]] = []
    heap = [
        (timestamp, number, log)
        for number, log in enumerate(logs)
        if (timestamp := _oldest_timestamp(log)) is not None
    ]
    heapify(heap)
    while wanted_bytes > 0 and heap:
        _, number, log = heappop(heap)
        if log.segments[1].base_offset > log.high_watermark:
            continue
        try:
            (segment,) = expiry.remove_oldest(log, 1)
        except (ApiError, StorageError):
            continue  # it was logged; the next one may do
        wanted_bytes -= segment.size
        freed.append((log, segment))
        timestamp = _oldest_timestamp(log)
        if timestamp is not None:
            heappush(heap, (timestamp, number, log))
    return freed


def _oldest_timestamp(log: Log) -> int | None:
    """Return the newest of the oldest segment's, None where no segment may go."""
    if not _is_deletable(log) or not log.directory.is_online:
        return None
    known = log.summary()
    if known.first_base_offset >= known.active_base_offset:
        return None
    if known.first_timestamp >= 0:
        return known.first_timestamp
    name = names.offset_file(known.first_base_offset, names.LOG)
    try:
        return log.directory.disk.modified_ms(f"{log.path}/{name}")
    except OSError:
        return 0


def _is_deletable(log: Log) -> bool:
    config = log.config
    return (
        "delete" in config.cleanup_policy
        and "compact" not in config.cleanup_policy
        and (config.retention_ms >= 0 or config.retention_bytes >= 0)
        and log.partition.topic not in INTERNAL_TOPICS
    )
