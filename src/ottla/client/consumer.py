"""A consumer of assigned partitions: positions in, batches out.

It belongs to no group (`group_member.py` does) and commits nothing. Each leader
has at most one fetch outstanding; an answer is used only for the partitions
that still stand where it was asked from.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.client.offsets import list_offsets
from ottla.model.errors import RETRIABLE, ApiError, ErrorCode, PeerError
from ottla.model.ids import ZERO_UUID, BrokerId, Offset, TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.record.batch import BatchHeader, batches
from ottla.record.checksum import Buffer
from ottla.record.control import ControlRecordType, control_type
from ottla.record.records import Record, read_records

BACK_OFF_MS = 100
RECORDS_LIMIT = 256 << 20
"""Bytes a fetched batch may expand to: a guard, not a setting anyone needs."""


class FetchedBatch(NamedTuple):
    """The records of a batch from the position on; empty for a control batch passed over."""

    partition: TopicPartition
    header: BatchHeader
    records: list[Record]
    high_watermark: Offset
    last_stable_offset: Offset
    log_start_offset: Offset


class Consumer:
    """Close it, or use it with `async with`."""

    def __init__(
        self,
        view: ClusterView,
        *,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        reset: int | None = None,
        control: bool = False,
        max_wait_ms: int = 500,
        min_bytes: int = 1,
        max_bytes: int = 50 * 1024 * 1024,
        partition_max_bytes: int = 1024 * 1024,
    ) -> None:
        """`reset` is the `ListOffsetsTimestamp` to go to when a position is out of range.

        Without one, OFFSET_OUT_OF_RANGE is raised. `control` shows control records.
        """
        self._view = view
        self._isolation = isolation
        self._reset = reset
        self._control = control
        self._max_wait_ms = max_wait_ms
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._partition_max_bytes = partition_max_bytes
        self._positions: dict[TopicPartition, Offset] = {}
        self._fetches: dict[asyncio.Task[list[FetchedBatch]], frozenset[TopicPartition]] = {}

    async def __aenter__(self) -> "Consumer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        fetches, self._fetches = list(self._fetches), {}
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    def assign(self, positions: Mapping[TopicPartition, Offset]) -> None:
        """Read these partitions, each from its offset, and no others."""
        self._positions = dict(positions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these no longer."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def positions(self) -> dict[TopicPartition, Offset]:
        """Per partition, the offset that will be read next."""
        return dict(self._positions)

    async def poll(self, timeout_ms: int | None = None) -> list[FetchedBatch]:
        """The next batches of one or more leaders; empty after `timeout_ms` without any.

        Raises:
            ApiError: OFFSET_OUT_OF_RANGE, or what a retry will not heal.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout_ms is None else loop.time() + timeout_ms / 1000
        while True:
            await self._view.ask(self._start_fetches)
            left = None if deadline is None else max(0.0, deadline - loop.time())
            if not self._fetches:
                if left is None:
                    raise ValueError("no partition is assigned")
                await asyncio.sleep(left)
                return []
            done, _ = await asyncio.wait(
                self._fetches, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            fetched: list[FetchedBatch] = []
            failure: Exception | None = None
            for fetch in done:
                self._fetches.pop(fetch, None)
                try:
                    fetched += fetch.result()
                except (ApiError, PeerError) as error:
                    failure = error
            if fetched:
                return fetched
            if failure is not None:
                await self._back_off(failure)
            elif not done:
                return []

    async def _back_off(self, failure: Exception) -> None:
        if isinstance(failure, ApiError) and failure.code not in RETRIABLE:
            raise failure
        if isinstance(failure, PeerError):
            self._view.distrust()
        await asyncio.sleep(BACK_OFF_MS / 1000)

    async def _start_fetches(self) -> None:
        """One fetch for each leader of partitions that nobody fetches yet."""
        if not self._positions:
            return
        fetching = {each for partitions in self._fetches.values() for each in partitions}
        idle = [partition for partition in self._positions if partition not in fetching]
        by_leader: dict[BrokerId, dict[TopicPartition, Offset]] = {}
        for partition in idle:
            leader = await self._view.leader(partition)
            by_leader.setdefault(leader.leader, {})[partition] = self._positions[partition]
        for leader_id, positions in by_leader.items():
            fetch = asyncio.create_task(self._fetch(leader_id, positions))
            self._fetches[fetch] = frozenset(positions)

    async def _fetch(
        self, leader: BrokerId, positions: Mapping[TopicPartition, Offset]
    ) -> list[FetchedBatch]:
        from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic

        view = self._view
        ids = {each.topic: (await view.topic(each.topic)).topic_id for each in positions}
        link = await view.link(leader)
        version = link.version_of(FetchRequest)
        if ZERO_UUID in ids.values():
            version = min(version, 12)  # from 13 on topics go by id
        topics: dict[str, FetchTopic] = {}
        for partition, offset in positions.items():
            topic = topics.get(partition.topic)
            if topic is None:
                topic = topics[partition.topic] = FetchTopic()
                if version >= 13:
                    topic.topic_id = ids[partition.topic]
                else:
                    topic.topic = partition.topic
            topic.partitions.append(
                FetchPartition(
                    partition=partition.partition,
                    fetch_offset=offset,
                    partition_max_bytes=self._partition_max_bytes,
                )
            )
        request = FetchRequest(
            max_wait_ms=self._max_wait_ms,
            min_bytes=self._min_bytes,
            max_bytes=self._max_bytes,
            isolation_level=int(self._isolation),
            topics=list(topics.values()),
        )
        response = await link.request(
            request, version=version, timeout_ms=view.request_timeout_ms + self._max_wait_ms
        )
        check(response.error_code, about="fetch")
        names = {topic_id: name for name, topic_id in ids.items()}
        fetched: list[FetchedBatch] = []
        failure: ApiError | None = None
        for answered in response.responses:
            name = names[answered.topic_id] if version >= 13 else answered.topic
            for answer in answered.partitions:
                partition = TopicPartition(name, answer.partition_index)
                if self._positions.get(partition) != positions[partition]:
                    continue
                try:
                    await self._checked(partition, answer)
                except ApiError as error:
                    failure = failure or error
                    continue
                fetched += self._read(partition, answer)
        if failure is not None and not fetched:
            raise failure
        return fetched

    async def _checked(self, partition: TopicPartition, answer: Any) -> None:
        if answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE and self._reset is not None:
            listed = await list_offsets(self._view, {partition: self._reset})
            if partition in self._positions:
                self._positions[partition] = listed[partition].offset
            return
        try:
            check(
                answer.error_code,
                about=f"partition {partition}, offset {self._positions.get(partition)}",
            )
        except ApiError:
            self._view.forget(partition.topic)
            raise

    def _read(self, partition: TopicPartition, answer: Any) -> list[FetchedBatch]:
        records: Buffer | None = answer.records
        if not records:
            return []
        fetched = []
        aborted = _Aborted(answer.aborted_transactions or ())
        for header in batches(records):
            position = self._positions[partition]
            if header.next_offset <= position:
                continue
            self._positions[partition] = header.next_offset
            wanted: list[Record] = []
            if header.is_control:
                aborted.end_if_marker(header, records)
            if (not header.is_control or self._control) and not (
                self._isolation is IsolationLevel.READ_COMMITTED and aborted.covers(header)
            ):
                wanted = [
                    record
                    for record in read_records(records, header.position, limit=RECORDS_LIMIT)
                    if record.offset >= position
                ]
            fetched.append(
                FetchedBatch(
                    partition,
                    header,
                    wanted,
                    answer.high_watermark,
                    answer.last_stable_offset,
                    answer.log_start_offset,
                )
            )
        return fetched


class _Aborted:
    """Which batches of a fetched stretch belong to aborted transactions (KIP-98)."""

    def __init__(self, transactions: Iterable[Any]) -> None:
        self._coming = sorted((each.first_offset, each.producer_id) for each in transactions)
        self._open: set[int] = set()

    def covers(self, header: BatchHeader) -> bool:
        """Batches must be asked about in the order of their offsets."""
        self._open_up_to(header.last_offset)
        return header.is_transactional and header.producer_id in self._open

    def end_if_marker(self, header: BatchHeader, records: Buffer) -> None:
        self._open_up_to(header.last_offset)
        for record in read_records(records, header.position):
            if control_type(record.key) is ControlRecordType.ABORT:
                self._open.discard(header.producer_id)

    def _open_up_to(self, offset: Offset) -> None:
        while self._coming and self._coming[0][0] <= offset:
            self._open.add(self._coming.pop(0)[1])
