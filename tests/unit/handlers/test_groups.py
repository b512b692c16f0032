"""What the group APIs answer to those who may not.

Everything else about them is in `coordinator/group/test_against_kafka.py`.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

from tests.support.group_conversation import (
    beat,
    commit,
    delete_offsets,
    fetch,
    fetch_groups,
    join,
    leave,
    sync,
)

from ottla.handlers import group_offsets, groups
from ottla.metadata.image import Image, PartitionImage, TopicImage
from ottla.model.errors import ErrorCode
from ottla.testing.clock import ManualClock
from ottla.wire.generated.delete_groups import DeletableGroupResult, DeleteGroupsRequest
from ottla.wire.generated.describe_groups import DescribedGroup, DescribeGroupsRequest
from ottla.wire.generated.leave_group import LeaveGroupResponse, MemberResponse
from ottla.wire.generated.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)

DENIED = ErrorCode.GROUP_AUTHORIZATION_FAILED


class Coordinator:
    """Answers anything; must not be asked what was denied."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def committed_topics(self, group_id: str) -> list[OffsetFetchRequestTopics]:
        return [OffsetFetchRequestTopics(name=name) for name in ("t", "hidden")]

    async def fetch_offsets(self, request: Any, require_stable: bool) -> Any:
        self.asked.append(request)
        topics = [
            OffsetFetchResponseTopics(
                name=topic.name, partitions=[OffsetFetchResponsePartitions(committed_offset=1)]
            )
            for topic in request.topics
        ]
        return OffsetFetchResponseGroup(group_id=request.group_id, topics=topics)

    async def describe_groups(self, ids: list[str], version: int) -> list[DescribedGroup]:
        return [DescribedGroup(group_id=group_id) for group_id in ids]

    async def list_groups(self, states: list[str], types: list[str]) -> ListGroupsResponse:
        return ListGroupsResponse(
            groups=[ListedGroup(group_id="mine"), ListedGroup(group_id="hidden")]
        )

    async def delete_groups(self, ids: list[str]) -> list[DeletableGroupResult]:
        return [DeletableGroupResult(group_id=group_id) for group_id in ids]

    async def leave_group(self, request: Any) -> LeaveGroupResponse:
        self.asked.append(request)
        member = MemberResponse(member_id="m", error_code=ErrorCode.UNKNOWN_MEMBER_ID)
        return LeaveGroupResponse(members=[member])


def context(version: int, *denied: str) -> Any:
    """Of somebody to whom the groups and topics named `denied`, and the cluster, are closed."""
    partition = PartitionImage(0, 0, 0, (0,), (0,))
    topics = {
        name: TopicImage(name, name.encode().ljust(16), (partition,), {})
        for name in ("t", "hidden")
    }
    names = {topic.topic_id: topic.name for topic in topics.values()}
    return SimpleNamespace(
        broker=SimpleNamespace(
            groups=Coordinator(),
            image=Image(topics=topics, topic_names=names),
            transport_clock=ManualClock(),
        ),
        api_version=version,
        client_id=None,
        client_host="127.0.0.1",
        authorize=lambda operation, kind, name: name not in (*denied, "kafka-cluster"),
    )


def test_a_denied_group_is_not_asked() -> None:
    async def scenario() -> None:
        for version, handler, request in (
            (9, groups.join_group, join("g")),
            (5, groups.sync_group, sync("g", "m", 1)),
            (4, groups.heartbeat, beat("g", "m", 1)),
            (5, groups.leave_group, leave("g", ("m", None))),
            (0, group_offsets.offset_delete, delete_offsets("g", {"t": [0]})),
            (7, group_offsets.offset_fetch, fetch("g", {"t": [0]})),
        ):
            who = context(version, "g")
            assert (await handler(who, request)).error_code == DENIED  # type: ignore[operator]
            assert who.broker.groups.asked == []

    asyncio.run(scenario())


def test_each_partition_of_a_denied_group_says_so() -> None:
    async def scenario() -> None:
        committed = await group_offsets.offset_commit(
            context(9, "g"), commit("g", {"t": {0: 1, 1: 1}})
        )
        assert [row.error_code for row in committed.topics[0].partitions] == [DENIED, DENIED]
        oldest = await group_offsets.offset_fetch(context(1, "g"), fetch("g", {"t": [0]}))
        assert not oldest.error_code
        assert oldest.topics[0].partitions[0].error_code == DENIED
        several = await group_offsets.offset_fetch(
            context(9, "g"), fetch_groups({"g": {"t": [0]}, "mine": {"t": [0]}})
        )
        assert [group.error_code for group in several.groups] == [DENIED, 0]

    asyncio.run(scenario())


def test_offsets_of_hidden_topics_are_not_shown() -> None:
    async def scenario() -> None:
        who = context(9, "hidden")
        everything = await group_offsets.offset_fetch(who, fetch_groups({"g": None}))
        assert [topic.name for topic in everything.groups[0].topics] == ["t"]
        named = await group_offsets.offset_fetch(who, fetch_groups({"g": {"t": [], "hidden": [0]}}))
        shown = {topic.name: topic.partitions for topic in named.groups[0].topics}
        assert shown["hidden"][0].error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
        assert [topic.name for topic in who.broker.groups.asked[-1].topics] == ["t"]

    asyncio.run(scenario())


def test_groups_are_described_listed_and_deleted_as_far_as_allowed() -> None:
    async def scenario() -> None:
        described = await groups.describe_groups(
            context(6, "hidden"),
            DescribeGroupsRequest(groups=["mine", "hidden"], include_authorized_operations=True),
        )
        assert [(row.group_id, row.error_code) for row in described.groups] == [
            ("hidden", DENIED),
            ("mine", 0),
        ]
        assert described.groups[1].authorized_operations == 0b110101001000
        listed = await groups.list_groups(context(5, "hidden"), ListGroupsRequest())
        assert [row.group_id for row in listed.groups] == ["mine"]
        deleted = await groups.delete_groups(
            context(2, "hidden"), DeleteGroupsRequest(groups_names=["hidden", "mine", "mine"])
        )
        assert [(row.group_id, row.error_code) for row in deleted.results] == [
            ("mine", 0),
            ("hidden", DENIED),
        ]

    asyncio.run(scenario())


def test_before_version_3_a_member_leaves_alone_and_its_error_is_the_answers() -> None:
    async def scenario() -> None:
        request = leave("g")
        request.member_id = "m"
        who = context(2)
        answer = await groups.leave_group(who, request)
        assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
        assert answer.members == []
        assert [member.member_id for member in who.broker.groups.asked[0].members] == ["m"]

    asyncio.run(scenario())
