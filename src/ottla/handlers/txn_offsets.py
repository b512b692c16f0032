"""TxnOffsetCommit: offsets that count when, and only if, the transaction commits."""

from ottla.handlers.admission import Admission
from ottla.handlers.context import Context
from ottla.handlers.groups import caller_of
from ottla.handlers.resolve import topic_by_name
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.names import CONSUMER_OFFSETS
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

FIRST_WITH_MEMBERS = 3
FIRST_WITH_ABORTABLE = 4
FIRST_IMPLICIT = 5
"""The group's partition of offsets is taken into the transaction by the commit (KIP-890)."""


async def txn_offset_commit(
    context: Context, request: TxnOffsetCommitRequest
) -> TxnOffsetCommitResponse:
    """Partitions that do not exist do not keep the others back."""
    codes: dict[TopicPartition, ErrorCode] = {}
    code = _denied(context, request)
    wanted: list[OffsetCommitRequestTopic] = []
    for topic in request.topics:
        found = code or topic_by_name(context, "READ", topic.name)
        parts = []
        for part in topic.partitions:
            name = TopicPartition(topic.name, part.partition_index)
            if isinstance(found, ErrorCode):
                codes[name] = found
            elif not 0 <= part.partition_index < len(found.partitions):
                codes[name] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                parts.append(
                    OffsetCommitRequestPartition(
                        partition_index=part.partition_index,
                        committed_offset=part.committed_offset,
                        committed_leader_epoch=part.committed_leader_epoch,
                        committed_metadata=part.committed_metadata,
                    )
                )
        if parts and not isinstance(found, ErrorCode):
            wanted.append(
                OffsetCommitRequestTopic(name=topic.name, topic_id=found.topic_id, partitions=parts)
            )
    if wanted:
        codes.update(await _commit(context, request, wanted))
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    TxnOffsetCommitResponsePartition(
                        partition_index=part.partition_index,
                        error_code=codes[TopicPartition(topic.name, part.partition_index)],
                    )
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _denied(context: Context, request: TxnOffsetCommitRequest) -> ErrorCode | None:
    if not context.authorize("WRITE", "TRANSACTIONAL_ID", request.transactional_id):
        return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if not context.authorize("READ", "GROUP", request.group_id):
        return ErrorCode.GROUP_AUTHORIZATION_FAILED
    if not request.transactional_id or not request.group_id:
        return ErrorCode.INVALID_GROUP_ID if request.transactional_id else ErrorCode.INVALID_REQUEST
    if CONSUMER_OFFSETS not in context.broker.image.topics:
        return ErrorCode.NOT_COORDINATOR
    return None


async def _commit(
    context: Context, request: TxnOffsetCommitRequest, topics: list[OffsetCommitRequestTopic]
) -> dict[TopicPartition, ErrorCode]:
    """What the group says, once the transaction has its partition of offsets."""
    broker = context.broker
    version = context.api_version
    producer = (request.producer_id, request.producer_epoch)
    replica = broker.replicas.find_by_name(
        CONSUMER_OFFSETS, broker.groups.partition_for(request.group_id)
    )
    if replica is None or not replica.is_leader:
        return _all_of(topics, ErrorCode.NOT_COORDINATOR)
    offsets = replica
    is_guarded = (
        version >= FIRST_IMPLICIT
        or broker.transactions.settings.transaction_partition_verification_enable
    )
    admission = Admission(context, request.transactional_id, takes_in=version >= FIRST_IMPLICIT)
    commit = OffsetCommitRequest(
        group_id=request.group_id,
        generation_id_or_member_epoch=request.generation_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        topics=topics,
    )

    def check() -> None:
        """In the turn of the append: no record may come behind the marker."""
        if is_guarded:
            admission.check(offsets, producer)

    try:
        if is_guarded:
            for refused in (await admission.ask(producer, [offsets])).values():
                raise refused
        response = await broker.groups.commit_in_transaction(
            commit, caller_of(context), producer, check
        )
    except ApiError as error:
        return _all_of(topics, _told(error.code, version))
    finally:
        admission.close()
    return {
        TopicPartition(topic.name, part.partition_index): ErrorCode(part.error_code)
        for topic in response.topics
        for part in topic.partitions
    }


def _all_of(
    topics: list[OffsetCommitRequestTopic], code: ErrorCode
) -> dict[TopicPartition, ErrorCode]:
    return {
        TopicPartition(topic.name, part.partition_index): code
        for topic in topics
        for part in topic.partitions
    }


def _told(code: ErrorCode, version: int) -> ErrorCode:
    """As clients are told, in the versions they know."""
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if code is ErrorCode.TRANSACTION_ABORTABLE and version < FIRST_WITH_ABORTABLE:
        return ErrorCode.INVALID_TXN_STATE
    if code is ErrorCode.CONCURRENT_TRANSACTIONS and version < FIRST_IMPLICIT:
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    if code is ErrorCode.NETWORK_EXCEPTION:
        return (
            ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        )  # the transaction's coordinator was not reached
    return code
