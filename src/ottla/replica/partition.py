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

Three roles. A leader that is *alone* has the only replica: what is in its log is
committed. A leader with followers has a `Leadership`, which says what is. A follower
(`following.py`) has what its leader said last.
"""

from collections.abc import Callable, Container
from typing import NamedTuple, Protocol

from ottla.metadata.image import PartitionImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    NO_BROKER,
    NO_LEADER_EPOCH,
    BrokerId,
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
from ottla.record.batch import BatchHeader, read_header
from ottla.record.checksum import Buffer
from ottla.record.control import EndTxnMarker, build_end_txn_marker
from ottla.record.validate import ProducedBatch, ProduceRules
from ottla.replica.isr import has_caught_up
from ottla.replica.leadership import Leadership
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
        """The log begins later than before; worth telling, not worth waking anybody for.

        Who reads to the log's end hears so of what is committed, too.
        """

    def changed(self, partition: "Partition") -> None:
        """Leadership or existence changed: look again."""


def _nothing(partition: "Partition") -> None:
    """Nobody asks."""


class _StartWait(NamedTuple):
    """Somebody who waits until every replica begins at `offset` or later."""

    offset: Offset
    alive: Container[BrokerId]
    callback: Committed


class Partition:
    """A replica of one partition on this broker."""

    __slots__ = (
        "_flush_waits",
        "_start_waits",
        "_told_start",
        "_unflushed_since_ms",
        "_waits",
        "epoch_start",
        "high_watermark",
        "is_alone",
        "is_leader",
        "is_limited",
        "is_past_lease",
        "is_under_min_isr",
        "leader",
        "leader_epoch",
        "leader_high_watermark",
        "leadership",
        "log",
        "may_join",
        "min_isr",
        "name",
        "partition",
        "request_flush",
        "rules",
        "tails",
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
        may_join: Callable[["Partition"], None] = _nothing,
    ) -> None:
        """`may_join` hears of a partition of which a follower may join the ISR."""
        self.topic = topic
        self.partition = partition
        self.name = TopicPartition(topic, partition)
        self.topic_id = topic_id
        self.log = log
        self.rules = rules
        self.request_flush = request_flush
        self.may_join = may_join
        self.leader: BrokerId = NO_BROKER
        """Who leads, as far as is known here."""
        self.leader_epoch: LeaderEpoch = NO_LEADER_EPOCH
        self.is_leader = False
        self.is_alone = False
        """It leads, and there is no other replica."""
        self.leadership: Leadership | None = None
        """Of a leader that is not alone."""
        self.min_isr = 1
        self.is_under_min_isr = False
        """The ISR is too small to commit anything."""
        self.is_past_lease = False
        """The cluster may take this broker for dead."""
        self.is_limited = False
        """One of these is so: `check_acks` says what may be appended still."""
        self.leader_high_watermark: Offset = 0
        """What a follower's leader said last."""
        if log.config.flush_messages == DURABLE:
            # What a checkpoint said of an earlier life may cover what is not flushed in this one.
            flushed_end = max(log.log_start_offset, log.flushed_end_offset)
            log.high_watermark = min(log.high_watermark, flushed_end)
        self.high_watermark: Offset = log.high_watermark
        self.epoch_start: Offset = 0
        """Where the log ended when this broker began to lead."""
        self.watchers: dict[Watcher, None] = {}
        """Who reads what is committed."""
        self.tails: dict[Watcher, None] = {}
        """Who reads all there is: followers."""
        self._waits = OffsetWaits()
        self._flush_waits = OffsetWaits()
        """With followers: who waits for the disk here alone."""
        self._start_waits: list[_StartWait] = []
        self._unflushed_since_ms: int | None = None
        self._told_start: Offset = log.log_start_offset

    def __repr__(self) -> str:
        return f"Partition({self.topic}-{self.partition}, epoch {self.leader_epoch})"

    # Role

    def become_leader(self, state: PartitionImage, now_ms: int = 0) -> None:
        """Lead from now on, in an epoch assigned by the controller.

        In an epoch in which it leads already, take over what else changed: replicas and ISR.
        `now_ms` is by the transport clock.
        """
        if self.is_leader and state.leader_epoch == self.leader_epoch:
            self._take_members(state, now_ms)
            return
        assert state.leader_epoch >= self.leader_epoch, (self, state)
        self._end_role()
        self.leader_epoch = state.leader_epoch
        self.leader = state.leader
        self.is_leader = True
        self.epoch_start = self.log.log_end_offset
        if len(state.replicas) > 1:
            self.leadership = Leadership(state, self.min_isr, now_ms)
            self._follow_isr(self.leadership)
        else:
            self.is_alone = True
        self.advance_high_watermark(0)
        self.flush_what_counts()
        self._tell_changed()

    def _take_members(self, state: PartitionImage, now_ms: int) -> None:
        leadership = self.leadership
        if leadership is None:
            if len(state.replicas) == 1:
                return
            self.is_alone = False
            self.leadership = leadership = Leadership(state, self.min_isr, now_ms)
        elif not leadership.update(state, now_ms):
            return
        self._follow_isr(leadership)
        self.advance_high_watermark(0)
        self._check_starts()

    def become_follower(self, state: PartitionImage) -> None:
        """Follow who leads in this state, or wait for a leader."""
        same = state.leader_epoch == self.leader_epoch and state.leader == self.leader
        if same and not self.is_leader:
            return
        assert state.leader_epoch >= self.leader_epoch, (self, state)
        self._end_role()
        self.leader_epoch = state.leader_epoch
        self.leader = state.leader
        self.leader_high_watermark = self.high_watermark
        self.flush_what_counts()
        self._tell_changed()

    def resign(self) -> None:
        """Lead and follow no longer: the partition was deleted, or its directory failed."""
        self._end_role()
        self._tell_changed()

    def _end_role(self) -> None:
        """Who waits is told, before anything else is done in another role."""
        self._fail_waits()
        self.is_leader = self.is_alone = self.is_under_min_isr = False
        self._limit()
        self.leader = NO_BROKER
        self.leadership = None
        self.leader_high_watermark = 0

    def _fail_waits(self) -> None:
        error = ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        for waits in (self._waits, self._flush_waits):
            if waits:
                waits.fail(error)
        started, self._start_waits = self._start_waits, []
        for wait in started:
            wait.callback(error)

    def flush_what_counts(self) -> None:
        """What recovery found, and what another role left, counts once it is on disk."""
        log = self.log
        if log.config.flush_messages == DURABLE and log.flushed_end_offset < log.log_end_offset:
            self.request_flush(self)

    def _tell_changed(self) -> None:
        for watcher in [*self.watchers, *self.tails]:
            watcher.changed(self)

    def check_leader(self, current_leader_epoch: LeaderEpoch) -> ErrorCode | None:
        """Compare what a client believes about the leader with the truth (KIP-320)."""
        if not self.is_leader:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if current_leader_epoch != NO_LEADER_EPOCH and current_leader_epoch != self.leader_epoch:
            if current_leader_epoch < self.leader_epoch:
                return ErrorCode.FENCED_LEADER_EPOCH
            return ErrorCode.UNKNOWN_LEADER_EPOCH
        return None

    def check_follower(self, current_leader_epoch: LeaderEpoch) -> ErrorCode | None:
        """Do as `check_leader` for who may read from a follower (KIP-392)."""
        if self.leader == NO_BROKER:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if current_leader_epoch != NO_LEADER_EPOCH and current_leader_epoch != self.leader_epoch:
            if current_leader_epoch < self.leader_epoch:
                return ErrorCode.FENCED_LEADER_EPOCH
            return ErrorCode.UNKNOWN_LEADER_EPOCH
        return None

    # Writing

    def lapse(self, is_past_lease: bool) -> None:
        """The lease of this broker's registration ran out as far as is known here, or did not."""
        self.is_past_lease = is_past_lease
        self._limit()

    def _follow_isr(self, leadership: Leadership) -> None:
        """The ISR, or how many it has to have, may have changed."""
        self.is_under_min_isr = leadership.is_under_min_isr
        self._limit()
        if leadership.has_spare_elr:
            self.may_join(self)

    def _limit(self) -> None:
        self.is_limited = self.is_under_min_isr or self.may_be_deposed

    def check_acks(self, acks_all: bool) -> None:
        """What is acknowledged by this broker alone might be lost where another may lead by now.

        Raises:
            ApiError: NOT_ENOUGH_REPLICAS, or NOT_LEADER_OR_FOLLOWER.
        """
        if acks_all:
            if self.is_under_min_isr:
                raise ApiError(ErrorCode.NOT_ENOUGH_REPLICAS)
        elif self.may_be_deposed:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def configure(self, config: LogConfig, rules: ProduceRules, min_isr: int = 1) -> None:
        """Obey new settings from now on; `min_isr` is `min.insync.replicas`.

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
        self.min_isr = min_isr
        if self.leadership is not None:
            self.leadership.min_isr = min_isr
            self._follow_isr(self.leadership)
        if self.is_leader:
            self.advance_high_watermark(0)
            self.flush_if_due()

    def flush_if_due(self) -> None:
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
            ApiError: not the leader, or what `Log.append` refuses.
            StorageError: the log directory is offline now.
        """
        if not self.is_leader:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        log = self.log
        result = log.append(batch, produced, self.leader_epoch, now_ms)
        config = log.config
        if config.flush_messages == DURABLE:
            self.request_flush(self)
            if not self.is_alone:
                self._appended(len(batch))
        else:
            self.advance_high_watermark(len(batch))
            # As `flush_if_due`, without a call: this is the hot path.
            if log.log_end_offset - log.flushed_end_offset >= config.flush_messages:
                self.request_flush(self)
        return result

    def append_of_coordinator(
        self, batch: Buffer, header: BatchHeader, now_ms: int, transaction_version: int = 0
    ) -> AppendResult:
        """Append what no client wrote: transactional records without sequences, and markers.

        Raises: as `append`; a marker is refused as `ProducerStates.check_marker` says. And
            NOT_ENOUGH_REPLICAS: what coordinators write must be committed.
        """
        if not self.is_leader:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if self.is_under_min_isr:
            raise ApiError(ErrorCode.NOT_ENOUGH_REPLICAS)
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
        elif not self.is_alone:
            self._appended(len(batch))
        self.flush_if_due()
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
        if not self.is_alone:
            self._advance_among_others(size)
            return
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

    def _advance_among_others(self, size: int) -> None:
        """Do as `advance_high_watermark`, where other brokers have replicas too."""
        if size:
            self._appended(size)
        own_end = self.counted_end
        leadership = self.leadership
        if leadership is not None:
            committed = leadership.committed(own_end)
        else:
            committed = min(self.leader_high_watermark, own_end)
        if self._flush_waits:
            self._flush_waits.committed(own_end)
        before = self.high_watermark
        if committed <= before:
            return
        self.high_watermark = self.log.high_watermark = committed
        if self._waits:
            self._waits.committed(committed)
        if self.watchers:
            told = 0
            if leadership is not None:
                told = leadership.take_appended(before, committed, self.log.log_end_offset)
            for watcher in list(self.watchers):
                watcher.advanced(self, told)
        for tail in list(self.tails):
            tail.start_moved(self)

    def _appended(self, size: int) -> None:
        """There is more for followers to fetch, though it is not committed yet."""
        if self.leadership is not None:
            self.leadership.appended_bytes += size
        for tail in list(self.tails):
            tail.advanced(self, size)

    @property
    def counted_end(self) -> Offset:
        """Where this replica's records end, so far as they count: on disk, where that is meant."""
        log = self.log
        if log.config.flush_messages == DURABLE:
            return log.flushed_end_offset
        return log.log_end_offset

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
            for watcher in [*self.watchers, *self.tails]:
                watcher.start_moved(self)

    def low_watermark(self, alive: Container[BrokerId]) -> Offset:
        """The least offset at which a replica begins, of those whose brokers live."""
        start = self.log.log_start_offset
        return start if self.leadership is None else self.leadership.low_watermark(start, alive)

    def when_started(self, offset: Offset, alive: Container[BrokerId], callback: Committed) -> None:
        """Call back once no replica of an `alive` broker has records below `offset`."""
        self._start_waits.append(_StartWait(offset, alive, callback))
        self._check_starts()

    def forget_start_wait(self, callback: Committed) -> None:
        """Its caller waits no more."""
        self._start_waits = [wait for wait in self._start_waits if wait.callback != callback]

    def _check_starts(self) -> None:
        if not self._start_waits:
            return
        done = [w for w in self._start_waits if self.low_watermark(w.alive) >= w.offset]
        self._start_waits = [wait for wait in self._start_waits if wait not in done]
        for wait in done:
            wait.callback(None)

    # Followers

    def follower_fetched(
        self,
        broker: BrokerId,
        end_offset: Offset,
        log_start_offset: Offset,
        broker_epoch: int,
        now_ms: int,
    ) -> None:
        """A follower holds everything below `end_offset`, and asks for more.

        `now_ms` is by the transport clock.

        Raises:
            ApiError: NOT_LEADER_OR_FOLLOWER, that broker has no replica.
        """
        leadership = self.leadership
        follower = None if leadership is None else leadership.followers.get(broker)
        if leadership is None or follower is None:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        moved = follower.end_offset != end_offset
        started = follower.log_start_offset != log_start_offset
        log_end = self.log.log_end_offset
        assert end_offset <= log_end, (self, broker, end_offset)
        follower.fetched(end_offset, log_start_offset, broker_epoch, log_end, now_ms)
        if moved:
            self.advance_high_watermark(0)
        if started:
            self._check_starts()
        if broker not in leadership.state.isr:
            self.follower_goes_on(broker, broker_epoch)

    def follower_goes_on(self, broker: BrokerId, broker_epoch: int) -> None:
        """A follower asks on from where it was; it may have been put out of the ISR meanwhile."""
        leadership = self.leadership
        follower = None if leadership is None else leadership.followers.get(broker)
        if (
            leadership is not None
            and follower is not None
            and broker not in leadership.state.isr
            and follower.broker_epoch == broker_epoch
            and has_caught_up(
                follower, high_watermark=self.high_watermark, epoch_start=self.epoch_start
            )
        ):
            self.may_join(self)

    def propose_isr(self, isr: tuple[BrokerId, ...]) -> None:
        """A change to this ISR is about to be in flight."""
        assert self.leadership is not None
        self.leadership.propose(isr)

    def settle_isr(self, state: PartitionImage | None, now_ms: int = 0) -> None:
        """The change was made, and this is the state, or it was not and never will be.

        Not to be called in another epoch than that in which it was proposed.
        """
        leadership = self.leadership
        assert leadership is not None
        if state is not None:
            leadership.update(state, now_ms)
        leadership.propose(None)
        self._follow_isr(leadership)
        self.advance_high_watermark(0)

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

    def when_flushed(self, end_offset: Offset, callback: Committed) -> None:
        """Call back once everything below `end_offset` counts here; perhaps at once.

        That is what acks=1 waits for where acknowledged means flushed.
        """
        if self.is_alone:
            self.when_committed(end_offset, callback)
        elif end_offset <= self.counted_end:
            callback(None)
        else:
            self._flush_waits.add(end_offset, callback)

    # Reading

    @property
    def may_be_deposed(self) -> bool:
        """Another may lead by now: what is here is committed, and there may be more elsewhere."""
        return self.is_past_lease and not self.is_alone

    @property
    def knows_its_end(self) -> bool:
        """Whether all that any other leader may have told is below the high watermark (KIP-207).

        Where it is not, the high watermark may be lower than what clients have seen.
        """
        return self.high_watermark >= self.epoch_start and not self.may_be_deposed

    def readable_end(self, isolation: IsolationLevel) -> Offset:
        """The offset below which a client of this isolation may read."""
        if isolation is IsolationLevel.READ_COMMITTED:
            return min(self.log.last_stable_offset, self.high_watermark)
        return self.high_watermark

    def end_of_epoch(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        """The largest epoch not above `leader_epoch`, and the offset at which it ended (KIP-279).

        (-1, -1) where nobody can know: the epoch is above this leader's. Of an epoch above all
        in the log everything ended where this leader began.
        """
        if leader_epoch == NO_LEADER_EPOCH or leader_epoch > self.leader_epoch:
            return NO_LEADER_EPOCH, -1
        if leader_epoch == self.leader_epoch:
            return leader_epoch, self.log.log_end_offset
        log = self.log
        epochs = log.leader_epochs
        if leader_epoch <= epochs.latest:
            return epochs.end_offset_for(leader_epoch, log.log_end_offset)
        return epochs.latest if len(epochs) else leader_epoch, self.epoch_start
