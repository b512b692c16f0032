"""How a transaction's end gets to its partitions."""

from collections.abc import Callable
from typing import Protocol

from ottla.coordinator.transaction.state import Transaction
from ottla.model.errors import ApiError
from ottla.model.ids import LeaderEpoch, ProducerEpoch, ProducerId, TopicPartition
from ottla.record.control import EndTxnMarker

Committed = Callable[[ApiError | None], None]
"""Hears that a marker is committed, or why it is not."""


class Markers(Protocol):
    """Writes the markers of prepared transactions."""

    def write(
        self,
        prepared: Transaction,
        coordinator_epoch: LeaderEpoch,
        written: Callable[[bool], None],
        /,
    ) -> None:
        """Write a marker into each of its partitions, and say whether all are committed.

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
        committed: Committed,
        /,
    ) -> None:
        """Append one marker.

        Raises:
            ApiError, StorageError: nothing was appended.
        """
