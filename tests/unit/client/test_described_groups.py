"""Groups of every kind described, by brokers that know the newer requests and by those that do not."""

from typing import Any

import pytest
from tests.unit.client.parts import PlayedCluster, coordinator, metadata, topic_row

from ottla.client.described_groups import assigned_partitions
from ottla.client.groups import Groups
from ottla.model.errors import ApiError, ErrorCode, ProtocolError
from ottla.model.ids import TopicPartition
from ottla.testing.loop import run
from ottla.wire.codec import encode
from ottla.wire.generated import (
    consumer_group_describe,
    consumer_protocol_assignment,
    describe_groups,
    share_group_describe,
    streams_group_describe,
)
from ottla.wire.generated.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.generated.describe_groups import DescribeGroupsRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.metadata import MetadataRequest
from ottla.wire.generated.share_group_describe import ShareGroupDescribeRequest
from ottla.wire.generated.streams_group_describe import StreamsGroupDescribeRequest

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
ASSIGNMENT = (1).to_bytes(2, "big") + encode(
    consumer_protocol_assignment.ConsumerProtocolAssignment(
        assigned_partitions=[
            consumer_protocol_assignment.TopicPartition(topic="t", partitions=[0, 1])
        ]
    ),
    1,
)


def cluster() -> PlayedCluster:
    view = PlayedCluster()
    view.will_answer(FindCoordinatorRequest, *[coordinator(2) for _ in range(3)])
    return view


def classic(**how: Any) -> describe_groups.DescribeGroupsResponse:
    member = describe_groups.DescribedGroupMember(
        member_id="m", client_id="c", client_host="/h", member_assignment=ASSIGNMENT
    )
    row = describe_groups.DescribedGroup(
        **{
            "group_id": "g",
            "group_state": "Stable",
            "protocol_type": "consumer",
            "protocol_data": "range",
            "members": [member],
            **how,
        }
    )
    return describe_groups.DescribeGroupsResponse(groups=[row])


def newer(code: ErrorCode) -> consumer_group_describe.ConsumerGroupDescribeResponse:
    group = consumer_group_describe.DescribedGroup(
        group_id="g",
        error_code=code,
        group_state="Stable",
        assignor_name="uniform",
        members=[
            consumer_group_describe.Member(
                member_id="m",
                client_id="c",
                client_host="/h",
                assignment=consumer_group_describe.Assignment(
                    topic_partitions=[
                        consumer_group_describe.TopicPartitions(topic_name="t", partitions=[1])
                    ]
                ),
            )
        ],
    )
    return consumer_group_describe.ConsumerGroupDescribeResponse(groups=[group])


def test_a_group_is_described_as_what_it_is() -> None:
    view = cluster()
    view.will_answer(ConsumerGroupDescribeRequest, newer(ErrorCode.NONE))
    group = run(Groups(view).describe("g"))
    assert (group.kind, group.balancer, group.coordinator) == ("consumer", "uniform", 2)
    assert group.members[0].partitions == (TWO,)
    view.will_answer(ConsumerGroupDescribeRequest, newer(ErrorCode.GROUP_ID_NOT_FOUND))
    view.will_answer(DescribeGroupsRequest, classic())
    group = run(Groups(view).describe("g"))
    assert (group.kind, group.balancer) == ("classic", "range")
    assert group.members[0].partitions == (ONE, TWO)


def test_an_older_broker_is_asked_only_what_it_knows() -> None:
    view = cluster()
    view.versions[ConsumerGroupDescribeRequest] = -1
    view.will_answer(DescribeGroupsRequest, classic(protocol_type="connect"))
    assert run(Groups(view).describe("g")).members[0].partitions == ()


def test_a_dead_group_is_none() -> None:
    view = cluster()
    for request in (ConsumerGroupDescribeRequest, ShareGroupDescribeRequest):
        view.versions[request] = -1
    view.will_answer(DescribeGroupsRequest, classic(group_state="Dead", members=[]))
    view.will_answer(StreamsGroupDescribeRequest, streams(error_code=ErrorCode.GROUP_ID_NOT_FOUND))
    with pytest.raises(ApiError, match="group 'g' does not exist"):
        run(Groups(view).describe("g"))


