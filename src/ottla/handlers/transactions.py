"""AddPartitionsToTxn, AddOffsetsToTxn, EndTxn; describing and listing transactions."""

import asyncio
from collections.abc import Iterable

from ottla.coordinator.group.regexes import compiled
from ottla.coordinator.transaction.state import ONGOING, Transaction, TxnState
from ottla.handlers.context import Context
from ottla.handlers.slices import Slices
from ottla.handlers.topics import ensure_internal_topic
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, TopicPartition
from ottla.model.names import CONSUMER_OFFSETS
from ottla.wire.generated.add_offsets_to_txn import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
)
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
)
from ottla.wire.generated.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TopicData,
    TransactionState,
)
from ottla.wire.generated.end_txn import EndTxnRequest, EndTxnResponse
from ottla.wire.generated.list_transactions import (
    ListTransactionsRequest,
    ListTransactionsResponse,
)
from ottla.wire.generated.list_transactions import TransactionState as ListedTransaction

DENIED = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED

Codes = dict[TopicPartition, ErrorCode]

FIRST_OF_VERSION_2 = 5
"""Of EndTxn: who sends it knows that each end begins an epoch (KIP-890)."""

FIRST_WITH_FENCED = 2
"""Of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn."""

FIRST_FROM_BROKERS = 4


def _told(code: ErrorCode, api_version: int) -> ErrorCode:
    if code is ErrorCode.PRODUCER_FENCED and api_version < FIRST_WITH_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return code


# AddPartitionsToTxn


