"""ListOffsets over several leaders."""

import pytest
from tests.unit.client.parts import PlayedCluster, metadata, topic_row

from ottla.client.offsets import EARLIEST, LATEST, bounds, list_offsets, partitions_of
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.testing.loop import run
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from ottla.wire.generated.metadata import MetadataRequest

THREE = [TopicPartition("t", number) for number in range(3)]


def answered(request: ListOffsetsRequest, *, refusing: int | None = None) -> ListOffsetsResponse:
    """Offset 100 + partition for earliest, 200 + partition for latest; one may be refused."""
    rows = []
    for each in request.topics[0].partitions:
        base = 100 if each.timestamp == EARLIEST else 200
        row = ListOffsetsPartitionResponse(
            partition_index=each.partition_index, offset=base + each.partition_index
        )
        if each.partition_index == refusing:
            row.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER
        rows.append(row)
    return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=rows)])


def cluster(*leaders: int) -> PlayedCluster:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("t", *leaders)))
    return view


def test_each_leader_is_asked_once_for_all_its_partitions() -> None:
    view = cluster(1, 2, 1)
    view.will_answer(ListOffsetsRequest, answered, answered)
    found = run(list_offsets(view, dict.fromkeys(THREE, LATEST)))
    assert [found[each].offset for each in THREE] == [200, 201, 202]
    assert sorted(view.brokers_asked(ListOffsetsRequest), key=str) == [1, 2]


def test_only_what_has_no_answer_is_asked_again_and_of_the_new_leader() -> None:
    view = cluster(1, 1, 1)
    view.will_answer(MetadataRequest, metadata(topic_row("t", 1, 2, 1)))
    view.will_answer(ListOffsetsRequest, lambda request: answered(request, refusing=1), answered)
    found = run(list_offsets(view, dict.fromkeys(THREE, EARLIEST)))
    assert [found[each].offset for each in THREE] == [100, 101, 102]
    assert view.brokers_asked(ListOffsetsRequest) == [1, 2]
    again = view.requests(ListOffsetsRequest)[1].topics[0].partitions
    assert [each.partition_index for each in again] == [1]


def test_a_refusal_that_does_not_pass_names_the_partition() -> None:
    view = cluster(1)
    row = ListOffsetsPartitionResponse(error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    topic = ListOffsetsTopicResponse(name="t", partitions=[row])
    view.will_answer(ListOffsetsRequest, ListOffsetsResponse(topics=[topic]))
    with pytest.raises(ApiError, match="partition t-0"):
        run(list_offsets(view, {THREE[0]: LATEST}))


def test_the_isolation_counts_for_the_end_alone() -> None:
    view = cluster(1)
    view.will_answer(ListOffsetsRequest, answered, answered)
    one = THREE[:1]
    assert run(bounds(view, one, isolation=IsolationLevel.READ_COMMITTED)) == (
        {one[0]: 100},
        {one[0]: 200},
    )
    asked = {
        each.topics[0].partitions[0].timestamp: each.isolation_level
        for each in view.requests(ListOffsetsRequest)
    }
    assert asked == {EARLIEST: 0, LATEST: 1}


def test_the_partitions_of_a_topic_come_in_order() -> None:
    assert run(partitions_of(cluster(1, 2, 1), "t")) == THREE
