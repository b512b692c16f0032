"""May a producer write to partitions led here, as part of its open transaction (KIP-890)?

Its coordinator is asked, here or on another broker. Asking takes time, so what it said is
looked at again in the turn of the append: nothing may come behind the marker of its
transaction, which would keep the last stable offset back for ever.

A coordinator here is simply asked again. One elsewhere cannot be: instead the marker is
watched for, which comes to the partition's leader, and that is this broker. Where the
partition's log has the producer's transaction open, it is in it, and nobody is asked.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ottla.coordinator.transaction.shard import Producer
from ottla.handlers.context import Context
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import LeaderEpoch, ProducerId, TopicPartition
from ottla.replica.partition import Partition

VERSION_2 = 2

MOST_ASKED = 5
"""Times that a coordinator elsewhere is asked, since each time a marker came meanwhile."""

Codes = Mapping[TopicPartition, ErrorCode]


class Watching(Protocol):
    is_over: bool
    """A marker came."""

    def close(self) -> None: ...


class Enlister(Protocol):
    """Asks coordinators on other brokers."""

    def is_here(self, transactional_id: str, /) -> bool:
        """Whether this broker coordinates the id."""

    async def ask(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: Sequence[TopicPartition],
        /,
        *,
        verify_only: bool,
    ) -> Codes:
        """Have partitions taken in, or ask whether they are; say what the coordinator says of each."""

    def watch(self, partition: TopicPartition, producer_id: ProducerId, /) -> Watching:
        """Watch for a marker of a producer in a partition led here, until the watch is closed."""


class Admission:
    """What one request of a transactional producer may write to; to be closed."""

    def __init__(self, context: Context, transactional_id: str, *, takes_in: bool) -> None:
        """`takes_in`: partitions are taken into the transaction; else they must be in it."""
        enlister = context.broker.enlister
        is_here = enlister is None or enlister.is_here(transactional_id)
        self._enlister = None if is_here else enlister
        self._transactions = context.broker.transactions
        self._transactional_id = transactional_id
        self._takes_in = takes_in
        self._watches: dict[tuple[TopicPartition, ProducerId], tuple[Watching, LeaderEpoch]] = {}
        """Of what its coordinator is being asked, or has admitted."""

    async def ask(
        self, producer: Producer, partitions: Sequence[Partition]
    ) -> dict[TopicPartition, ApiError]:
        """Which partitions it may not write to, and why.

        If the transaction before is being ended, it is asked again for a while.
        """
        settings = self._transactions.settings
        backoff_ms = settings.add_partitions_to_txn_retry_backoff_ms
        left_ms = settings.add_partitions_to_txn_retry_backoff_max_ms
        while True:
            if self._enlister is None:
                refused = await self._ask_here(producer, partitions)
            else:
                refused = await self._ask_elsewhere(self._enlister, producer, partitions)
            left_ms -= backoff_ms
            if not self._takes_in or left_ms <= 0 or not _is_concurrent(refused.values()):
                return refused
            await asyncio.sleep(backoff_ms / 1_000)

    async def _ask_here(
        self, producer: Producer, partitions: Sequence[Partition]
    ) -> dict[TopicPartition, ApiError]:
        names = [partition.name for partition in partitions]
        transactions, transactional_id = self._transactions, self._transactional_id
        try:
            if self._takes_in:
                await transactions.add_partitions(transactional_id, producer, names, VERSION_2)
            else:
                for name in names:
                    await transactions.verify(transactional_id, producer, name)
        except ApiError as error:
            return dict.fromkeys(names, error)
        return {}

    async def _ask_elsewhere(
        self, enlister: Enlister, producer: Producer, partitions: Sequence[Partition]
    ) -> dict[TopicPartition, ApiError]:
        """A marker that comes meanwhile may be that of the transaction before: then again."""
        refused: dict[TopicPartition, ApiError] = {}
        for _ in range(MOST_ASKED):
            names = [
                partition.name
                for partition in partitions
                if partition.name not in refused and self._is_to_ask(enlister, partition, producer)
            ]
            if not names:
                break
            codes = await enlister.ask(
                self._transactional_id, producer, names, verify_only=not self._takes_in
            )
            for name, code in codes.items():
                if code:
                    refused[name] = ApiError(_NOT_KNOWN_YET.get(code, code))
                    watch, _ = self._watches.pop((name, producer[0]))
                    watch.close()
        return refused

    def _is_to_ask(self, enlister: Enlister, partition: Partition, producer: Producer) -> bool:
        """Unless it is known to be part of the transaction; if so, it is watched from now on."""
        if self._is_admitted(partition, producer):
            return False
        key = (partition.name, producer[0])
        known = self._watches.get(key)
        if known is not None:
            known[0].close()
        self._watches[key] = enlister.watch(*key), partition.leader_epoch
        return True

    def _is_admitted(self, partition: Partition, producer: Producer) -> bool:
        """Whether the log has its transaction open, or the coordinator said so and no marker came."""
        if _is_open(partition, producer):
            return True
        known = self._watches.get((partition.name, producer[0]))
        if known is None:
            return False
        watch, leader_epoch = known
        return not watch.is_over and leader_epoch == partition.leader_epoch

    def check(self, partition: Partition, producer: Producer) -> None:
        """In the turn of the append.

        Raises:
            ApiError: the transaction is not open, or not known to be, any more.
        """
        if self._enlister is None:
            self._transactions.check_now(self._transactional_id, producer, partition.name)
            return
        if self._is_admitted(partition, producer):
            return
        log = partition.log
        entry = log.producers.producers.get(producer[0]) if log.is_open else None
        if entry is not None and entry.producer_epoch > producer[1]:
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        raise ApiError(ErrorCode.INVALID_TXN_STATE, "the transaction ended meanwhile")

    def close(self) -> None:
        """It is written, or never will be."""
        for watch, _ in self._watches.values():
            watch.close()


_NOT_KNOWN_YET = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.OPERATION_NOT_ATTEMPTED: ErrorCode.COORDINATOR_NOT_AVAILABLE,
}
"""The partition is there, for this broker leads it: the coordinator has not heard of it yet."""


def _is_concurrent(refused: Iterable[ApiError]) -> bool:
    return any(error.code is ErrorCode.CONCURRENT_TRANSACTIONS for error in refused)


def _is_open(partition: Partition, producer: Producer) -> bool:
    """Whether the log has the producer's transaction open, in this epoch: its marker did not come."""
    log = partition.log
    if not log.is_open:
        return False
    entry = log.producers.producers.get(producer[0])
    return (
        entry is not None
        and entry.transaction_first_offset >= 0
        and entry.producer_epoch == producer[1]
    )
