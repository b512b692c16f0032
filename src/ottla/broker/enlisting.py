"""Coordinators elsewhere are asked whether a partition is in a transaction, or to take it in.

All that is asked of one broker goes in one AddPartitionsToTxn at a time (KIP-890). While
an answer is awaited the transaction may end; its marker then comes to the partition's
leader, which is here: whoever asked watches for it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ottla.broker.batched import Batched
from ottla.broker.peers import Peers
from ottla.coordinator.routing import partition_for
from ottla.coordinator.transaction.shard import Producer
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import NO_BROKER, BrokerId, ProducerId, TopicPartition
from ottla.model.names import TRANSACTION_STATE
from ottla.net.peer import Link
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)

AT_ONCE = 500
"""Transactional ids in one request."""

Codes = Mapping[TopicPartition, ErrorCode]


@dataclass(slots=True, eq=False)
class Asked:
    """One question, and where its answer goes."""

    transactional_id: str
    producer: Producer
    partitions: Sequence[TopicPartition]
    verify_only: bool
    answer: "asyncio.Future[Codes]"

    def tell(self, codes: Codes) -> None:
        if not self.answer.done():
            self.answer.set_result(codes)

    def tell_all(self, code: ErrorCode) -> None:
        self.tell(dict.fromkeys(self.partitions, code))


@dataclass(slots=True, eq=False)
class Watch:
    """Knows whether a producer's transaction was ended in a partition led here since it began."""

    key: tuple[TopicPartition, ProducerId]
    _watches: dict[tuple[TopicPartition, ProducerId], "list[Watch]"] = field(repr=False)
    is_over: bool = False

    def close(self) -> None:
        """Watch no more."""
        watches = self._watches.get(self.key, [])
        if self in watches:
            watches.remove(self)
            if not watches:
                del self._watches[self.key]


class Enlisting:
    def __init__(
        self,
        broker_id: BrokerId,
        peers: Peers,
        image: Callable[[], Image],
        timeout_ms: Callable[[], int],
    ) -> None:
        """`peers` is for this alone; `timeout_ms` how long an answer is waited for."""
        self._broker_id = broker_id
        self._image = image
        self._timeout_ms = timeout_ms
        self._is_closed = False
        self._open: set[Asked] = set()
        """What waits for its answer."""
        self._watches: dict[tuple[TopicPartition, ProducerId], list[Watch]] = {}
        self._asked: Batched[Asked] = Batched(peers, split=_split, send=self._send, failed=_failed)

    # Coordinators

    def _coordinator_of(self, transactional_id: str) -> BrokerId:
        topic = self._image().topics.get(TRANSACTION_STATE)
        if topic is None:
            return NO_BROKER
        return topic.partitions[partition_for(transactional_id, len(topic.partitions))].leader

    def is_here(self, transactional_id: str) -> bool:
        """Whether this broker coordinates the id."""
        return self._coordinator_of(transactional_id) == self._broker_id

    async def ask(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: Sequence[TopicPartition],
        *,
        verify_only: bool,
    ) -> Codes:
        """Have partitions taken in, or ask whether they are; say what the coordinator says of each."""
        coordinator = self._coordinator_of(transactional_id)
        if coordinator == NO_BROKER:
            return dict.fromkeys(partitions, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        if coordinator == self._broker_id:
            return dict.fromkeys(partitions, ErrorCode.NOT_COORDINATOR)  # since a moment ago
        answer: asyncio.Future[Codes] = asyncio.get_running_loop().create_future()
        asked = Asked(transactional_id, producer, partitions, verify_only, answer)
        if self._is_closed:
            asked.tell_all(ErrorCode.NETWORK_EXCEPTION)
            return await answer
        self._open.add(asked)
        self._asked.add(coordinator, asked)
        try:
            return await answer
        finally:
            self._open.discard(asked)

    async def _send(self, link: Link, batch: list[Asked]) -> None:
        request = AddPartitionsToTxnRequest(transactions=[_transaction(each) for each in batch])
        try:
            answer = await link.request(request, timeout_ms=self._timeout_ms())
        except PeerError as error:
            _failed(batch, str(error))
        except ApiError as error:
            for each in batch:
                each.tell_all(error.code)
        else:
            _tell(batch, answer)

    def follow(self, image: Image) -> None:
        """Wait for no broker that is not there any more."""
        self._asked.follow(image)

    def close(self) -> None:
        """Ask no more; who waits may try elsewhere."""
        self._is_closed = True
        self._asked.close()
        for asked in self._open:
            asked.tell_all(ErrorCode.NETWORK_EXCEPTION)

    # Markers

    def watch(self, partition: TopicPartition, producer_id: ProducerId) -> Watch:
        """Watch for a marker of a producer in a partition led here, until the watch is closed."""
        watch = Watch((partition, producer_id), self._watches)
        self._watches.setdefault(watch.key, []).append(watch)
        return watch

    def marked(self, partition: TopicPartition, producer_id: ProducerId) -> None:
        """A marker was appended."""
        for watch in self._watches.pop((partition, producer_id), ()):
            watch.is_over = True


def _split(unsent: list[Asked]) -> tuple[list[Asked], list[Asked]]:
    """A request names an id once: its answer is found by the id."""
    chosen: dict[str, Asked] = {}
    waiting: list[Asked] = []
    for each in unsent:
        if len(chosen) < AT_ONCE and each.transactional_id not in chosen:
            chosen[each.transactional_id] = each
        else:
            waiting.append(each)
    return list(chosen.values()), waiting


def _failed(batch: list[Asked], why: str) -> None:
    for each in batch:
        each.tell_all(ErrorCode.NETWORK_EXCEPTION)


def _transaction(asked: Asked) -> AddPartitionsToTxnTransaction:
    topics: dict[str, list[int]] = {}
    for topic, number in asked.partitions:
        topics.setdefault(topic, []).append(number)
    return AddPartitionsToTxnTransaction(
        transactional_id=asked.transactional_id,
        producer_id=asked.producer[0],
        producer_epoch=asked.producer[1],
        verify_only=asked.verify_only,
        topics=[
            AddPartitionsToTxnTopic(name=name, partitions=numbers)
            for name, numbers in topics.items()
        ],
    )


def _tell(batch: list[Asked], answer: AddPartitionsToTxnResponse) -> None:
    """What the answer does not speak of is refused."""
    if answer.error_code:
        for each in batch:
            each.tell_all(ErrorCode.INVALID_TXN_STATE)
        return
    rows = {row.transactional_id: row for row in answer.results_by_transaction}
    for each in batch:
        codes = dict.fromkeys(each.partitions, ErrorCode.UNKNOWN_SERVER_ERROR)
        row = rows.get(each.transactional_id)
        for topic in () if row is None else row.topic_results:
            for part in topic.results_by_partition:
                name = TopicPartition(topic.name, part.partition_index)
                codes[name] = ErrorCode(part.partition_error_code)
        each.tell(codes)
