"""One partition as this broker plays it: leadership, appends, the high watermark, who waits for it.

The partition owns its `Log` and is its only caller on the write path:
`handlers/produce.py` validates, `Partition.append` checks leadership and epoch,
`Log.append` gives offsets and writes.

What always holds:

* log start <= high watermark <= log end, and the high watermark goes back only
  with a truncation.
* Where acknowledgement means flushed (`flush.messages=1`), only flushed records
  are below the high watermark.
* A wait carries the leader epoch it began in: when epoch or role change, every
  wait is answered NOT_LEADER_OR_FOLLOWER before the new role does anything.
"""

from collections.abc import Callable
from typing import Protocol

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    NO_LEADER_EPOCH,
    LeaderEpoch,
    Offset,
    PartitionId,
    ProducerEpoch,
    ProducerId,
    TopicName,
    TopicPartition,
    Uuid,
)
from ottla.model.isolation import IsolationLevel
from ottla.model.names import INTERNAL_TOPICS
from ottla.record.batch import BatchHeader, read_header
from ottla.record.checksum import Buffer
from ottla.record.control import EndTxnMarker, build_end_txn_marker
from ottla.record.validate import ProducedBatch, ProduceRules
from ottla.replica.waiting import Committed, OffsetWaits
from ottla.storage.log import AppendResult, Log
from ottla.storage.log_config import DURABLE, LogConfig
from ottla.storage.producer_state import AppendOrigin

EARLY_FLUSH_BYTES = 64 * 1024 * 1024
"""Unflushed bytes of a log that are written out though nothing asked for it."""

NEVER_MS = 2**63 - 1


class Watcher(Protocol):
    """Somebody who wants to know when a partition has more to read."""

    def advanced(self, partition: "Partition", size: int) -> None:
        """The readable end moved; `size` bytes were appended since (0: not known)."""

    def start_moved(self, partition: "Partition") -> None:
        """The log begins later than before; worth telling, not worth waking anybody for."""

    def changed(self, partition: "Partition") -> None:
        """Leadership or existence changed: look again."""


