"""The records a ShareFetch acquires: where there are any free, as many as asked for, waiting for them.

It never acquires for a client whose connection is gone. See `share_fetch` for the rest of the API.
"""

import asyncio

from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.sessions import Part, ShareSession
from ottla.handlers.context import Context
from ottla.handlers.resolve import leader_of, topic_by_id
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import Offset
from ottla.model.isolation import IsolationLevel
from ottla.model.parts import Buffer
from ottla.model.workers import Lane
from ottla.record.batch import BatchHeader, batches
from ottla.replica.partition import Partition
from ottla.storage.transaction_index import AbortedTransaction
from ottla.wire.generated.share_fetch import (
    AcquiredRecords,
    PartitionData,
    ShareFetchRequest,
)

EXACTLY = 1
"""The acquire mode in which `max_records` is a limit (KIP-1206)."""


async def fetch_records(
    context: Context, session: ShareSession, request: ShareFetchRequest, *, wait: bool
) -> dict[Part, PartitionData]:
    """Acquire what there is; where there is nothing, and nothing to tell, wait for it."""
    broker = context.broker
    clock = broker.transport_clock
    until_ms = clock.now_ms() + max(0, request.max_wait_ms)
    if request.max_bytes < 0:
        return {part: _failed(part, ErrorCode.UNKNOWN_SERVER_ERROR) for part in session.parts}
    loads_all = False
    while True:
        is_last = not wait or clock.now_ms() >= until_ms
        minimum = 0 if is_last else min(request.min_bytes, request.max_bytes)
        rows, seen, has_skipped = await _acquire_all(
            context, session, request, minimum, loads_all=loads_all
        )
        if has_skipped and not rows:
            loads_all = True
            continue
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


def _failed(part: Part, code: ErrorCode, message: str | None = None) -> PartitionData:
    return PartitionData(
        partition_index=part[1], error_code=code, error_message=message, records=b""
    )


async def _acquire_all(
    context: Context,
    session: ShareSession,
    request: ShareFetchRequest,
    minimum: int,
    *,
    loads_all: bool,
) -> tuple[dict[Part, PartitionData], list[SharePartition], bool]:
    """One round over the session's partitions: what was acquired or failed, and whom to watch.

    With less than `minimum` bytes to be had in all of them nothing is acquired. Where there
    is enough, partitions whose state must be read first are left for the next fetch, unless
    `loads_all`; the last value says whether some were.
    """
    group_id = session.key.group_id
    rows: dict[Part, PartitionData] = {}
    seen: list[SharePartition] = []
    ready: list[tuple[Part, SharePartition]] = []
    partitions = context.broker.shares.partitions
    isolation = partitions.isolation(group_id)
    left_bytes = min(request.max_bytes, context.broker.answers.left)
    has_skipped = False
    for part in list(session.parts):
        try:
            replica = led_here(context, part)
            if (
                ready
                and not loads_all
                and not partitions.is_loaded(group_id, replica)
                and (minimum <= 1 or _has_bytes(ready, left_bytes, minimum, isolation))
            ):
                partitions.load_soon(group_id, replica)
                has_skipped = True
                continue
            partition = await partitions.get(group_id, replica)
        except ApiError as error:
            rows[part] = _failed(part, error.code, error.message)
            continue
        seen.append(partition)
        state = partition.state
        if state.can_acquire() and state.next_fetch_offset() < partition.replica.readable_end(
            isolation
        ):
            ready.append((part, partition))
    left_records = request.max_records
    if minimum > 1 and not rows and not _has_bytes(ready, left_bytes, minimum, isolation):
        return rows, seen, has_skipped
    for count, (part, partition) in enumerate(ready):
        if left_records <= 0 or session.is_over or context.connection.closed:
            break
        share = left_bytes // (len(ready) - count)
        try:
            row, taken = await _acquire(
                context, session, partition, request, share, left_records, isolation
            )
        except ApiError as error:
            row, taken = _failed(part, error.code, error.message), 0
        except StorageError:
            row, taken = _failed(part, ErrorCode.KAFKA_STORAGE_ERROR), 0
        if row is None:
            continue
        row.partition_index = part[1]
        rows[part] = row
        session.serve_last(part)
        left_records -= taken
        left_bytes -= len(row.records or b"")
    return rows, seen, has_skipped


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


def led_here(context: Context, part: Part) -> Partition:
    """The partition, led here. Raises ApiError."""
    topic = topic_by_id(context, "READ", part[0])
    if isinstance(topic, ErrorCode):
        raise ApiError(topic)
    replica = leader_of(context, topic, part[1])
    if isinstance(replica, ErrorCode):
        raise ApiError(replica)
    return replica
