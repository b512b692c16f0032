"""Where share groups are: seen, moved, forgotten."""

import pytest
from tests.unit.client.parts import PlayedCluster, coordinator

from ottla.client.share_offsets import (
    ShareOffset,
    alter_share_offsets,
    forget_share_topics,
    share_offsets,
)
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.testing.loop import run
from ottla.wire.generated.alter_share_group_offsets import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    AlterShareGroupOffsetsResponsePartition,
    AlterShareGroupOffsetsResponseTopic,
)
from ottla.wire.generated.delete_share_group_offsets import (
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsResponseTopic,
)
from ottla.wire.generated.describe_share_group_offsets import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsResponseGroup,
    DescribeShareGroupOffsetsResponsePartition,
    DescribeShareGroupOffsetsResponseTopic,
)
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


def cluster() -> PlayedCluster:
    view = PlayedCluster()
    view.will_answer(FindCoordinatorRequest, coordinator(2))
    return view


def test_a_partition_without_a_start_is_left_out_and_an_unknown_lag_is_none() -> None:
    view = cluster()
    rows = [
        DescribeShareGroupOffsetsResponsePartition(partition_index=0, start_offset=5, lag=2),
        DescribeShareGroupOffsetsResponsePartition(partition_index=1, start_offset=7),
        DescribeShareGroupOffsetsResponsePartition(partition_index=2, start_offset=-1),
    ]
    topic = DescribeShareGroupOffsetsResponseTopic(topic_name="t", partitions=rows)
    group = DescribeShareGroupOffsetsResponseGroup(group_id="g", topics=[topic])
    view.will_answer(
        DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse(groups=[group])
    )
    assert run(share_offsets(view, "g")) == {ONE: ShareOffset(5, 2), TWO: ShareOffset(7, None)}
    assert view.brokers_asked(DescribeShareGroupOffsetsRequest) == [2]


def test_a_group_is_moved_and_the_partition_refused_is_named() -> None:
    view = cluster()
    row = AlterShareGroupOffsetsResponsePartition(
        partition_index=1, error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED
    )
    topic = AlterShareGroupOffsetsResponseTopic(topic_name="t", partitions=[row])
    fine, refused = AlterShareGroupOffsetsResponse(), AlterShareGroupOffsetsResponse(
        error_code=ErrorCode.NON_EMPTY_GROUP
    )  # fmt: skip
    view.will_answer(
        AlterShareGroupOffsetsRequest,
        fine,
        refused,
        AlterShareGroupOffsetsResponse(responses=[topic]),
    )
    run(alter_share_offsets(view, "g", {ONE: 3, TWO: 4}))
    (asked,) = view.requests(AlterShareGroupOffsetsRequest)
    assert [
        (topic.topic_name, [(each.partition_index, each.start_offset) for each in topic.partitions])
        for topic in asked.topics
    ] == [("t", [(0, 3), (1, 4)])]
    with pytest.raises(ApiError, match="group 'g'"):
        run(alter_share_offsets(view, "g", {ONE: 3}))
    with pytest.raises(ApiError, match="partition t-1"):
        run(alter_share_offsets(view, "g", {TWO: 4}))


def test_topics_are_forgotten_and_the_one_refused_is_named() -> None:
    view = cluster()
    row = DeleteShareGroupOffsetsResponseTopic(
        topic_name="u", error_code=ErrorCode.INVALID_TOPIC_EXCEPTION
    )
    view.will_answer(
        DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse(responses=[row])
    )
    with pytest.raises(ApiError, match="topic 'u'"):
        run(forget_share_topics(view, "g", ["t", "u"]))
    (asked,) = view.requests(DeleteShareGroupOffsetsRequest)
    assert [topic.topic_name for topic in asked.topics] == ["t", "u"]
