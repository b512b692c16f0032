"""How a transaction's end gets to its partitions."""

from collections.abc import Awaitable
from typing import Protocol

from ottla.coordinator.transaction.state import Transaction
from ottla.model.errors import ApiError
from ottla.model.ids import LeaderEpoch, ProducerEpoch, ProducerId, TopicPartition
from ottla.record.control import EndTxnMarker


class Markers(Protocol):
    """Writes the markers of prepared transactions."""

    async def write(self, prepared: Transaction, coordinator_epoch: LeaderEpoch, /) -> bool:
        """Write a marker into each of its partitions; say whether all are committed.

        A partition that exists no more needs none. May be called again for the
        same transaction: a marker that stands already is written once more.
        """

    def write_one(
        self,
        partition: TopicPartition,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        marker: EndTxnMarker,
        transaction_version: int,
        /,
    ) -> Awaitable[ApiError | None]:
        """Append one marker; what is awaited is its commit, or why it is none.

        Raises:
            ApiError, StorageError: nothing was appended.
        """
