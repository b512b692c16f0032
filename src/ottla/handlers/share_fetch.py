"""ShareFetch and ShareAcknowledge: acquire records of share partitions, say what became of them.

A fetch first takes the acknowledgements it carries, then acquires what is free,
waiting for it if it must (`share_acquire`), and ends the session if it is the last.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.sessions import FIRST_EPOCH, LAST_EPOCH, Part, SessionKey
from ottla.coordinator.share.state import Acknowledgement, AcknowledgeType
from ottla.handlers.context import Context
from ottla.handlers.share_acquire import fetch_records, led_here
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Uuid
from ottla.wire.generated.share_acknowledge import (
    PartitionData as AcknowledgedPartition,
)
from ottla.wire.generated.share_acknowledge import (
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
)
from ottla.wire.generated.share_fetch import (
    PartitionData,
    ShareFetchableTopicResponse,
    ShareFetchRequest,
    ShareFetchResponse,
)

MAX_PARTITIONS = 10_000
MAX_BATCHES = 10_000
"""More in one request than any client has; bounds on what a request may cost."""


class Verdict(NamedTuple):
    code: ErrorCode
    message: str | None = None


OK = Verdict(ErrorCode.NONE)
Verdicts = dict[Part, Verdict]


async def share_fetch(context: Context, request: ShareFetchRequest) -> ShareFetchResponse:
    """Raises ApiError for the whole request."""
    group_id, key = _who(context, request.group_id, request.member_id)
    broker, shares = context.broker, context.broker.shares
    epoch = request.share_session_epoch
    acks = _acknowledgements(request.topics, is_renew=request.is_renew_ack)
    asked = [
        (topic.topic_id, row.partition_index)
        for topic in request.topics
        for row in topic.partitions
    ]
    forgotten = [
        (topic.topic_id, number)
        for topic in request.forgotten_topics_data
        for number in topic.partitions
    ]
    if len(asked) + len(forgotten) > MAX_PARTITIONS:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    if request.is_renew_ack and (
        request.max_bytes or request.max_records or request.max_wait_ms or request.min_bytes
    ):
        raise ApiError(ErrorCode.INVALID_REQUEST)  # who renews asks for nothing and does not wait
    if epoch == FIRST_EPOCH:
        if acks:
            raise ApiError(ErrorCode.INVALID_REQUEST)  # there is nothing it could have yet
        session = shares.begin_session(key, context.connection_id)
        context.client.when_closed(key, lambda: shares.end_session(session))
        await shares.look_again(group_id)
    else:
        session = shares.sessions.go_on(key, epoch)
    if epoch != LAST_EPOCH:
        if len(session.parts) + len(asked) > MAX_PARTITIONS:
            raise ApiError(ErrorCode.INVALID_REQUEST)
        shares.sessions.update(session, asked, forgotten)
    verdicts = await _acknowledge_all(context, group_id, key.member_id, acks)
    rows: dict[Part, PartitionData] = {}
    fetches = epoch != LAST_EPOCH and request.max_bytes != 0  # who renews asks for none
    if fetches:
        rows = await fetch_records(context, session, request, wait=not verdicts)
    if fetches and epoch == FIRST_EPOCH:
        for part in asked:
            rows.setdefault(part, PartitionData(partition_index=part[1], records=b""))
    if epoch == LAST_EPOCH:
        shares.end_session(session)
        context.client.forget_closed(key)
    for part, verdict in verdicts.items():
        row = rows.get(part)
        if row is None:
            row = rows[part] = PartitionData(partition_index=part[1], records=b"")
        row.acknowledge_error_code, row.acknowledge_error_message = verdict
    response = ShareFetchResponse(
        acquisition_lock_timeout_ms=broker.shares.partitions.limits(group_id).lock_duration_ms
    )
    for topic_id, topic_rows in _by_topic(rows):
        response.responses.append(
            ShareFetchableTopicResponse(topic_id=topic_id, partitions=topic_rows)
        )
    return response


async def share_acknowledge(
    context: Context, request: ShareAcknowledgeRequest
) -> ShareAcknowledgeResponse:
    """Raises ApiError for the whole request."""
    group_id, key = _who(context, request.group_id, request.member_id)
    shares = context.broker.shares
    acks = _acknowledgements(request.topics, is_renew=request.is_renew_ack)
    if request.share_session_epoch == FIRST_EPOCH:
        raise ApiError(ErrorCode.INVALID_SHARE_SESSION_EPOCH)
    session = shares.sessions.go_on(key, request.share_session_epoch)
    verdicts = await _acknowledge_all(context, group_id, key.member_id, acks)
    if request.share_session_epoch == LAST_EPOCH:
        shares.end_session(session)
        context.client.forget_closed(key)
    response = ShareAcknowledgeResponse(
        acquisition_lock_timeout_ms=shares.partitions.limits(group_id).lock_duration_ms
    )
    rows = {
        part: AcknowledgedPartition(
            partition_index=part[1], error_code=verdict.code, error_message=verdict.message
        )
        for part, verdict in verdicts.items()
    }
    for topic_id, topic_rows in _by_topic(rows):
        response.responses.append(
            ShareAcknowledgeTopicResponse(topic_id=topic_id, partitions=topic_rows)
        )
    return response


def _who(context: Context, group_id: str | None, member_id: str | None) -> tuple[str, SessionKey]:
    if group_id is None or not member_id:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    if not context.authorize("READ", "GROUP", group_id):
        raise ApiError(ErrorCode.GROUP_AUTHORIZATION_FAILED)
    return group_id, SessionKey(group_id, member_id)


def _by_topic(rows: dict[Part, Any]) -> Iterable[tuple[Uuid, list[Any]]]:
    topics: dict[Uuid, list[Any]] = {}
    for (topic_id, _), row in rows.items():
        topics.setdefault(topic_id, []).append(row)
    return topics.items()


# Acknowledging


def _acknowledgements(
    topics: Iterable[Any], *, is_renew: bool
) -> dict[Part, list[Acknowledgement] | Verdict]:
    """What a request acknowledges; a partition whose rows make no sense has its verdict already."""
    found: dict[Part, list[Acknowledgement] | Verdict] = {}
    count = 0
    for topic in topics:
        for partition in topic.partitions:
            rows = partition.acknowledgement_batches
            if not rows:
                continue
            count += len(rows)
            if count > MAX_BATCHES:
                raise ApiError(ErrorCode.INVALID_REQUEST)
            acks = []
            for row in rows:
                kinds = row.acknowledge_types
                acks.append(Acknowledgement(row.first_offset, row.last_offset, kinds))
            renews = any(AcknowledgeType.RENEW in ack.types for ack in acks)
            part = (topic.topic_id, partition.partition_index)
            found[part] = Verdict(ErrorCode.INVALID_REQUEST) if renews and not is_renew else acks
    return found


async def _acknowledge_all(
    context: Context,
    group_id: str,
    member_id: str,
    acks: dict[Part, list[Acknowledgement] | Verdict],
) -> Verdicts:
    verdicts: Verdicts = {}
    for part, rows in acks.items():
        if isinstance(rows, Verdict):
            verdicts[part] = rows
            continue
        try:
            partition = await _share_partition(context, group_id, part)
            await partition.acknowledge(member_id, rows)
            verdicts[part] = OK
        except ApiError as error:
            verdicts[part] = Verdict(error.code, error.message)
    return verdicts


async def _share_partition(context: Context, group_id: str, part: Part) -> SharePartition:
    """The share partition, led here and loaded. Raises ApiError."""
    return await context.broker.shares.partitions.get(group_id, led_here(context, part))
