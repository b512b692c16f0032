"""A member of a consumer group of the newer protocol (KIP-848): the broker assigns, the member follows.

Everything happens inside `poll`, heartbeats too, so poll at least every few
seconds. Partitions come and go one by one: what the member is to give up it
commits and drops at once, and says so in its next heartbeat; what it is given
it reads on from the committed offset. Used as `GroupMember` is.

With an `instance_id` the member is static: it leaves for the time being only, and
the next with this id takes over what it had. Two at once cannot be: the later one
gets UNRELEASED_INSTANCE_ID until the earlier has left or its session is over.
"""

import asyncio
import contextlib
import math
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ottla.client.cluster_view import ClusterView, check
from ottla.client.consumer import Consumer, FetchedBatch
from ottla.client.group_member import BACK_OFF_MS, FirstOffsets
from ottla.client.groups import Groups
from ottla.model.errors import RETRIABLE, ApiError, ErrorCode, PeerError
from ottla.model.ids import Offset, TopicPartition, Uuid, uuid_text
from ottla.model.isolation import IsolationLevel

JOINS, LEAVES, LEAVES_FOR_NOW = 0, -1, -2
"""Member epochs that mean something."""

_REJOIN = frozenset({ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID})
_WAIT = RETRIABLE | {ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.UNRELEASED_INSTANCE_ID}
"""Passes by itself: with the next heartbeat, or when another has left."""


