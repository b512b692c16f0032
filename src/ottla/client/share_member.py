"""A member of a share group (KIP-932): it acquires records for a while and says what became of each.

Several members read the same partitions; a record is in one member's hands until that one
accepts, releases or rejects it, or its lock is over. Heartbeats happen inside `fetch`, so
fetch at least every few seconds. With each leader of its partitions the member has a
*session*: what it holds there is free for others once the connection is lost.

An acknowledgement that was answered is stored. One whose answer is lost may be stored or not,
and then the record may come again.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ottla.client.cluster_view import ClusterView, check, error_of
from ottla.client.group_member import BACK_OFF_MS
from ottla.model.errors import RETRIABLE, ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, Offset, TopicPartition, Uuid, uuid_text
from ottla.record.batch import batches
from ottla.record.records import read_records

JOINS, LEAVES = 0, -1
"""Member epochs that mean something."""

_REJOIN = frozenset({ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID})
_NO_SESSION = frozenset({ErrorCode.SHARE_SESSION_NOT_FOUND, ErrorCode.INVALID_SHARE_SESSION_EPOCH})
_MAX_EPOCH = 2**31 - 1


class Ack(IntEnum):
    """What became of a record."""

    ACCEPT = 1
    RELEASE = 2
    REJECT = 3
    RENEW = 4
    """Not done yet: hold it for as long again."""


class Place(NamedTuple):
    partition: TopicPartition
    offset: Offset


class Delivery(NamedTuple):
    """A record in this member's hands."""

    place: Place
    value: bytes | None
    delivery_count: int
    """How often it was delivered, with this time."""