class Partition:
    """A replica of one partition on this broker."""

    __slots__ = (
        "_told_start",
        "_unflushed_since_ms",
        "_waits",
        "epoch_start",
        "high_watermark",
        "is_leader",
        "leader_epoch",
        "log",
        "name",
        "partition",
        "request_flush",
        "rules",
        "topic",
        "topic_id",
        "watchers",
    )

    def __init__(
        self,
        topic: TopicName,
        partition: PartitionId,
        topic_id: Uuid,
        log: Log,
        *,
        rules: ProduceRules,
        request_flush: Callable[["Partition"], None],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.name = TopicPartition(topic, partition)
        self.topic_id = topic_id
        self.log = log
        self.rules = rules
        self.request_flush = request_flush
        self.leader_epoch: LeaderEpoch = NO_LEADER_EPOCH
        self.is_leader = False
        if log.config.flush_messages == DURABLE:
            # What a checkpoint said of an earlier life may cover what is not flushed in this one.
            log.high_watermark = min(log.high_watermark, log.flushed_end_offset)
        self.high_watermark: Offset = log.high_watermark
        self.epoch_start: Offset = 0
        """Where the log ended when this broker began to lead."""
        self.watchers: dict[Watcher, None] = {}
        self._waits = OffsetWaits()
        self._unflushed_since_ms: int | None = None
        self._told_start: Offset = log.log_start_offset

    def __repr__(self) -> str:
        return f"Partition({self.topic}-{self.partition}, epoch {self.leader_epoch})"

    # Role

    def become_leader(self, leader_epoch: LeaderEpoch) -> None:
        """Lead from now on, in an epoch assigned by the controller."""
        if self.is_leader and leader_epoch == self.leader_epoch:
            return
        assert leader_epoch >= self.leader_epoch, (self, leader_epoch)
        self._fail_waits()
        self.leader_epoch = leader_epoch
        self.is_leader = True
        self.epoch_start = self.log.log_end_offset
        self.advance_high_watermark(0)
        log = self.log
        if log.config.flush_messages == DURABLE and log.flushed_end_offset < log.log_end_offset:
            self.request_flush(self)  # what recovery found counts once it is on disk
        for watcher in list(self.watchers):
            watcher.changed(self)

    def resign(self) -> None:
        """Lead no longer: the partition moved, was deleted, or its directory failed."""
        self.is_leader = False
        self._fail_waits()
        for watcher in list(self.watchers):
            watcher.changed(self)

    def _fail_waits(self) -> None:
        if self._waits:
            self._waits.fail(ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER))

    def check_leader(self, current_leader_epoch: LeaderEpoch) -> ErrorCode | None:
        """Compare what a client believes about the leader with the truth (KIP-320)."""
        if not self.is_leader:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if current_leader_epoch != NO_LEADER_EPOCH and current_leader_epoch != self.leader_epoch:
            if current_leader_epoch < self.leader_epoch:
                return ErrorCode.FENCED_LEADER_EPOCH
            return ErrorCode.UNKNOWN_LEADER_EPOCH
        return None

    # Writing

    def configure(self, config: LogConfig, rules: ProduceRules) -> None:
        """Obey new settings from now on.

        Where acknowledged begins to mean flushed, what was acknowledged before is flushed here and
        now: a batch that is sent again must not be acknowledged by less than its first answer
        promises today.

        Raises:
            ApiError, StorageError: it could not be flushed; the old settings stay.
        """
        log = self.log
        begins = config.flush_messages == DURABLE and not self.flushes_each
        if begins and log.directory.is_online and log.flushed_end_offset < log.log_end_offset:
            log.flush()
        log.config = config
        self.rules = rules
        if self.is_leader:
            self.advance_high_watermark(0)
            self._flush_if_due()

    def _flush_if_due(self) -> None:
        log = self.log
        if log.log_end_offset - log.flushed_end_offset >= log.config.flush_messages:
            self.request_flush(self)

    @property
    def flushes_each(self) -> bool:
        """Whether every acknowledgement, of acks=1 too, promises that the record is on disk."""
        return self.log.config.flush_messages == DURABLE

    def append(
        self, batch: Buffer, produced: BatchHeader | ProducedBatch, now_ms: int
    ) -> AppendResult:
        """Append one validated batch as leader; offset and epoch are stamped into `batch`.

        Raises:
            ApiError: not the leader; KAFKA_STORAGE_ERROR, the directory is as full as it may be;
                or what `Log.append` refuses.
            StorageError: the log directory is offline now.
        """
        if not self.is_leader:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        log = self.log
        budget = log.directory.budget
        if budget is not None and self.topic not in INTERNAL_TOPICS:
            budget.take(len(batch))
        result = log.append(batch, produced, self.leader_epoch, now_ms)
        config = log.config
        if config.flush_messages == DURABLE:
            self.request_flush(self)
        else:
            self.advance_high_watermark(len(batch))
            # As `_flush_if_due`, without a call: this is the hot path.
            if log.log_end_offset - log.flushed_end_offset >= config.flush_messages:
                self.request_flush(self)
        return result

    def append_of_coordinator(
        self, batch: Buffer, header: BatchHeader, now_ms: int, transaction_version: int = 0
    ) -> AppendResult:
        """Append what no client wrote: transactional records without sequences, and markers.

        Raises: as `append`; a marker is refused as `ProducerStates.check_marker` says.
        """
        if not self.is_leader:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        log = self.log
        result = log.append(
            batch,
            header,
            self.leader_epoch,
            now_ms,
            AppendOrigin.COORDINATOR,
            transaction_version,
        )
        if log.config.flush_messages != DURABLE:
            self.advance_high_watermark(len(batch))
        self._flush_if_due()
        return result

    def append_marker(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        marker: EndTxnMarker,
        transaction_version: int,
        now_ms: int,
    ) -> Offset:
        """End the producer's transaction here; return the offset after the marker.

        Raises: as `append_of_coordinator`.
        """
        batch = build_end_txn_marker(
            committed=marker.committed,
            coordinator_epoch=marker.coordinator_epoch,
            timestamp=now_ms,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
        )
        result = self.append_of_coordinator(
            memoryview(bytearray(batch)), read_header(batch), now_ms, transaction_version
        )
        return result.last_offset + 1

    def advance_high_watermark(self, size: int) -> None:
        """Move the high watermark to what is committed now, and tell who waits.

        `size` is how many bytes were appended, for those who wait for an amount.
        """
        log = self.log
        if log.config.flush_messages == DURABLE:
            committed = log.flushed_end_offset
        else:
            committed = log.log_end_offset
        if committed > self.high_watermark:
            self.high_watermark = committed
            log.high_watermark = committed
            if self._waits:
                self._waits.committed(committed)
        if self.watchers:
            for watcher in list(self.watchers):
                watcher.advanced(self, size)

    def advance_log_start(self, offset: Offset) -> Offset:
        """Delete every record below `offset`, and return where the log starts now.

        Raises:
            ApiError: OFFSET_OUT_OF_RANGE, that is above the high watermark.
            StorageError: the log directory is offline now.
        """
        if not 0 <= offset <= self.high_watermark:
            raise ApiError(ErrorCode.OFFSET_OUT_OF_RANGE)
        self.log.advance_log_start(offset)
        self.tell_start()
        return self.log.log_start_offset

    def tell_start(self) -> None:
        """Tell who watches if the log begins later than when they were last told."""
        start = self.log.log_start_offset
        if start != self._told_start:
            self._told_start = start
            for watcher in list(self.watchers):
                watcher.start_moved(self)

    def flush_is_due(self, now_ms: int) -> bool:
        """Whether records wait for a flush that no append asked for.

        `flush.ms` may have passed over them; closed segments are flushed soon, so that a recovery
        has only the newest to look at; and many bytes are, before the kernel makes the writer wait
        until it has written some of them.
        """
        log = self.log
        if not log.is_open or log.flushed_end_offset >= log.log_end_offset:
            self._unflushed_since_ms = None
            return False
        if log.flushed_end_offset < log.segments.active.base_offset:
            return True
        if log.unflushed_bytes >= EARLY_FLUSH_BYTES:
            return True
        if log.config.flush_ms >= NEVER_MS:
            return False
        if self._unflushed_since_ms is None:
            self._unflushed_since_ms = now_ms
        return now_ms - self._unflushed_since_ms >= log.config.flush_ms

    def when_committed(self, end_offset: Offset, callback: Committed) -> None:
        """Call back once everything below `end_offset` is committed; perhaps at once."""
        if end_offset <= self.high_watermark:
            callback(None)
        elif not self.is_leader:
            callback(ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER))
        else:
            self._waits.add(end_offset, callback)

    # Reading

    @property
    def knows_its_end(self) -> bool:
        """Whether all that an earlier leader may have told is below the high watermark (KIP-207).

        Until then it may be lower than what clients have seen.
        """
        return self.high_watermark >= self.epoch_start

    def readable_end(self, isolation: IsolationLevel) -> Offset:
        """The offset below which a client of this isolation may read."""
        if isolation is IsolationLevel.READ_COMMITTED:
            return min(self.log.last_stable_offset, self.high_watermark)
        return self.high_watermark

    def end_of_epoch(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        """The largest epoch not above `leader_epoch`, and the offset at which it ended (KIP-279).

        (-1, -1) where the log knows no such epoch.
        """
        if leader_epoch == NO_LEADER_EPOCH or leader_epoch > self.leader_epoch:
            return NO_LEADER_EPOCH, -1
        if leader_epoch == self.leader_epoch:
            return leader_epoch, self.log.log_end_offset
        return self.log.leader_epochs.end_offset_for(leader_epoch, self.log.log_end_offset)
