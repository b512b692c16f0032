"""What a partition remembers of its producers: sequences, epochs, open transactions (KIP-98).

A batch of an idempotent producer must follow its predecessor's sequence. The
last five batches of each producer are remembered, so that one sent again is
answered with the offset it got the first time; anything else out of order is
refused. `check` decides before the write, `apply` changes the state after it,
and the same `apply` runs when a log is loaded.

Transactions: the first offset of each open one is known, and of each ended one
whose marker is not below the high watermark yet; the least of them is the
first unstable offset.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Offset, ProducerEpoch, ProducerId
from ottla.record.batch import CONTROL_FLAG, NO_SEQUENCE, TRANSACTIONAL_FLAG, BatchHeader
from ottla.record.control import EndTxnMarker
from ottla.storage.producer_snapshot import SnapshotEntry
from ottla.storage.transaction_index import AbortedTransaction

REMEMBERED_BATCHES = 5
SEQUENCE_MASK = 0x7FFFFFFF
NO_OFFSET = -1
NO_EPOCH = -1


class AppendOrigin(Enum):
    """Whence an append comes says what is checked."""

    CLIENT = "client"
    """Epoch and sequence."""
    COORDINATOR = "coordinator"
    """The epoch alone: coordinators write without sequences."""
    REPLICATION = "replication"
    """Nothing: the leader has checked."""


class ProducedEarlier(NamedTuple):
    """A remembered batch."""

    last_sequence: int
    last_offset: Offset
    offset_delta: int
    timestamp: int

    @property
    def first_sequence(self) -> int:
        return (self.last_sequence - self.offset_delta) & SEQUENCE_MASK

    @property
    def base_offset(self) -> Offset:
        return self.last_offset - self.offset_delta


class Producer:
    """One producer's state in this partition."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "producer_epoch",
        "producer_id",
        "timestamp",
        "transaction_first_offset",
    )

    def __init__(self, producer_id: ProducerId, producer_epoch: ProducerEpoch) -> None:
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.batches: list[ProducedEarlier] = []
        """Oldest first, at most five, all of `producer_epoch`."""
        self.timestamp = -1
        self.coordinator_epoch = NO_EPOCH
        self.transaction_first_offset = NO_OFFSET

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    def entry(self) -> SnapshotEntry:
        last = self.batches[-1] if self.batches else None
        return SnapshotEntry(
            self.producer_id,
            self.producer_epoch,
            last.last_sequence if last else NO_SEQUENCE,
            last.last_offset if last else NO_OFFSET,
            last.offset_delta if last else 0,
            self.timestamp,
            self.coordinator_epoch,
            self.transaction_first_offset,
        )


MOST_TURNS = 1_000
"""Producers that are remembered so; they are forgotten all at once, and that is no harm but a doubt."""


class _Ended(NamedTuple):
    first_offset: Offset
    marker_offset: Offset