class ShareMember:
    """Use it with `async with`; leaving the block leaves the group."""

    def __init__(
        self,
        view: ClusterView,
        group: str,
        topics: Sequence[str],
        *,
        new_id: Callable[[], Uuid] = lambda: uuid.uuid4().bytes,
    ) -> None:
        self._view = view
        self._group = group
        self._topics = sorted(topics)
        self._member_id = uuid_text(new_id())
        self._epoch = JOINS
        self._names: dict[Uuid, str] = {}
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._next_heartbeat = 0.0
        self._sessions: dict[BrokerId, int] = {}
        """The epoch of the next request in the session with each leader."""
        self._in_session: dict[BrokerId, frozenset[TopicPartition]] = {}
        self._links: dict[BrokerId, Any] = {}
        self.lock_ms = 0
        """How long records are held, as last heard."""

    async def __aenter__(self) -> "ShareMember":
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ApiError, PeerError):  # else the session times out
            if self._epoch > 0:
                await self._send_heartbeat(LEAVES)

    @property
    def member_id(self) -> str:
        return self._member_id

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions it may fetch from."""
        return self._assigned

    # Records

    async def fetch(self, timeout_ms: int, *, max_records: int = 500) -> list[Delivery]:
        """What could be acquired within the time, perhaps nothing; joins and rejoins as need be.

        Raises:
            ApiError: what neither time nor a new beginning heals.
        """
        try:
            now = asyncio.get_running_loop().time()
            if now >= self._next_heartbeat:
                await self._heartbeat()
            leaders = await self._leaders()
            if not leaders:
                await asyncio.sleep(min(timeout_ms, BACK_OFF_MS) / 1000)
                return []
            wait_ms = max(1, timeout_ms // len(leaders))
            found: list[Delivery] = []
            for leader, partitions in leaders.items():
                found += await self._fetch(leader, partitions, wait_ms, max_records)
            return found
        except (ApiError, PeerError) as error:
            if not self._may_pass(error):
                raise
            self._view.distrust()
            await asyncio.sleep(BACK_OFF_MS / 1000)
            return []

    async def acknowledge(self, acks: Mapping[Place, Ack]) -> dict[TopicPartition, ApiError | None]:
        """Say what became of records: of one partition all of it counts, or the error says why not.

        Raises:
            ApiError, PeerError: for all of them; they may have been taken or not.
        """
        by_partition: dict[TopicPartition, dict[Offset, Ack]] = {}
        for (partition, offset), ack in sorted(acks.items()):
            by_partition.setdefault(partition, {})[offset] = ack
        verdicts: dict[TopicPartition, ApiError | None] = {}
        by_leader: dict[BrokerId, list[TopicPartition]] = {}
        for partition in by_partition:
            leader = (await self._view.leader(partition)).leader
            by_leader.setdefault(leader, []).append(partition)
        for leader, partitions in by_leader.items():
            mine = {partition: by_partition[partition] for partition in partitions}
            verdicts |= await self._acknowledge(leader, mine)
        return verdicts

    async def _fetch(
        self,
        leader: BrokerId,
        partitions: frozenset[TopicPartition],
        wait_ms: int,
        max_records: int,
    ) -> list[Delivery]:
        from ottla.wire.generated.share_fetch import (
            FetchPartition,
            FetchTopic,
            ForgottenTopic,
            ShareFetchRequest,
        )

        epoch, link = await self._session(leader)
        before = self._in_session.get(leader, frozenset())
        request = ShareFetchRequest(
            group_id=self._group,
            member_id=self._member_id,
            share_session_epoch=epoch,
            max_wait_ms=wait_ms,
            min_bytes=1,
            max_records=max_records,
            batch_size=max_records,
            topics=[
                FetchTopic(
                    topic_id=topic_id,
                    partitions=[FetchPartition(partition_index=number) for number in numbers],
                )
                for topic_id, numbers in self._by_topic(partitions - before)
            ],
            forgotten_topics_data=[
                ForgottenTopic(topic_id=topic_id, partitions=numbers)
                for topic_id, numbers in self._by_topic(before - partitions)
            ],
        )
        response = await self._in_turn(leader, epoch, link, request, wait_ms)
        self._in_session[leader] = partitions
        self.lock_ms = response.acquisition_lock_timeout_ms
        found: list[Delivery] = []
        for topic in response.responses:
            for row in topic.partitions:
                partition = TopicPartition(self._names[topic.topic_id], row.partition_index)
                if error_of(row.error_code) is not None:
                    self._view.forget(partition.topic)
                    continue
                found += _delivered(partition, row)
        return found

    async def _acknowledge(
        self, leader: BrokerId, acks: Mapping[TopicPartition, Mapping[Offset, Ack]]
    ) -> dict[TopicPartition, ApiError | None]:
        from ottla.wire.generated.share_acknowledge import (
            AcknowledgementBatch,
            AcknowledgePartition,
            AcknowledgeTopic,
            ShareAcknowledgeRequest,
        )

        epoch, link = await self._session(leader)
        if epoch == 0:
            raise ApiError(ErrorCode.SHARE_SESSION_NOT_FOUND, "what was held is free again")
        topics = [
            AcknowledgeTopic(
                topic_id=topic_id,
                partitions=[
                    AcknowledgePartition(
                        partition_index=number,
                        acknowledgement_batches=[
                            AcknowledgementBatch(
                                first_offset=offset, last_offset=offset, acknowledge_types=[ack]
                            )
                            for offset, ack in acks[
                                TopicPartition(self._names[topic_id], number)
                            ].items()
                        ],
                    )
                    for number in numbers
                ],
            )
            for topic_id, numbers in self._by_topic(acks)
        ]
        request = ShareAcknowledgeRequest(
            group_id=self._group,
            member_id=self._member_id,
            share_session_epoch=epoch,
            is_renew_ack=any(Ack.RENEW in each.values() for each in acks.values()),
            topics=topics,
        )
        response = await self._in_turn(leader, epoch, link, request, 0)
        verdicts: dict[TopicPartition, ApiError | None] = {}
        for topic in response.responses:
            for row in topic.partitions:
                partition = TopicPartition(self._names[topic.topic_id], row.partition_index)
                verdicts[partition] = error_of(row.error_code, row.error_message)
        return verdicts

    # Sessions

    async def _session(self, leader: BrokerId) -> tuple[int, Any]:
        """The epoch for the next request to a leader, and the link the session is on."""
        link = await self._view.link(leader)
        known = self._links.get(leader)
        if known is not link:
            self._end_session(leader)
            self._links[leader] = link
        return self._sessions.get(leader, 0), link

    async def _in_turn(
        self, leader: BrokerId, epoch: int, link: Any, request: Any, wait_ms: int
    ) -> Any:
        """One request of the session; whatever goes wrong ends it."""
        try:
            timeout_ms = self._view.request_timeout_ms + wait_ms
            response = await link.request(request, timeout_ms=timeout_ms)
            check(response.error_code, response.error_message, about=f"group {self._group!r}")
        except BaseException:
            self._end_session(leader)
            raise
        self._sessions[leader] = 1 if epoch == _MAX_EPOCH else epoch + 1
        return response

    def _end_session(self, leader: BrokerId) -> None:
        self._sessions.pop(leader, None)
        self._in_session.pop(leader, None)

    def _by_topic(self, partitions: Iterable[TopicPartition]) -> list[tuple[Uuid, list[int]]]:
        ids = {name: topic_id for topic_id, name in self._names.items()}
        rows: dict[Uuid, list[int]] = {}
        for name, number in sorted(partitions):
            rows.setdefault(ids[name], []).append(number)
        return list(rows.items())

    async def _leaders(self) -> dict[BrokerId, frozenset[TopicPartition]]:
        found: dict[BrokerId, set[TopicPartition]] = {}
        for partition in sorted(self._assigned):
            found.setdefault((await self._view.leader(partition)).leader, set()).add(partition)
        return {leader: frozenset(mine) for leader, mine in found.items()}

    # Heartbeats

    async def _heartbeat(self) -> None:
        response = await self._send_heartbeat(self._epoch)
        self._epoch = response.member_epoch
        loop = asyncio.get_running_loop()
        self._next_heartbeat = loop.time() + response.heartbeat_interval_ms / 1000
        if response.assignment is not None:
            self._assigned = await self._named(response.assignment.topic_partitions)

    async def _send_heartbeat(self, epoch: int) -> Any:
        from ottla.wire.generated.share_group_heartbeat import ShareGroupHeartbeatRequest

        request = ShareGroupHeartbeatRequest(
            group_id=self._group,
            member_id=self._member_id,
            member_epoch=epoch,
            subscribed_topic_names=self._topics if epoch == JOINS else None,
        )
        response = await self._view.send(request, await self._view.coordinator(self._group))
        check(response.error_code, response.error_message, about=f"group {self._group!r}")
        return response

    async def _named(self, rows: Sequence[Any]) -> frozenset[TopicPartition]:
        """The partitions of an assignment, whose topics go by id."""
        if any(row.topic_id not in self._names for row in rows):
            for topic in await self._view.find_topics(self._topics):
                self._names[topic.topic_id] = topic.name
        return frozenset(
            TopicPartition(self._names[row.topic_id], number)
            for row in rows
            if row.topic_id in self._names
            for number in row.partitions
        )

    def _may_pass(self, error: ApiError | PeerError) -> bool:
        """Whether it is worth a try again; who is no member any more begins anew."""
        if isinstance(error, PeerError):
            return bool(self._view.cluster.brokers)
        if error.code in _REJOIN:
            self._epoch, self._assigned, self._next_heartbeat = JOINS, frozenset(), 0.0
        return error.code in RETRIABLE | _REJOIN | _NO_SESSION


def _delivered(partition: TopicPartition, row: Any) -> list[Delivery]:
    """The records of a row that were acquired; its batches may have others, too."""
    values: dict[Offset, bytes | None] = {}
    data = row.records or b""
    for header in batches(data):
        if not header.is_control:
            for record in read_records(data, header.position):
                values[record.offset] = None if record.value is None else bytes(record.value)
    return [
        Delivery(Place(partition, offset), values[offset], acquired.delivery_count)
        for acquired in row.acquired_records
        for offset in range(acquired.first_offset, acquired.last_offset + 1)
        if offset in values
    ]
