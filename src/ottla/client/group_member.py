"""A member of a classic consumer group: joins, reads what it is given, commits, leaves.

Everything happens inside `poll`, heartbeats too, so poll at least every few
seconds. Assignment is eager: when the group rebalances, the member commits,
gives up all it has, joins again and reads on from the committed offsets.
Committed is what `read_up_to` was told, never more.

With an `instance_id` the member is static (KIP-345): it does not leave the group
when it ends, and whoever comes with the same id takes its place. The one that
was replaced gets FENCED_INSTANCE_ID.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ottla.client import range_assignor
from ottla.client.cluster_view import ClusterView, check
from ottla.client.consumer import Consumer, FetchedBatch
from ottla.client.described_groups import CONSUMER_PROTOCOL, assigned_partitions
from ottla.client.groups import Groups
from ottla.model.errors import RETRIABLE, ApiError, ErrorCode, PeerError
from ottla.model.ids import Offset, TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.wire.codec import decode, encode

FirstOffsets = Callable[[Sequence[TopicPartition]], Awaitable[dict[TopicPartition, Offset]]]
"""Where to begin in partitions the group has no offset for."""

BACK_OFF_MS = 100
SUBSCRIPTION_VERSION = 1
ASSIGNMENT_VERSION = 1

_REJOIN = frozenset(
    {
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.UNKNOWN_MEMBER_ID,
    }
)


class GroupMember:
    """Use it with `async with`; leaving the block leaves the group."""

    def __init__(
        self,
        view: ClusterView,
        group: str,
        topics: Sequence[str],
        *,
        first_offsets: FirstOffsets,
        instance_id: str | None = None,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
        session_timeout_ms: int = 45_000,
        rebalance_timeout_ms: int = 60_000,
        heartbeat_ms: int = 3_000,
        commit_ms: int = 5_000,
    ) -> None:
        self._view = view
        self._group = group
        self._topics = sorted(topics)
        self._first_offsets = first_offsets
        self._instance_id = instance_id
        self._session_timeout_ms = session_timeout_ms
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._heartbeat_ms = heartbeat_ms
        self._commit_ms = commit_ms
        self._groups = Groups(view)
        self._consumer = Consumer(view, isolation=isolation)
        self._member_id = ""
        self._generation = -1
        self._joined = False
        self._read: dict[TopicPartition, Offset] = {}
        self._committed: dict[TopicPartition, Offset] = {}
        self._next_heartbeat = 0.0
        self._next_commit = 0.0

    async def __aenter__(self) -> "GroupMember":
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ApiError, PeerError):  # else the session times out
            await self._leave()
        await self._consumer.close()

    @property
    def stable(self) -> bool:
        """Whether it is a member now and knows its partitions."""
        return self._joined

    def positions(self) -> dict[TopicPartition, Offset]:
        """Its partitions, each with the offset to be fetched next."""
        return self._consumer.positions()

    def read_up_to(self, partition: TopicPartition, next_offset: Offset) -> None:
        """Everything below `next_offset` has been dealt with and may be committed."""
        if partition in self._read:
            self._read[partition] = next_offset

    async def poll(self, timeout_ms: int) -> list[FetchedBatch]:
        """The next batches, or none within the time; joins and rejoins as need be."""
        now = asyncio.get_running_loop().time()
        try:
            if not self._joined:
                await self._join()
            if now >= self._next_heartbeat:
                await self._heartbeat()
            if now >= self._next_commit:
                await self._commit()
        except ApiError as error:
            await self._rejoin_after(error)
            return []
        return await self._consumer.poll(timeout_ms)

    async def _rejoin_after(self, error: ApiError) -> None:
        if error.code not in _REJOIN and error.code not in RETRIABLE:
            raise error
        self._view.distrust()
        if error.code is ErrorCode.REBALANCE_IN_PROGRESS:
            await self._commit_while_rebalancing()
        else:
            await asyncio.sleep(BACK_OFF_MS / 1000)
        if error.code is ErrorCode.UNKNOWN_MEMBER_ID:
            self._member_id = ""
        if error.code in _REJOIN:
            self._joined = False
            self._consumer.assign({})

    async def _commit_while_rebalancing(self) -> None:
        with contextlib.suppress(ApiError):  # too late: others read these records again
            await self._commit()

    # Membership

    async def _send(self, request: Any, timeout_ms: int | None = None) -> Any:
        link = await self._view.link(await self._view.coordinator(self._group))
        return await link.request(request, timeout_ms=timeout_ms or self._view.request_timeout_ms)

    async def _join(self) -> None:
        from ottla.wire.generated.consumer_protocol_subscription import (
            ConsumerProtocolSubscription,
        )
        from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol

        subscription = ConsumerProtocolSubscription(topics=self._topics)
        blob = SUBSCRIPTION_VERSION.to_bytes(2, "big") + encode(subscription, SUBSCRIPTION_VERSION)
        request = JoinGroupRequest(
            group_id=self._group,
            session_timeout_ms=self._session_timeout_ms,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            member_id=self._member_id,
            group_instance_id=self._instance_id,
            protocol_type=CONSUMER_PROTOCOL,
            protocols=[JoinGroupRequestProtocol(name=range_assignor.NAME, metadata=blob)],
        )
        patience_ms = self._rebalance_timeout_ms + self._view.request_timeout_ms
        response = await self._view.ask(lambda: self._send(request, patience_ms))
        if response.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            request.member_id = self._member_id = response.member_id
            response = await self._send(request, patience_ms)
        check(response.error_code, about=f"group {self._group!r}")
        self._member_id = response.member_id
        self._generation = response.generation_id
        plan = await self._plan(response) if response.leader == response.member_id else {}
        mine = await self._sync(plan)
        await self._start(mine)

    async def _plan(self, joined: Any) -> dict[str, list[TopicPartition]]:
        """As the group's leader: who reads what."""
        from ottla.wire.generated.consumer_protocol_subscription import (
            ConsumerProtocolSubscription,
        )

        subscriptions = {}
        for member in joined.members:
            version = int.from_bytes(member.metadata[:2], "big")
            version = min(version, ConsumerProtocolSubscription.MAX_VERSION)
            subscription, _ = decode(ConsumerProtocolSubscription, version, member.metadata, 2)
            subscriptions[member.member_id] = subscription.topics
        wanted = sorted({topic for topics in subscriptions.values() for topic in topics})
        await self._view.refresh(wanted)
        counts = {
            name: len(self._view.topics[name].partitions)
            for name in wanted
            if name in self._view.topics
        }
        return range_assignor.assign(subscriptions, counts)

    async def _sync(self, plan: dict[str, list[TopicPartition]]) -> Sequence[TopicPartition]:
        from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

        link = await self._view.link(await self._view.coordinator(self._group))
        request = SyncGroupRequest(
            group_id=self._group,
            generation_id=self._generation,
            member_id=self._member_id,
            group_instance_id=self._instance_id,
            assignments=[
                SyncGroupRequestAssignment(member_id=member, assignment=_assignment(partitions))
                for member, partitions in plan.items()
            ],
        )
        if link.serves(SyncGroupRequest, 5):
            request.protocol_type = CONSUMER_PROTOCOL
            request.protocol_name = range_assignor.NAME
        response = await self._send(request, self._rebalance_timeout_ms + 5_000)
        check(response.error_code, about=f"group {self._group!r}")
        return assigned_partitions(bytes(response.assignment))

    async def _start(self, mine: Sequence[TopicPartition]) -> None:
        committed = await self._groups.committed(self._group, mine) if mine else {}
        fresh = [partition for partition in mine if partition not in committed]
        positions = {partition: each.offset for partition, each in committed.items()}
        if fresh:
            positions |= await self._first_offsets(fresh)
        self._consumer.assign(positions)
        self._read = dict(positions)
        self._committed = {partition: each.offset for partition, each in committed.items()}
        now = asyncio.get_running_loop().time()
        self._next_heartbeat = now + self._heartbeat_ms / 1000
        self._next_commit = now + self._commit_ms / 1000
        self._joined = True

    async def _heartbeat(self) -> None:
        from ottla.wire.generated.heartbeat import HeartbeatRequest

        self._next_heartbeat = asyncio.get_running_loop().time() + self._heartbeat_ms / 1000
        response = await self._send(
            HeartbeatRequest(
                group_id=self._group,
                generation_id=self._generation,
                member_id=self._member_id,
                group_instance_id=self._instance_id,
            )
        )
        check(response.error_code, about=f"group {self._group!r}")

    async def _commit(self) -> None:
        self._next_commit = asyncio.get_running_loop().time() + self._commit_ms / 1000
        fresh = {
            partition: offset
            for partition, offset in self._read.items()
            if self._committed.get(partition) != offset
        }
        if fresh:
            await self._groups.commit(
                self._group,
                fresh,
                member_id=self._member_id,
                generation=self._generation,
                instance_id=self._instance_id,
            )
            self._committed |= fresh

    async def _leave(self) -> None:
        from ottla.wire.generated.leave_group import LeaveGroupRequest, MemberIdentity

        if not self._member_id:
            return
        if self._joined:
            await self._commit_while_rebalancing()
        self._joined = False
        if self._instance_id is not None:
            return
        link = await self._view.link(await self._view.coordinator(self._group))
        if link.serves(LeaveGroupRequest, 3):
            members = [MemberIdentity(member_id=self._member_id)]
            request = LeaveGroupRequest(group_id=self._group, members=members)
        else:
            request = LeaveGroupRequest(group_id=self._group, member_id=self._member_id)
        await link.request(request, timeout_ms=self._view.request_timeout_ms)


def _assignment(partitions: Sequence[TopicPartition]) -> bytes:
    from ottla.wire.generated.consumer_protocol_assignment import (
        ConsumerProtocolAssignment,
    )
    from ottla.wire.generated.consumer_protocol_assignment import (
        TopicPartition as AssignedTopic,
    )

    topics: dict[str, AssignedTopic] = {}
    for topic, number in partitions:
        topics.setdefault(topic, AssignedTopic(topic=topic)).partitions.append(number)
    message = ConsumerProtocolAssignment(assigned_partitions=list(topics.values()))
    return ASSIGNMENT_VERSION.to_bytes(2, "big") + encode(message, ASSIGNMENT_VERSION)
