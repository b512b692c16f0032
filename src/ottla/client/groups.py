"""Groups seen from outside: list, describe, committed offsets, delete."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.client.described_groups import DescribedGroup, describe
from ottla.model.ids import BrokerId, Offset, TopicPartition


class ListedGroup(NamedTuple):
    group: str
    protocol_type: str
    state: str
    kind: str
    coordinator: BrokerId


class Committed(NamedTuple):
    offset: Offset
    leader_epoch: int
    metadata: str


class Groups:
    def __init__(self, view: ClusterView) -> None:
        self._view = view

    async def list_groups(
        self, *, states: Sequence[str] = (), kinds: Sequence[str] = ()
    ) -> list[ListedGroup]:
        """Every group of every broker, by name; perhaps only some states or kinds."""
        await self._view.ask(self._view.refresh)
        brokers = [broker.broker_id for broker in self._view.cluster.brokers]
        answers = await asyncio.gather(
            *(self._view.ask(partial(self._list_on, each, states, kinds)) for each in brokers)
        )
        return sorted(group for answer in answers for group in answer)

    async def _list_on(
        self, broker: BrokerId, states: Sequence[str], kinds: Sequence[str]
    ) -> list[ListedGroup]:
        from ottla.wire.generated.list_groups import ListGroupsRequest

        link = await self._view.link(broker)
        request = ListGroupsRequest()
        if link.serves(ListGroupsRequest, 4):
            request.states_filter = [*states]
        if link.serves(ListGroupsRequest, 5):
            request.types_filter = [*kinds]
        response = await link.request(request, timeout_ms=self._view.request_timeout_ms)
        check(response.error_code, about=f"groups of broker {broker}")
        return [
            ListedGroup(
                each.group_id, each.protocol_type, each.group_state, each.group_type, broker
            )
            for each in response.groups
        ]

    async def _ask(self, group: str, request: Any) -> Any:
        """Ask the group's coordinator; what the codes inside mean is the caller's to say."""
        return await self._view.send(request, await self._view.coordinator(group))

    async def describe(self, group: str) -> DescribedGroup:
        """Members and what each owns, in a group of any kind.

        Raises:
            ApiError: GROUP_ID_NOT_FOUND; nobody knows the group.
        """
        return await self._view.ask(lambda: describe(self._view, group))

    async def rebalances(self, group: str) -> list[Any]:
        """The last rebalances, the oldest first, as `DescribedRebalance` rows. Only Ottla knows.

        Raises:
            ApiError: GROUP_ID_NOT_FOUND; UNSUPPORTED_VERSION, the broker is not Ottla's.
        """
        from ottla.wire.generated.describe_rebalances import DescribeRebalancesRequest

        async def attempt() -> list[Any]:
            response = await self._ask(group, DescribeRebalancesRequest(group_ids=[group]))
            (answer,) = response.groups
            check(answer.error_code, answer.error_message, about=f"group {group!r}")
            return list(answer.rebalances)

        return await self._view.ask(attempt)

    async def committed(
        self,
        group: str,
        partitions: Iterable[TopicPartition] | None = None,
        *,
        stable: bool = False,
    ) -> dict[TopicPartition, Committed]:
        """The group's committed offsets (None: all it has); partitions without one are left out.

        With `stable`, waits for transactions that are about to commit offsets (KIP-447).
        """
        wanted = None if partitions is None else list(partitions)
        return await self._view.ask(lambda: self._committed(group, wanted, stable))

    async def _committed(
        self, group: str, wanted: Sequence[TopicPartition] | None, stable: bool
    ) -> dict[TopicPartition, Committed]:
        from ottla.wire.generated.offset_fetch import (
            OffsetFetchRequest,
            OffsetFetchRequestGroup,
            OffsetFetchRequestTopic,
            OffsetFetchRequestTopics,
        )

        by_topic = None if wanted is None else _by_topic(wanted)
        link = await self._view.link(await self._view.coordinator(group))
        version = min(link.version_of(OffsetFetchRequest), 9)  # from 10 on topics go by id
        if version >= 8:
            topics = (
                None
                if by_topic is None
                else [
                    OffsetFetchRequestTopics(name=name, partition_indexes=indexes)
                    for name, indexes in by_topic.items()
                ]
            )
            request = OffsetFetchRequest(
                groups=[OffsetFetchRequestGroup(group_id=group, topics=topics)]
            )
        else:
            older = (
                None
                if by_topic is None
                else [
                    OffsetFetchRequestTopic(name=name, partition_indexes=indexes)
                    for name, indexes in by_topic.items()
                ]
            )
            request = OffsetFetchRequest(group_id=group, topics=older)
        request.require_stable = stable and version >= 7
        response = await link.request(
            request, version=version, timeout_ms=self._view.request_timeout_ms
        )
        answer = response.groups[0] if version >= 8 else response
        check(answer.error_code, about=f"group {group!r}")
        found = {}
        for topic in answer.topics:
            for each in topic.partitions:
                partition = TopicPartition(topic.name, each.partition_index)
                check(each.error_code, about=f"group {group!r}, partition {partition}")
                if each.committed_offset >= 0:
                    found[partition] = Committed(
                        each.committed_offset, each.committed_leader_epoch, each.metadata or ""
                    )
        return found

    async def commit(
        self,
        group: str,
        offsets: Mapping[TopicPartition, Offset],
        *,
        member_id: str = "",
        generation: int = -1,
        instance_id: str | None = None,
    ) -> None:
        """Commit for a group; without a member id, only while the group has no members.

        `generation` is the member epoch in a group of the newer protocol.

        Raises:
            ApiError: for the first partition refused (UNKNOWN_MEMBER_ID: the group has members).
        """
        await self._view.ask(
            lambda: self._commit(group, offsets, member_id, generation, instance_id)
        )

    async def _commit(
        self,
        group: str,
        offsets: Mapping[TopicPartition, Offset],
        member_id: str,
        generation: int,
        instance_id: str | None,
    ) -> None:
        from ottla.wire.generated.offset_commit import (
            OffsetCommitRequest,
            OffsetCommitRequestPartition,
            OffsetCommitRequestTopic,
        )

        topics: dict[str, OffsetCommitRequestTopic] = {}
        for partition, offset in offsets.items():
            topic = topics.setdefault(
                partition.topic, OffsetCommitRequestTopic(name=partition.topic)
            )
            topic.partitions.append(
                OffsetCommitRequestPartition(
                    partition_index=partition.partition,
                    committed_offset=offset,
                    committed_metadata="",
                )
            )
        link = await self._view.link(await self._view.coordinator(group))
        version = min(link.version_of(OffsetCommitRequest), 9)  # from 10 on topics go by id
        request = OffsetCommitRequest(
            group_id=group,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            group_instance_id=instance_id,
            topics=list(topics.values()),
        )
        response = await link.request(
            request, version=version, timeout_ms=self._view.request_timeout_ms
        )
        for answer in response.topics:
            for each in answer.partitions:
                partition = TopicPartition(answer.name, each.partition_index)
                check(each.error_code, about=f"group {group!r}, partition {partition}")

    async def delete(self, group: str) -> None:
        """Delete a group without members, with its offsets.

        Raises:
            ApiError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
        from ottla.wire.generated.delete_groups import DeleteGroupsRequest

        async def attempt() -> None:
            response = await self._ask(group, DeleteGroupsRequest(groups_names=[group]))
            check(response.results[0].error_code, about=f"group {group!r}")

        await self._view.ask(attempt)

    async def delete_offsets(self, group: str, partitions: Iterable[TopicPartition]) -> None:
        """Forget committed offsets of topics no member subscribes to."""
        from ottla.wire.generated.offset_delete import (
            OffsetDeleteRequest,
            OffsetDeleteRequestPartition,
            OffsetDeleteRequestTopic,
        )

        topics = [
            OffsetDeleteRequestTopic(
                name=name,
                partitions=[OffsetDeleteRequestPartition(partition_index=i) for i in indexes],
            )
            for name, indexes in _by_topic(list(partitions)).items()
        ]

        async def attempt() -> None:
            response = await self._ask(group, OffsetDeleteRequest(group_id=group, topics=topics))
            check(response.error_code, about=f"group {group!r}")
            for answer in response.topics:
                for each in answer.partitions:
                    partition = TopicPartition(answer.name, each.partition_index)
                    check(each.error_code, about=f"group {group!r}, partition {partition}")

        await self._view.ask(attempt)


def _by_topic(partitions: Sequence[TopicPartition]) -> dict[str, list[int]]:
    topics: dict[str, list[int]] = {}
    for partition in partitions:
        topics.setdefault(partition.topic, []).append(partition.partition)
    return topics
