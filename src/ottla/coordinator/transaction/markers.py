"""How a transaction's end gets to its partitions."""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from ottla.coordinator.transaction.state import Transaction
from ottla.model.errors import ApiError
from ottla.model.ids import LeaderEpoch, ProducerEpoch, ProducerId, TopicPartition
from ottla.record.control import EndTxnMarker

Committed = Callable[[ApiError | None], None]
"""Hears that a marker is committed, or why it is not."""


class Written(Enum):
    """What became of a transaction's markers."""

    ALL = "every partition has its own"
    NOT_ALL = "to be tried again"
    NEVER = "another coordinator, or a later producer, has written where they belong"


class Markers(Protocol):
    """Writes the markers of prepared transactions."""

    def write(
        self,
        prepared: Transaction,
        coordinator_epoch: LeaderEpoch,
        written: Callable[[Written], None],
        /,
    ) -> None:
        """Write a marker into each of its partitions, and say what became of them.

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
