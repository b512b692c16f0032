"""Transaction coordinators and logs that are wrong on purpose; `broken.py` says how they are reached.

Each is what a plausible mistake would do: a check left out, a marker forgotten,
an epoch not raised.
"""

from collections.abc import Callable
from typing import Any

from ottla.broker.transactions import LocalMarkers
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.transaction.shard import Out, Producer, TransactionShard
from ottla.coordinator.transaction.state import ONGOING, PREPARE_COMMIT
from ottla.model.ids import Offset, TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.record.control import EndTxnMarker
from ottla.replica.partition import Partition
from ottla.storage.log import Log
from ottla.storage.transaction_index import AbortedTransaction

Patch = Callable[[Any, str, Any], None]
"""Sets an attribute: `setattr`, or one that remembers what was there."""


def abort_in_one_partition(patch: Patch) -> None:
    """Write an abort marker into partition 1, however the transaction ends."""
    real_write = LocalMarkers.write_one

    def write_one(
        self: LocalMarkers,
        name: TopicPartition,
        producer_id: int,
        producer_epoch: int,
        marker: EndTxnMarker,
        *rest: Any,
    ) -> None:
        if name.partition == 1:
            marker = marker._replace(committed=False)
        real_write(self, name, producer_id, producer_epoch, marker, *rest)

    patch(LocalMarkers, "write_one", write_one)


def commit_what_times_out(patch: Patch) -> None:
    """End a transaction over its producer's head as if it had asked for a commit."""
    real_fence = TransactionShard._fence

    def fence(self: TransactionShard, known: Any, now_ms: int) -> Out:
        out = real_fence(self, known, now_ms)
        (record,) = out.records
        assert record.transaction is not None
        after = record.transaction._replace(state=PREPARE_COMMIT)
        decided = Out([record._replace(transaction=after)])
        self._end_later(decided, after)
        return decided

    patch(TransactionShard, "_fence", fence)


def forget_offsets_in_transactions(patch: Patch) -> None:
    """Do not tell the group coordinator that a transaction with offsets has ended."""
    patch(GroupCoordinator, "marked", lambda self, *arguments: None)


def serve_above_last_stable(patch: Patch) -> None:
    """Let who reads committed records read those of open transactions."""

    def readable_end(self: Partition, isolation: IsolationLevel) -> Offset:
        return self.high_watermark

    patch(Partition, "readable_end", readable_end)


def name_committed_transactions_aborted(patch: Patch) -> None:
    """Say that every producer's next transaction after an aborted one is aborted too."""
    real = Log.aborted_transactions

    def aborted_transactions(self: Log, start: Offset, end: Offset) -> list[AbortedTransaction]:
        found = real(self, start, end)
        return found + [each._replace(first_offset=each.last_offset + 1) for each in found]

    patch(Log, "aborted_transactions", aborted_transactions)


def keep_the_epoch(patch: Patch) -> None:
    """Give a producer that takes over the epoch of the one before."""
    real_init = TransactionShard.init

    def init(self: TransactionShard, transactional_id: str, *arguments: Any) -> Out:
        known = self.transactions.get(transactional_id)
        out = real_init(self, transactional_id, *arguments)
        if known is None or known.state is ONGOING or known.producer_epoch < 0:
            return out
        epoch = known.producer_epoch
        return Out(
            [
                each._replace(transaction=each.transaction._replace(producer_epoch=epoch))
                for each in out.records
                if each.transaction is not None
            ],
            [(waiter, (answer[0], epoch)) for waiter, answer in out.answers],
        )

    patch(TransactionShard, "init", init)


def end_for_any_epoch(patch: Patch) -> None:
    """Let an EndTxn of any epoch end the transaction that is open (KAFKA-17754)."""
    real_end = TransactionShard.end

    def end(
        self: TransactionShard, transactional_id: str, producer: Producer, *arguments: Any
    ) -> Out:
        known = self.transactions.get(transactional_id)
        if known is not None and known.state is ONGOING and known.producer_id == producer[0]:
            producer = (known.producer_id, known.producer_epoch)
        return real_end(self, transactional_id, producer, *arguments)

    patch(TransactionShard, "end", end)


def never_time_out(patch: Patch) -> None:
    """Leave the transactions of clients that are gone as they are."""
    real_apply = TransactionShard.apply

    def apply(self: TransactionShard, record: Any, *arguments: Any) -> None:
        real_apply(self, record, *arguments)
        self._deadlines.cancel(("timeout", record.transactional_id))

    patch(TransactionShard, "apply", apply)


def forget_markers_after_restart(patch: Patch) -> None:
    """Take a transaction that was decided before the restart for ended."""

    def loaded(self: TransactionShard, now_ms: int) -> Out:
        for transactional_id in self.transactions:
            self._deadlines.cancel(("markers", transactional_id))
        self._set_expiry(now_ms)
        return Out()

    patch(TransactionShard, "loaded", loaded)


SWITCHES: tuple[Callable[[Patch], None], ...] = (
    abort_in_one_partition,
    commit_what_times_out,
    forget_offsets_in_transactions,
    serve_above_last_stable,
    name_committed_transactions_aborted,
    keep_the_epoch,
    end_for_any_epoch,
    never_time_out,
    forget_markers_after_restart,
)