class ConsumerMember:
    """Use it with `async with`; leaving the block leaves the group."""

    def __init__(
        self,
        view: ClusterView,
        group: str,
        topics: Sequence[str],
        *,
        first_offsets: FirstOffsets,
        instance_id: str | None = None,
        assignor: str | None = None,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
        rebalance_timeout_ms: int = 60_000,
        commit_ms: int = 5_000,
        new_id: Callable[[], Uuid] = lambda: uuid.uuid4().bytes,
    ) -> None:
        """`rebalance_timeout_ms`: so long may it take to give up a partition.

        `assignor` is one of the broker's (`uniform`, `range`); how long a session lasts is the
        broker's to say.
        """
        self._view = view
        self._group = group
        self._topics = sorted(topics)
        self._first_offsets = first_offsets
        self._instance_id = instance_id
        self._assignor = assignor
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._commit_ms = commit_ms
        self._groups = Groups(view)
        self._consumer = Consumer(view, isolation=isolation)
        self._member_id = uuid_text(new_id())
        self._epoch = JOINS
        self._told: frozenset[TopicPartition] | None = None
        """What the broker was told that the member has; None: it is to be told everything."""
        self._target: frozenset[TopicPartition] | None = None
        """What it was given, until it has followed."""
        self._names: dict[Uuid, str] = {}
        self._read: dict[TopicPartition, Offset] = {}
        self._committed: dict[TopicPartition, Offset] = {}
        self._next_heartbeat = 0.0
        self._next_commit = 0.0

    async def __aenter__(self) -> "ConsumerMember":
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ApiError, PeerError):  # else the session times out
            await self._leave()
        await self._consumer.close()

    @property
    def stable(self) -> bool:
        """Whether it is a member now."""
        return self._epoch > 0

    def positions(self) -> dict[TopicPartition, Offset]:
        """Its partitions, each with the offset to be fetched next."""
        return self._consumer.positions()

    def read_up_to(self, partition: TopicPartition, next_offset: Offset) -> None:
        """Everything below `next_offset` has been dealt with and may be committed."""
        if partition in self._read:
            self._read[partition] = next_offset

    async def poll(self, timeout_ms: int) -> list[FetchedBatch]:
        """The next batches, or none within the time; joins and rejoins as need be.

        Raises:
            ApiError: what neither time nor a new beginning heals.
        """
        now = asyncio.get_running_loop().time()
        try:
            if now >= self._next_heartbeat:
                await self._heartbeat()
            if self._target is not None:
                await self._follow(self._target)
            if now >= self._next_commit:
                await self._commit()
        except (ApiError, PeerError) as error:
            if not self._may_pass(error):
                raise
            self._view.distrust()
            await asyncio.sleep(BACK_OFF_MS / 1000)
            return []
        until = min(now + timeout_ms / 1000, self._next_heartbeat)
        return await self._consumer.poll(math.ceil(max(0.0, until - now) * 1000))

    def _may_pass(self, error: ApiError | PeerError) -> bool:
        """Whether it is worth a try again; who is no member any more begins anew."""
        if isinstance(error, PeerError):
            return bool(self._view.cluster.brokers)
        if error.code in _REJOIN:
            self._begin_anew()
        return error.code in _WAIT | _REJOIN

    def _begin_anew(self) -> None:
        """Others may have its partitions by now."""
        self._epoch = JOINS
        self._told = self._target = None
        self._consumer.assign({})
        self._read.clear()
        self._committed.clear()
        self._next_heartbeat = 0.0

    # Heartbeats

    async def _heartbeat(self) -> None:
        """Say what it has, if the broker does not know, and take what it is given."""
        has = frozenset(self._read)
        told, self._told = self._told, None
        response = await self._send(self._epoch, has, is_full=told is None, is_news=has != told)
        self._epoch = response.member_epoch
        self._told = has
        loop = asyncio.get_running_loop()
        self._next_heartbeat = loop.time() + response.heartbeat_interval_ms / 1000
        if response.assignment is not None:
            self._target = await self._named(response.assignment.topic_partitions)

    async def _send(
        self,
        epoch: int,
        has: frozenset[TopicPartition] = frozenset(),
        *,
        is_full: bool = False,
        is_news: bool = False,
    ) -> Any:
        """One heartbeat. A full one is answered with the whole assignment: the last may be lost."""
        from ottla.wire.generated.consumer_group_heartbeat import (
            ConsumerGroupHeartbeatRequest,
            TopicPartitionsRequest,
        )

        request = ConsumerGroupHeartbeatRequest(
            group_id=self._group,
            member_id=self._member_id,
            member_epoch=epoch,
            instance_id=self._instance_id,
        )
        if is_full:
            request.rebalance_timeout_ms = self._rebalance_timeout_ms
            request.subscribed_topic_names = self._topics
            request.server_assignor = self._assignor
        if is_full or is_news:
            ids = {name: topic_id for topic_id, name in self._names.items()}
            rows: dict[str, TopicPartitionsRequest] = {}
            for name, number in sorted(has):
                row = rows.setdefault(name, TopicPartitionsRequest(topic_id=ids[name]))
                row.partitions.append(number)
            request.topic_partitions = list(rows.values())
        link = await self._view.link(await self._view.coordinator(self._group))
        response = await link.request(request, timeout_ms=self._view.request_timeout_ms)
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

    async def _follow(self, target: frozenset[TopicPartition]) -> None:
        """Give up what is not in the target, begin with what is new there."""
        lost = [partition for partition in self._read if partition not in target]
        if lost:
            with contextlib.suppress(ApiError, PeerError):  # else others read these again
                await self._commit()
            self._consumer.drop(lost)
            for partition in lost:
                self._read.pop(partition, None)
                self._committed.pop(partition, None)
        gained = sorted(target - self._read.keys())
        if gained:
            committed = await self._groups.committed(self._group, gained, stable=True)
            positions = {partition: each.offset for partition, each in committed.items()}
            self._committed |= positions
            fresh = [partition for partition in gained if partition not in committed]
            if fresh:
                positions |= await self._first_offsets(fresh)
            self._read |= positions
            self._consumer.assign({**self._consumer.positions(), **positions})
        self._target = None
        if frozenset(self._read) != self._told:
            self._next_heartbeat = 0.0  # the broker waits to hear of it

    # Commits, and the end

    async def _commit(self) -> None:
        self._next_commit = asyncio.get_running_loop().time() + self._commit_ms / 1000
        fresh = {
            partition: offset
            for partition, offset in self._read.items()
            if self._committed.get(partition) != offset
        }
        if fresh and self._epoch > 0:
            await self._groups.commit(
                self._group,
                fresh,
                member_id=self._member_id,
                generation=self._epoch,
                instance_id=self._instance_id,
            )
            self._committed |= fresh

    async def _leave(self) -> None:
        if self._epoch <= 0:
            return
        with contextlib.suppress(ApiError):
            await self._commit()
        epoch = LEAVES if self._instance_id is None else LEAVES_FOR_NOW
        await self._send(epoch)
        self._begin_anew()