def test_another_coordinator_is_looked_for_when_it_moved() -> None:
    view = cluster()
    view.versions[ConsumerGroupDescribeRequest] = -1
    moved = classic(error_code=ErrorCode.NOT_COORDINATOR, members=[])
    view.will_answer(DescribeGroupsRequest, moved, classic())
    assert run(Groups(view).describe("g")).state == "Stable"
    assert len(view.requests(FindCoordinatorRequest)) == 2


def share() -> share_group_describe.ShareGroupDescribeResponse:
    members = [
        share_group_describe.Member(
            member_id=member_id,
            client_id="c",
            client_host="/h",
            assignment=share_group_describe.Assignment(
                topic_partitions=[
                    share_group_describe.TopicPartitions(topic_name="t", partitions=[0, 1])
                ]
            ),
        )
        for member_id in ("m", "n")
    ]
    group = share_group_describe.DescribedGroup(
        group_id="g", group_state="Stable", assignor_name="simple", members=members
    )
    return share_group_describe.ShareGroupDescribeResponse(groups=[group])


def streams(**how: Any) -> streams_group_describe.StreamsGroupDescribeResponse:
    """Subtopology 0 reads t, which has two partitions, and r, which has one."""
    tasks = streams_group_describe.TaskIds(subtopology_id="0", partitions=[0, 1])
    other = streams_group_describe.TaskIds(subtopology_id="1", partitions=[0])
    member = streams_group_describe.Member(
        member_id="m",
        client_id="c",
        client_host="/h",
        assignment=streams_group_describe.Assignment(active_tasks=[tasks], standby_tasks=[other]),
    )
    subtopology = streams_group_describe.Subtopology(
        subtopology_id="0",
        source_topics=["t", "gone"],
        repartition_source_topics=[streams_group_describe.TopicInfo(name="r", partitions=1)],
    )
    row = streams_group_describe.DescribedGroup(
        **{
            "group_id": "g",
            "group_state": "Stable",
            "topology": streams_group_describe.Topology(epoch=0, subtopologies=[subtopology]),
            "members": [member],
            **how,
        }
    )
    return streams_group_describe.StreamsGroupDescribeResponse(groups=[row])


def of_neither_older_kind() -> PlayedCluster:
    view = cluster()
    view.will_answer(ConsumerGroupDescribeRequest, newer(ErrorCode.GROUP_ID_NOT_FOUND))
    unknown = classic(error_code=ErrorCode.GROUP_ID_NOT_FOUND, members=[])
    view.will_answer(DescribeGroupsRequest, unknown)
    return view


def test_members_of_a_share_group_share_partitions() -> None:
    view = of_neither_older_kind()
    view.will_answer(ShareGroupDescribeRequest, share())
    group = run(Groups(view).describe("g"))
    assert (group.kind, group.balancer, group.state) == ("share", "simple", "Stable")
    assert [each.partitions for each in group.members] == [(ONE, TWO), (ONE, TWO)]


def test_members_of_a_streams_group_read_the_inputs_of_their_active_tasks() -> None:
    view = of_neither_older_kind()
    view.versions[ShareGroupDescribeRequest] = -1
    view.will_answer(StreamsGroupDescribeRequest, streams())
    view.will_answer(MetadataRequest, metadata(topic_row("t", 1, 1), topic_row("r", 1)))
    group = run(Groups(view).describe("g"))
    assert (group.kind, group.balancer, group.state) == ("streams", "", "Stable")
    assert group.members[0].partitions == (ONE, TWO, TopicPartition("r", 0))


def test_a_streams_group_may_have_no_topology_yet() -> None:
    view = of_neither_older_kind()
    view.versions[ShareGroupDescribeRequest] = -1
    view.will_answer(StreamsGroupDescribeRequest, streams(topology=None))
    assert run(Groups(view).describe("g")).members[0].partitions == ()


def test_an_assignment_is_read_whatever_newer_version_it_says() -> None:
    assert assigned_partitions(ASSIGNMENT) == (ONE, TWO)
    assert assigned_partitions(b"") == ()
    assert assigned_partitions((99).to_bytes(2, "big") + ASSIGNMENT[2:]) == (ONE, TWO)
    with pytest.raises(ProtocolError):
        assigned_partitions(ASSIGNMENT[:-5])
