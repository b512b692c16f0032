"""A partition's log in memory, as `coordinator.outcome.LogPort` wants it."""

from collections.abc import Callable

from ottla.model.errors import ApiError, ErrorCode
from ottla.record.batch import batches, stamp


class MemoryPort:
    """Commits at once, or, with `holds` set, when `commit` is called."""

    def __init__(self, leader_epoch: int = 0) -> None:
        self.leader_epoch = leader_epoch
        self.log_start_offset = 0
        self.high_watermark = 0
        self.end = 0
        self.batches: list[tuple[int, int, bytes]] = []
        self.holds = False
        self.refuse: Exception | None = None
        self.most: int | None = None
        """The most bytes of a batch."""
        self.reads = 0
        self._waiting: list[tuple[int, Callable[[ApiError | None], None]]] = []

    def append(self, batch: bytes) -> int:
        if self.refuse is not None:
            raise self.refuse
        if self.most is not None and len(batch) > self.most:
            raise ApiError(ErrorCode.RECORD_LIST_TOO_LARGE)
        data = bytearray(batch)
        (header,) = batches(data)
        stamp(data, 0, self.end, self.leader_epoch)
        base = self.end
        self.end += header.last_offset_delta + 1
        self.batches.append((base, self.end, bytes(data)))
        if not self.holds:
            self.high_watermark = self.end
        return self.end

    def when_committed(self, offset: int, callback: Callable[[ApiError | None], None]) -> None:
        if self.high_watermark >= offset:
            callback(None)
        else:
            self._waiting.append((offset, callback))

    def read(self, offset: int, max_bytes: int) -> bytes:
        self.reads += 1
        found = b""
        for _, end, data in self.batches:
            if end > offset and (not found or len(found) + len(data) <= max_bytes):
                found += data
        return found

    def commit(self, offset: int | None = None) -> None:
        """Let the high watermark reach `offset`, or the end."""
        self.high_watermark = self.end if offset is None else offset
        due = [entry for entry in self._waiting if entry[0] <= self.high_watermark]
        self._waiting = [entry for entry in self._waiting if entry[0] > self.high_watermark]
        for _, callback in due:
            callback(None)

    def depose(self) -> None:
        """Leadership is lost: whoever waits for a commit learns so."""
        waiting, self._waiting = self._waiting, []
        for _, callback in waiting:
            callback(ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER))