class ProducerStates:
    """All producers of a partition, by id."""

    __slots__ = ("_ended", "_open", "_turns", "end_offset", "producers")

    def __init__(self) -> None:
        self._turns: dict[ProducerId, tuple[ProducerEpoch, int, ErrorCode]] = {}
        """Of producers whose next batch was refused for now: its epoch, first sequence, and why."""
        self.producers: dict[ProducerId, Producer] = {}
        self.end_offset: Offset = 0
        """All batches below it are taken into account."""
        self._open: dict[ProducerId, Offset] = {}
        self._ended: list[_Ended] = []

    def __len__(self) -> int:
        return len(self.producers)

    def __iter__(self) -> Iterator[Producer]:
        return iter(self.producers.values())

    # Before the write.

    def check(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: int,
        last_offset_delta: int,
        attributes: int,
        origin: AppendOrigin,
    ) -> ProducedEarlier | None:
        """Return the batch this one repeats, or None if it may be appended.

        Raises:
            ApiError: INVALID_PRODUCER_EPOCH, a later epoch was seen;
                OUT_OF_ORDER_SEQUENCE_NUMBER, it is neither the next batch nor
                one of the last five; why the next one was refused, if it was
                and this is neither; INVALID_TXN_STATE, not transactional
                within the producer's transaction.
        """
        producer = self.producers.get(producer_id)
        if producer is None:
            if self._turns and origin is AppendOrigin.CLIENT:
                self._check_turn(producer_id, producer_epoch, base_sequence)
            return None
        known_epoch = producer.producer_epoch
        if producer_epoch < known_epoch:
            raise ApiError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Epoch of producer {producer_id} is {producer_epoch}, "
                f"which is smaller than the last seen epoch {known_epoch}",
            )
        if origin is AppendOrigin.CLIENT:
            batches = producer.batches
            if producer_epoch == known_epoch:
                last_sequence = batches[-1].last_sequence if batches else NO_SEQUENCE
                if base_sequence != (last_sequence + 1) & SEQUENCE_MASK:
                    last = (base_sequence + last_offset_delta) & SEQUENCE_MASK
                    for earlier in batches:
                        if (
                            earlier.last_sequence == last
                            and earlier.first_sequence == base_sequence
                        ):
                            return earlier
                    next_sequence = (last_sequence + 1) & SEQUENCE_MASK
                    turn = self._turns.get(producer_id)
                    if turn is not None and turn[:2] == (producer_epoch, next_sequence):
                        self._check_turn(producer_id, producer_epoch, base_sequence)
                    raise _out_of_order(producer_id, base_sequence, last_sequence)
            elif base_sequence != 0:
                self._check_turn(producer_id, producer_epoch, base_sequence)
                raise ApiError(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"Invalid sequence number for new epoch of producer {producer_id}: "
                    f"{producer_epoch} (request epoch), {base_sequence} (sequence number), "
                    f"{known_epoch} (current producer epoch)",
                )
        if producer.transaction_first_offset >= 0 and not attributes & TRANSACTIONAL_FLAG:
            raise ApiError(
                ErrorCode.INVALID_TXN_STATE,
                f"Expected transactional write from producer {producer_id}",
            )
        return None

    def _check_turn(
        self, producer_id: ProducerId, producer_epoch: ProducerEpoch, base_sequence: int
    ) -> None:
        """Raise an ApiError as for another batch of this epoch, whose turn it is, if there is one."""
        turn = self._turns.get(producer_id)
        if turn is not None and turn[0] == producer_epoch and turn[1] != base_sequence:
            raise ApiError(
                turn[2],
                f"the batch of producer {producer_id} with sequence number {turn[1]} was refused, "
                f"and comes before {base_sequence}",
            )

    def found_no_room(
        self, producer_id: ProducerId, producer_epoch: ProducerEpoch, base_sequence: int
    ) -> None:
        """A batch that may be appended found no room, and those behind it must wait for it.

        They are on their way already. Told OUT_OF_ORDER_SEQUENCE_NUMBER, librdkafka takes another
        epoch for all of its partitions, and sends again what it does not know to be there: in
        the new epoch, where it cannot be recognized.
        """
        if len(self._turns) >= MOST_TURNS:
            self._turns.clear()
        self._turns[producer_id] = producer_epoch, base_sequence, ErrorCode.KAFKA_STORAGE_ERROR

    def refused(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: int,
        code: ErrorCode,
    ) -> None:
        """A batch was refused, for now, before it was looked at; if it is the next, others wait.

        As `found_no_room`; of a producer that is not known, only the very first can be the next.
        """
        producer = self.producers.get(producer_id)
        next_sequence = 0
        if producer is not None and producer_epoch == producer.producer_epoch and producer.batches:
            next_sequence = (producer.batches[-1].last_sequence + 1) & SEQUENCE_MASK
        if base_sequence == next_sequence:
            if len(self._turns) >= MOST_TURNS:
                self._turns.clear()
            self._turns[producer_id] = producer_epoch, base_sequence, code

    def check_marker(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: int,
        transaction_version: int,
    ) -> None:
        """Refuse a marker of an older epoch; from version 2 on, of the same one too (KIP-1228).

        A marker of the same epoch with no transaction open is one written
        already and sent again: it may be written once more.

        Raises:
            ApiError: INVALID_PRODUCER_EPOCH; TRANSACTION_COORDINATOR_FENCED,
                a later coordinator has written.
        """
        producer = self.producers.get(producer_id)
        if producer is None:
            return
        known = producer.producer_epoch
        stale = producer_epoch < known or (
            transaction_version >= 2
            and producer_epoch == known
            and producer.transaction_first_offset >= 0
        )
        if stale:
            raise ApiError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Epoch of producer {producer_id} in its marker is {producer_epoch}, "
                f"the last seen epoch is {known}",
            )
        if producer.coordinator_epoch > coordinator_epoch:
            raise ApiError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"Coordinator epoch {coordinator_epoch} for producer {producer_id} is older than "
                f"{producer.coordinator_epoch}",
            )

    # After the write, and when loading.

    def apply(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: int,
        last_offset_delta: int,
        attributes: int,
        base_offset: Offset,
        timestamp: int,
    ) -> None:
        """Take a data batch into account; `timestamp` is its largest."""
        producer = self._in_epoch(producer_id, producer_epoch)
        last_sequence = (
            NO_SEQUENCE
            if base_sequence == NO_SEQUENCE
            else (base_sequence + last_offset_delta) & SEQUENCE_MASK
        )
        batches = producer.batches
        if len(batches) == REMEMBERED_BATCHES:
            del batches[0]
        batches.append(
            ProducedEarlier(
                last_sequence, base_offset + last_offset_delta, last_offset_delta, timestamp
            )
        )
        producer.timestamp = timestamp
        if attributes & TRANSACTIONAL_FLAG and producer.transaction_first_offset < 0:
            producer.transaction_first_offset = base_offset
            self._open[producer_id] = base_offset

    def _in_epoch(self, producer_id: ProducerId, producer_epoch: ProducerEpoch) -> Producer:
        """Return the producer, whose batches of other epochs count no more."""
        producer = self.producers.get(producer_id)
        if producer is None:
            producer = self.producers[producer_id] = Producer(producer_id, producer_epoch)
        elif producer.producer_epoch != producer_epoch:
            producer.producer_epoch = producer_epoch
            producer.batches.clear()
        return producer

    def apply_marker(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        marker: EndTxnMarker,
        offset: Offset,
        timestamp: int,
    ) -> AbortedTransaction | None:
        """End the producer's transaction; return what belongs in the transaction index."""
        producer = self._in_epoch(producer_id, producer_epoch)
        producer.coordinator_epoch = marker.coordinator_epoch
        producer.timestamp = timestamp
        first_offset = producer.transaction_first_offset
        if first_offset < 0:
            return None
        producer.transaction_first_offset = NO_OFFSET
        del self._open[producer_id]
        self._ended.append(_Ended(first_offset, offset))
        if marker.committed:
            return None
        stable = min(self._open.values(), default=offset + 1)
        return AbortedTransaction(producer_id, first_offset, offset, stable)

    def apply_empty_marker(
        self, producer_id: ProducerId, producer_epoch: ProducerEpoch, timestamp: int
    ) -> None:
        """Take into account what compaction left of a marker: that the epoch was reached."""
        producer = self._in_epoch(producer_id, producer_epoch)
        producer.timestamp = timestamp

    def apply_header(self, header: BatchHeader) -> None:
        """`apply` the data batch a header describes, if a producer wrote it."""
        if header.producer_id >= 0 and not header.attributes & CONTROL_FLAG:
            self.apply(
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                header.last_offset_delta,
                header.attributes,
                header.base_offset,
                header.max_timestamp,
            )

    # Transactions.

    @property
    def has_transactions(self) -> bool:
        """Say whether `first_unstable_offset` could be other than None."""
        return bool(self._open) or bool(self._ended)

    @property
    def first_unstable_offset(self) -> Offset | None:
        """The least first offset of a transaction that is open, or ended but not yet replicated."""
        if not self._open and not self._ended:
            return None
        first = min(self._open.values(), default=None)
        ended = min((ended.first_offset for ended in self._ended), default=None)
        if first is None or ended is None:
            return ended if first is None else first
        return min(first, ended)

    def high_watermark_is(self, high_watermark: Offset) -> None:
        """Let go of ended transactions whose marker is below it."""
        if self._ended:
            self._ended = [e for e in self._ended if e.marker_offset >= high_watermark]

    # Snapshots and expiry.

    def entries(self) -> list[SnapshotEntry]:
        return [producer.entry() for producer in self.producers.values()]

    def load(self, entries: Iterable[SnapshotEntry], end_offset: Offset) -> None:
        """Start from a snapshot as of `end_offset`."""
        self.clear(end_offset)
        for entry in entries:
            producer = Producer(entry.producer_id, entry.producer_epoch)
            if entry.last_offset >= 0:
                producer.batches.append(
                    ProducedEarlier(
                        entry.last_sequence, entry.last_offset, entry.offset_delta, entry.timestamp
                    )
                )
            producer.timestamp = entry.timestamp
            producer.coordinator_epoch = entry.coordinator_epoch
            producer.transaction_first_offset = entry.transaction_first_offset
            if entry.transaction_first_offset >= 0:
                self._open[entry.producer_id] = entry.transaction_first_offset
            self.producers[entry.producer_id] = producer

    def remember(self, headers: Iterable[BatchHeader]) -> None:
        """Add earlier batches, in their order, to what a snapshot said of each producer's last."""
        earlier: dict[ProducerId, list[ProducedEarlier]] = {}
        for header in headers:
            producer = self.producers.get(header.producer_id)
            if (
                producer is not None
                and producer.batches
                and producer.producer_epoch == header.producer_epoch
                and header.last_offset < producer.batches[0].base_offset
                and not header.attributes & CONTROL_FLAG
            ):
                last_sequence = header.base_sequence + header.last_offset_delta & SEQUENCE_MASK
                earlier.setdefault(header.producer_id, []).append(
                    ProducedEarlier(
                        last_sequence,
                        header.last_offset,
                        header.last_offset_delta,
                        header.max_timestamp,
                    )
                )
        for producer_id, batches in earlier.items():
            producer = self.producers[producer_id]
            producer.batches = [*batches, *producer.batches][-REMEMBERED_BATCHES:]

    def clear(self, end_offset: Offset) -> None:
        self.producers.clear()
        self._turns.clear()
        self._open.clear()
        self._ended.clear()
        self.end_offset = end_offset

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget producers without an open transaction that are silent for so long."""
        expired = [
            producer.producer_id
            for producer in self.producers.values()
            if producer.transaction_first_offset < 0
            and now_ms - producer.timestamp >= expiration_ms
        ]
        for producer_id in expired:
            del self.producers[producer_id]
            self._turns.pop(producer_id, None)
        return len(expired)


def _out_of_order(producer_id: ProducerId, got: int, last: int) -> ApiError:
    return ApiError(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        f"Out of order sequence number for producer {producer_id}: "
        f"{got} (incoming sequence number), {last} (current end sequence number)",
    )
