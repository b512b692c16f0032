"""ShareFetch and ShareAcknowledge: acquire records of share partitions, say what became of them.

A fetch first takes the acknowledgements it carries, then acquires what is free,
waiting for it if it must, and ends the session if it is the last. It never
acquires for a client whose connection is gone.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.sessions import FIRST_EPOCH, LAST_EPOCH, Part, SessionKey, ShareSession
from ottla.coordinator.share.state import Acknowledgement, AcknowledgeType
from ottla.handlers.context import Context
from ottla.handlers.resolve import leader_of, topic_by_id
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import Offset, Uuid
from ottla.model.isolation import IsolationLevel
from ottla.model.parts import Buffer
from ottla.model.workers import Lane
from ottla.record.batch import BatchHeader, batches
from ottla.replica.partition import Partition
from ottla.storage.transaction_index import AbortedTransaction
from ottla.wire.generated.share_acknowledge import (
    PartitionData as AcknowledgedPartition,
)
from ottla.wire.generated.share_acknowledge import (
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
)
from ottla.wire.generated.share_fetch import (
    AcquiredRecords,
    PartitionData,
    ShareFetchableTopicResponse,
    ShareFetchRequest,
    ShareFetchResponse,
)

EXACTLY = 1
"""The acquire mode in which `max_records` is a limit (KIP-1206)."""
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
        context.client.when_closed(session, lambda: shares.end_session(session))
    else:
        session = shares.sessions.go_on(key, epoch)
    if epoch != LAST_EPOCH:
        if len(session.parts) + len(asked) > MAX_PARTITIONS:
            raise ApiError(ErrorCode.INVALID_REQUEST)
        session.update(asked, forgotten)
    verdicts = await _acknowledge_all(context, group_id, key.member_id, acks)
    rows: dict[Part, PartitionData] = {}
    if epoch != LAST_EPOCH and not request.is_renew_ack:
        rows = await _fetch(context, session, request, wait=not verdicts)
    if epoch == FIRST_EPOCH:
        for part in asked:
            rows.setdefault(part, PartitionData(partition_index=part[1], records=b""))
    if epoch == LAST_EPOCH:
        shares.end_session(session)
        context.client.forget_closed(session)
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
        context.client.forget_closed(session)
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
    topic = topic_by_id(context, "READ", part[0])
    if isinstance(topic, ErrorCode):
        raise ApiError(topic)
    replica = leader_of(context, topic, part[1])
    if isinstance(replica, ErrorCode):
        raise ApiError(replica)
    return await context.broker.shares.partitions.get(group_id, replica)


# Fetching


async def _fetch(
    context: Context, session: ShareSession, request: ShareFetchRequest, *, wait: bool
) -> dict[Part, PartitionData]:
    """Acquire what there is; where there is nothing, and nothing to tell, wait for it."""
    broker = context.broker
    clock = broker.transport_clock
    until_ms = clock.now_ms() + max(0, request.max_wait_ms)
    while True:
        is_last = not wait or clock.now_ms() >= until_ms
        minimum = 0 if is_last else min(request.min_bytes, request.max_bytes)
        rows, seen = await _acquire_all(context, session, request, minimum)
        if rows or is_last:
            return rows
        await _news(context, session, seen, until_ms)
        if session.is_over or context.connection.closed:
            return {}


async def _news(
    context: Context, session: ShareSession, seen: list[SharePartition], until_ms: int
) -> None:
    """Return when one of `seen` may have records, the session ends, or the time is over."""
    done = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    timer = context.broker.transport_clock.call_at(until_ms, wake)
    for partition in seen:
        partition.waiting[wake] = None
    session.wake = wake
    try:
        await done
    finally:
        session.wake = None
        timer.cancel()
        for partition in seen:
            partition.waiting.pop(wake, None)


async def _acquire_all(
    context: Context, session: ShareSession, request: ShareFetchRequest, minimum: int
) -> tuple[dict[Part, PartitionData], list[SharePartition]]:
    """One round over the session's partitions: what was acquired or failed, and whom to watch.

    With less than `minimum` bytes to be had in all of them nothing is acquired.
    """
    group_id = session.key.group_id
    rows: dict[Part, PartitionData] = {}
    seen: list[SharePartition] = []
    ready: list[tuple[Part, SharePartition]] = []
    isolation = context.broker.shares.partitions.isolation(group_id)
    for part in list(session.parts):
        try:
            partition = await _share_partition(context, group_id, part)
        except ApiError as error:
            rows[part] = PartitionData(
                partition_index=part[1],
                error_code=error.code,
                error_message=error.message,
                records=b"",
            )
            continue
        seen.append(partition)
        state = partition.state
        if state.can_acquire() and state.next_fetch_offset() < partition.replica.readable_end(
            isolation
        ):
            ready.append((part, partition))
    left_bytes = min(max(0, request.max_bytes), context.broker.answers.left)
    left_records = request.max_records
    if minimum > 1 and not rows and not _has_bytes(ready, left_bytes, minimum, isolation):
        return rows, seen
    for count, (part, partition) in enumerate(ready):
        if left_records <= 0 or session.is_over or context.connection.closed:
            break
        share = left_bytes // (len(ready) - count)
        try:
            row, taken = await _acquire(
                context, session, partition, request, share, left_records, isolation
            )
        except ApiError as error:
            row, taken = PartitionData(error_code=error.code, error_message=error.message), 0
            row.records = b""
        except StorageError:
            row, taken = PartitionData(error_code=ErrorCode.KAFKA_STORAGE_ERROR), 0
            row.records = b""
        if row is None:
            continue
        row.partition_index = part[1]
        rows[part] = row
        session.serve_last(part)
        left_records -= taken
        left_bytes -= len(row.records or b"")
    return rows, seen


def _has_bytes(
    ready: list[tuple[Part, SharePartition]],
    max_bytes: int,
    minimum: int,
    isolation: IsolationLevel,
) -> bool:
    """Whether so many bytes lie where records are free; a cold read counts as plenty."""
    found = 0
    for _, partition in ready:
        replica, offset = partition.replica, partition.state.next_fetch_offset()
        try:
            result = replica.log.read_to_send(
                offset, max_bytes // len(ready), below=replica.readable_end(isolation)
            )
        except (ApiError, StorageError):
            return True
        if result.cold is not None:
            result.cold.release()
            return True
        found += len(result.records)
        if found >= minimum:
            return True
    return False


async def _acquire(
    context: Context,
    session: ShareSession,
    partition: SharePartition,
    request: ShareFetchRequest,
    max_bytes: int,
    max_records: int,
    isolation: IsolationLevel,
) -> tuple[PartitionData | None, int]:
    """Read from where records are free, and acquire them; None if there turn out to be none."""
    state, replica = partition.state, partition.replica
    fetch_offset = state.next_fetch_offset()
    end = replica.readable_end(isolation)
    buffer = await _read(context, replica, fetch_offset, max_bytes, end)
    if partition.is_over:
        raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    if session.is_over or context.connection.closed:
        return None, 0
    headers = [header for header in batches(buffer) if header.last_offset >= fetch_offset]
    if not headers or state.next_fetch_offset() > headers[-1].last_offset:
        return None, 0
    acquired = partition.acquire(
        session.key.member_id,
        [(header.base_offset, header.last_offset) for header in headers],
        fetch_offset,
        max_records=max_records,
        batch_size=max(1, request.batch_size),
        exactly=request.share_acquire_mode == EXACTLY,
    )
    session.touched[partition.key.topic_id, partition.key.partition] = None
    if isolation is IsolationLevel.READ_COMMITTED:
        aborted = replica.log.aborted_transactions(fetch_offset, end)
        acquired = _without_aborted(partition, session.key.member_id, headers, aborted, acquired)
    if not acquired:
        return None, 0
    row = PartitionData(
        records=_covering(buffer, headers, acquired[0][0], acquired[-1][1]),
        acquired_records=[
            AcquiredRecords(first_offset=first, last_offset=last, delivery_count=count)
            for first, last, count in acquired
        ],
    )
    return row, sum(last - first + 1 for first, last, _ in acquired)


async def _read(
    context: Context, replica: Partition, offset: Offset, max_bytes: int, below: Offset
) -> Buffer:
    """Whole batches from `offset`. Raises ApiError, StorageError."""
    result = replica.log.read(offset, max_bytes, below=below)
    cold = result.cold
    if cold is None:
        # A copy: it may stay until the client takes it.
        return bytes(result.records)
    try:
        records, _ = await context.broker.workers.submit(Lane.READ, cold.run)
        return records if cold.is_current() else b""
    except StorageError as error:
        replica.log.read_failed(error)
        raise
    finally:
        cold.release()


def _covering(buffer: Buffer, headers: list[BatchHeader], first: Offset, last: Offset) -> Buffer:
    """The batches with records from `first` to `last`."""
    wanted = [one for one in headers if one.last_offset >= first and one.base_offset <= last]
    return memoryview(buffer)[wanted[0].position : wanted[-1].end_position]


def _without_aborted(
    partition: SharePartition,
    member_id: str,
    headers: list[BatchHeader],
    aborted: list[AbortedTransaction],
    acquired: list[tuple[Offset, Offset, int]],
) -> list[tuple[Offset, Offset, int]]:
    """Give up what was acquired of aborted transactions, and return the rest."""
    for header in headers:
        gone = any(
            header.is_transactional
            and header.producer_id == one.producer_id
            and one.first_offset <= header.base_offset <= one.last_offset
            for one in aborted
        )
        if not gone:
            continue
        left = []
        for first, last, count in acquired:
            if last < header.base_offset or first > header.last_offset:
                left.append((first, last, count))
                continue
            partition.state.archive(
                max(first, header.base_offset), min(last, header.last_offset), member_id
            )
            if first < header.base_offset:
                left.append((first, header.base_offset - 1, count))
            if last > header.last_offset:
                left.append((header.last_offset + 1, last, count))
        acquired = left
    return acquired
