"""A producer whose records, and a group's offsets, count all together or not at all (KIP-98, KIP-890).

    async with TransactionalProducer(view, "copier-1") as producer:
        await producer.init()
        async with producer.transaction():
            await producer.send("out", b"value")
            await producer.send_offsets("group", {TopicPartition("in", 0): 17})

The block commits when it ends well and aborts when something is raised. It needs
transaction version 2: partitions join a transaction with the first record, and
every end begins an epoch, so that what was sent before an end cannot touch what
comes after it. Ottla has it, Kafka from 4.0 on.

After an error the open transaction can only be aborted. `FencedError` says that
another producer of the same id has taken over: this one is done for.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from ottla.client.cluster_view import ClusterView, check
from ottla.client.producer import Producer, _Lane
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import Offset, ProducerEpoch, ProducerId, TopicPartition
from ottla.model.isolation import Acks, CoordinatorType
from ottla.net.peer import Link

FIRST_PRODUCE, FIRST_OFFSETS, FIRST_END = 12, 5, 5
"""The first versions of Produce, TxnOffsetCommit and EndTxn with transaction version 2."""

FENCING = frozenset(
    {
        ErrorCode.PRODUCER_FENCED,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    }
)


class FencedError(ApiError):
    """Another producer has the transactional id, or a batch came too late: begin with `init`."""


class TransactionalProducer(Producer):
    """`init` once, then one transaction after the other; options as for `Producer`."""

    def __init__(
        self,
        view: ClusterView,
        transactional_id: str,
        *,
        timeout_ms: int = 60_000,
        **options: Any,
    ) -> None:
        """`timeout_ms`: so long may a transaction take before the broker aborts it."""
        super().__init__(view, acks=Acks.ALL, idempotent=True, **options)
        self._transactional_id: str = transactional_id
        self._timeout_ms = timeout_ms
        self._open = False
        self._wrote = False
        self._failure: ApiError | PeerError | None = None

    async def __aexit__(self, *_: object) -> None:
        if self._open and self._producer is not None and not self.is_fenced:
            with suppress(ApiError, PeerError):  # else it times out
                await self.abort()

    @property
    def identity(self) -> tuple[ProducerId, ProducerEpoch] | None:
        """Producer id and epoch; each end of a transaction begins an epoch."""
        return self._producer

    @property
    def failure(self) -> ApiError | PeerError | None:
        """Why the open transaction can only be aborted."""
        return self._failure

    @property
    def is_fenced(self) -> bool:
        """Whether nothing but `init` helps any more."""
        return isinstance(self._failure, FencedError)

    # The life of a transaction

    async def init(self) -> None:
        """Take over the transactional id: what its producer before had open is aborted.

        Raises:
            ApiError: INVALID_TRANSACTION_TIMEOUT and the like.
            PeerError: nobody answered.
        """
        from ottla.wire.generated.init_producer_id import InitProducerIdRequest

        request = InitProducerIdRequest(
            transactional_id=self._transactional_id, transaction_timeout_ms=self._timeout_ms
        )
        response = await self._ask(request)
        self._producer = (response.producer_id, response.producer_epoch)
        self._open = False
        self._failure = None

    def begin(self) -> None:
        """Begin a transaction; the broker hears of it with the first record."""
        if self._producer is None or self._open:
            raise ValueError("a transaction is open" if self._open else "`init` comes first")
        self._open, self._wrote, self._failure = True, False, None

    async def send_offsets(
        self,
        group: str,
        offsets: Mapping[TopicPartition, Offset],
        *,
        member_id: str = "",
        generation: int = -1,
        instance_id: str | None = None,
    ) -> None:
        """Commit a group's offsets with the transaction.

        Who is a member says who, so that a member of an older generation is refused.

        Raises:
            ApiError: ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH and the like.
            FencedError: another producer has the transactional id.
        """
        from ottla.wire.generated.txn_offset_commit import (
            TxnOffsetCommitRequest,
            TxnOffsetCommitRequestPartition,
            TxnOffsetCommitRequestTopic,
        )

        producer_id, producer_epoch = self._in_transaction()
        topics: dict[str, TxnOffsetCommitRequestTopic] = {}
        for (name, number), offset in offsets.items():
            topic = topics.setdefault(name, TxnOffsetCommitRequestTopic(name=name))
            topic.partitions.append(
                TxnOffsetCommitRequestPartition(partition_index=number, committed_offset=offset)
            )
        request = TxnOffsetCommitRequest(
            transactional_id=self._transactional_id,
            group_id=group,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance_id,
            topics=list(topics.values()),
        )

        async def attempt() -> None:
            link = await self._view.link(await self._view.coordinator(group))
            _require(link, TxnOffsetCommitRequest, FIRST_OFFSETS)
            response = await link.request(request, timeout_ms=self._view.request_timeout_ms)
            for answer in response.topics:
                for each in answer.partitions:
                    partition = TopicPartition(answer.name, each.partition_index)
                    check(each.error_code, about=f"group {group!r}, partition {partition}")

        self._wrote = True
        try:
            await self._view.ask(attempt)
        except (ApiError, PeerError) as error:
            self._failed(error)
            raise self._seen(error) from None

    async def commit(self) -> None:
        """Let everything of the transaction count, once all of it is acknowledged.

        Raises:
            FencedError: another producer has the transactional id.
            ApiError: something was refused, or the transaction took too long; abort.
            PeerError: something was not answered: abort. Of the end itself it is not
                known then whether it took place: `init` and look.
        """
        self._in_transaction()
        await self.flush()
        self._in_transaction()
        await self._end(committed=True)

    async def abort(self) -> None:
        """Let nothing of the transaction count. Raises as `commit` does."""
        if self._failure is None:
            self._failure = ApiError(ErrorCode.TRANSACTION_ABORTABLE, "the transaction is aborted")
        await self.flush()
        await self._end(committed=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A transaction that commits when the block ends well, and else aborts."""
        self.begin()
        try:
            yield
            await self.commit()
        except BaseException:
            if self._open and self._producer is not None and not self.is_fenced:
                with suppress(ApiError, PeerError):  # what was raised first says more
                    await self.abort()
            raise

    async def _end(self, *, committed: bool) -> None:
        from ottla.wire.generated.end_txn import EndTxnRequest

        if self._failure is not None and (self.is_fenced or self._producer is None):
            raise self._failure
        if self._wrote:
            assert self._producer is not None
            producer_id, producer_epoch = self._producer
            request = EndTxnRequest(
                transactional_id=self._transactional_id,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
                committed=committed,
            )
            try:
                response = await self._ask(request, FIRST_END)
            except (ApiError, PeerError) as error:
                if isinstance(error, PeerError):
                    self._producer = None
                self._failed(error)
                raise self._seen(error) from None
            self._producer = (response.producer_id, response.producer_epoch)
        self._open = False

    # How batches are written

    async def _identify(self, lane: _Lane) -> None:
        producer = self._in_transaction()
        self._wrote = True
        if lane.producer != producer:
            lane.producer = producer
            lane.sequence = 0

    async def _request(self, partition: TopicPartition, batch: bytes) -> tuple[Offset, int]:
        from ottla.wire.generated.produce import ProduceRequest

        leader = await self._view.leader(partition)
        _require(await self._view.link(leader.leader), ProduceRequest, FIRST_PRODUCE)
        return await super()._request(partition, batch)

    def _failed(self, error: ApiError | PeerError, in_doubt: bool = True) -> None:
        if not self.is_fenced:
            self._failure = self._seen(error)

    # What both need

    def _in_transaction(self) -> tuple[ProducerId, ProducerEpoch]:
        if self._failure is not None:
            raise self._failure
        if not self._open or self._producer is None:
            raise ValueError("no transaction is open")
        return self._producer

    def _seen(self, error: ApiError | PeerError) -> ApiError | PeerError:
        if isinstance(error, ApiError) and error.code in FENCING:
            return FencedError(error.code, error.message)
        return error

    async def _ask(self, request: Any, first: int = 0) -> Any:
        """Ask the coordinator of the transactional id; what may pass is tried again."""
        view, transactional_id = self._view, self._transactional_id

        async def attempt() -> Any:
            coordinator = await view.coordinator(transactional_id, CoordinatorType.TRANSACTION)
            link = await view.link(coordinator)
            _require(link, type(request), first)
            response = await link.request(request, timeout_ms=view.request_timeout_ms)
            check(response.error_code, about=f"transactional id {transactional_id!r}")
            return response

        return await view.ask(attempt)


def _require(link: Link, request_type: Any, version: int) -> None:
    if not link.serves(request_type, version):
        raise ApiError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"{link} does not serve transaction version 2, which is needed",
        )