async def add_partitions_to_txn(
    context: Context, request: AddPartitionsToTxnRequest
) -> AddPartitionsToTxnResponse:
    """Up to version 3 a producer adds partitions; from 4 on brokers add, or ask, for several."""
    slices = Slices(context.broker.transport_clock)
    if context.api_version < FIRST_FROM_BROKERS:
        asked = AddPartitionsToTxnTransaction(
            transactional_id=request.v3_and_below_transactional_id,
            producer_id=request.v3_and_below_producer_id,
            producer_epoch=request.v3_and_below_producer_epoch,
            topics=request.v3_and_below_topics,
        )
        response = AddPartitionsToTxnResponse(
            results_by_topic_v3_and_below=await _add(context, asked, slices)
        )
    elif not context.authorize("CLUSTER_ACTION", "CLUSTER", "kafka-cluster"):
        return AddPartitionsToTxnResponse(error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    else:
        # Each waits for its record to be committed: side by side.
        added = await asyncio.gather(
            *(_add(context, asked, slices) for asked in request.transactions)
        )
        response = AddPartitionsToTxnResponse(
            results_by_transaction=[
                AddPartitionsToTxnResult(
                    transactional_id=asked.transactional_id, topic_results=results
                )
                for asked, results in zip(request.transactions, added, strict=True)
            ]
        )
    await slices.rest_before_answer()
    return response


async def _add(
    context: Context, asked: AddPartitionsToTxnTransaction, slices: Slices
) -> list[AddPartitionsToTxnTopicResult]:
    """All partitions of a transaction, or none: where one is not there, the others are not tried.

    They are looked at and answered in slices, and added by one decision.
    """
    version = context.api_version
    transactional_id = asked.transactional_id
    producer = (asked.producer_id, asked.producer_epoch)
    if not context.authorize("WRITE", "TRANSACTIONAL_ID", transactional_id):
        return await _results(asked.topics, {}, DENIED, slices)
    if not transactional_id:
        return await _results(asked.topics, {}, ErrorCode.INVALID_REQUEST, slices)
    names: list[TopicPartition] = []
    wrong: Codes = {}
    for topic in asked.topics:
        for number in topic.partitions:
            name = TopicPartition(topic.name, number)
            names.append(name)
            code = _wrong(context, name)
            if code:
                wrong[name] = code
            if slices.is_over():
                await slices.rest()
    if wrong:
        return await _results(asked.topics, wrong, ErrorCode.OPERATION_NOT_ATTEMPTED, slices)
    if asked.verify_only:
        for name in names:
            try:
                await context.broker.transactions.verify(transactional_id, producer, name)
            except ApiError as error:
                wrong[name] = error.code
            if slices.is_over():
                await slices.rest()
        return await _results(asked.topics, wrong, ErrorCode.NONE, slices)
    try:
        await context.broker.transactions.add_partitions(
            transactional_id, producer, names, 0 if version < FIRST_FROM_BROKERS else 2
        )
    except ApiError as error:
        return await _results(asked.topics, {}, _told(error.code, version), slices)
    return await _results(asked.topics, {}, ErrorCode.NONE, slices)


def _wrong(context: Context, name: TopicPartition) -> ErrorCode:
    if not context.authorize("WRITE", "TOPIC", name.topic):
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    topic = context.broker.image.topics.get(name.topic)
    if topic is None or not 0 <= name.partition < len(topic.partitions):
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return ErrorCode.NONE


async def _results(
    topics: Iterable[AddPartitionsToTxnTopic], codes: Codes, others: ErrorCode, slices: Slices
) -> list[AddPartitionsToTxnTopicResult]:
    """A row for each partition; `others` is the code of those without one."""
    results = []
    for topic in topics:
        rows = []
        for number in topic.partitions:
            code = codes.get(TopicPartition(topic.name, number), others) if codes else others
            rows.append(
                AddPartitionsToTxnPartitionResult(partition_index=number, partition_error_code=code)
            )
            if slices.is_over():
                await slices.rest()
        results.append(AddPartitionsToTxnTopicResult(name=topic.name, results_by_partition=rows))
    return results


async def add_offsets_to_txn(
    context: Context, request: AddOffsetsToTxnRequest
) -> AddOffsetsToTxnResponse:
    """Take the partition of a group's offsets into the transaction."""
    if not context.authorize("WRITE", "TRANSACTIONAL_ID", request.transactional_id):
        return AddOffsetsToTxnResponse(error_code=DENIED)
    if not context.authorize("READ", "GROUP", request.group_id):
        return AddOffsetsToTxnResponse(error_code=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    if not request.transactional_id:
        return AddOffsetsToTxnResponse(error_code=ErrorCode.INVALID_REQUEST)
    try:
        # Some clients look for the group's coordinator, which makes the topic, only after this.
        await ensure_internal_topic(context.broker, CONSUMER_OFFSETS)
        number = context.broker.groups.partition_for(request.group_id)
        await context.broker.transactions.add_partitions(
            request.transactional_id,
            (request.producer_id, request.producer_epoch),
            [TopicPartition(CONSUMER_OFFSETS, number)],
            0,
        )
    except ApiError as error:
        return AddOffsetsToTxnResponse(error_code=_told(error.code, context.api_version))
    return AddOffsetsToTxnResponse()


async def end_txn(context: Context, request: EndTxnRequest) -> EndTxnResponse:
    """Answered once it is decided; markers follow. Version 2 clients learn their next epoch."""
    if not context.authorize("WRITE", "TRANSACTIONAL_ID", request.transactional_id):
        return EndTxnResponse(error_code=DENIED)
    if not request.transactional_id:
        return EndTxnResponse(error_code=ErrorCode.INVALID_REQUEST)
    is_version_2 = context.api_version >= FIRST_OF_VERSION_2
    try:
        producer_id, epoch = await context.broker.transactions.end(
            request.transactional_id,
            (request.producer_id, request.producer_epoch),
            request.committed,
            2 if is_version_2 else 0,
        )
    except ApiError as error:
        return EndTxnResponse(error_code=_told(error.code, context.api_version))
    if not is_version_2:
        return EndTxnResponse()
    return EndTxnResponse(producer_id=producer_id, producer_epoch=epoch)


# As administrators see them


async def describe_transactions(
    context: Context, request: DescribeTransactionsRequest
) -> DescribeTransactionsResponse:
    """One description for each id, in the order asked for."""
    response = DescribeTransactionsResponse()
    slices = Slices(context.broker.transport_clock)
    for transactional_id in request.transactional_ids:
        if slices.is_over():
            await slices.rest()
        described = TransactionState(transactional_id=transactional_id)
        response.transaction_states.append(described)
        if not context.authorize("DESCRIBE", "TRANSACTIONAL_ID", transactional_id):
            described.error_code = DENIED
            continue
        if not transactional_id:
            described.error_code = ErrorCode.INVALID_REQUEST
            continue
        try:
            known = await context.broker.transactions.describe(transactional_id)
        except ApiError as error:
            described.error_code = error.code
            continue
        described.transaction_state = known.state.label
        described.transaction_timeout_ms = known.timeout_ms
        described.transaction_start_time_ms = known.start_ms
        described.producer_id = known.producer_id
        described.producer_epoch = known.producer_epoch
        topics: dict[str, list[PartitionId]] = {}
        for topic, number in sorted(known.partitions):
            if context.authorize("DESCRIBE", "TOPIC", topic):
                topics.setdefault(topic, []).append(number)
        described.topics = [
            TopicData(topic=topic, partitions=numbers) for topic, numbers in topics.items()
        ]
    await slices.rest_before_answer()
    return response


async def list_transactions(
    context: Context, request: ListTransactionsRequest
) -> ListTransactionsResponse:
    """Those of this broker that pass every filter and that one may describe."""
    pattern = None
    if request.transactional_id_pattern:
        try:
            pattern = compiled(request.transactional_id_pattern)
        except ApiError as error:
            return ListTransactionsResponse(error_code=error.code)
    by_label = {state.label: state for state in TxnState}
    states = {by_label[label] for label in request.state_filters if label in by_label}
    producers = set(request.producer_id_filters)
    response = ListTransactionsResponse(
        unknown_state_filters=[label for label in request.state_filters if label not in by_label]
    )
    now_ms = context.broker.clock.now_ms()

    def wanted(known: Transaction) -> bool:
        if request.state_filters and known.state not in states:
            return False
        if producers and known.producer_id not in producers:
            return False
        if request.duration_filter >= 0 and (
            known.state is not ONGOING or now_ms - known.start_ms <= request.duration_filter
        ):
            return False
        if pattern is not None and not pattern.matches(known.transactional_id):
            return False
        return context.authorize("DESCRIBE", "TRANSACTIONAL_ID", known.transactional_id)

    try:
        found = await context.broker.transactions.list()
    except ApiError as error:
        return ListTransactionsResponse(error_code=error.code)
    slices = Slices(context.broker.transport_clock)
    for known in found:
        if wanted(known):
            response.transaction_states.append(
                ListedTransaction(
                    transactional_id=known.transactional_id,
                    producer_id=known.producer_id,
                    transaction_state=known.state.label,
                )
            )
        if slices.is_over():
            await slices.rest()
    await slices.rest_before_answer()
    return response
