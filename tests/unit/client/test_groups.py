"""Groups seen from outside, with brokers that know the newer requests and with those that do not."""

import pytest
from tests.unit.client.parts import PlayedCluster, coordinator, metadata

from ottla.client.groups import Committed, Groups, ListedGroup
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.testing.loop import run
from ottla.wire.generated import list_groups as listing
from ottla.wire.generated import offset_fetch
from ottla.wire.generated.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.list_groups import ListGroupsRequest
from ottla.wire.generated.metadata import MetadataRequest
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.wire.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from ottla.wire.generated.offset_fetch import OffsetFetchRequest

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


def cluster() -> PlayedCluster:
    view = PlayedCluster()
    view.will_answer(FindCoordinatorRequest, *[coordinator(2) for _ in range(3)])
    return view


def listed(name: str) -> listing.ListGroupsResponse:
    row = listing.ListedGroup(
        group_id=name, protocol_type="consumer", group_state="Stable", group_type="classic"
    )
    return listing.ListGroupsResponse(groups=[row])


@pytest.mark.parametrize(
    ("version", "filters"), [(3, ([], [])), (4, (["Stable"], [])), (5, (["Stable"], ["classic"]))]
)
def test_every_broker_is_asked_for_its_groups(
    version: int, filters: tuple[list[str], list[str]]
) -> None:
    view = PlayedCluster()
    view.versions[ListGroupsRequest] = version
    view.will_answer(MetadataRequest, metadata())
    view.will_answer(ListGroupsRequest, listed("b"), listed("a"))
    found = run(Groups(view).list_groups(states=["Stable"], kinds=["classic"]))
    assert [each.group for each in found] == ["a", "b"]
    assert ListedGroup("b", "consumer", "Stable", "classic", 1) in found
    assert sorted(view.brokers_asked(ListGroupsRequest), key=str) == [1, 2]
    asked = view.requests(ListGroupsRequest)[0]
    assert (asked.states_filter, asked.types_filter) == filters


@pytest.mark.parametrize("version", [7, 8, 10])
@pytest.mark.parametrize("wanted", [None, [ONE, TWO]])
def test_committed_offsets_are_those_that_are_there(
    version: int, wanted: list[TopicPartition] | None
) -> None:
    view = cluster()
    view.versions[OffsetFetchRequest] = version
    if version < 8:
        rows = [
            offset_fetch.OffsetFetchResponsePartition(partition_index=0, committed_offset=5),
            offset_fetch.OffsetFetchResponsePartition(partition_index=1, committed_offset=-1),
        ]
        topic = offset_fetch.OffsetFetchResponseTopic(name="t", partitions=rows)
        answer = offset_fetch.OffsetFetchResponse(topics=[topic])
    else:
        newer_rows = [
            offset_fetch.OffsetFetchResponsePartitions(partition_index=0, committed_offset=5),
            offset_fetch.OffsetFetchResponsePartitions(partition_index=1, committed_offset=-1),
        ]
        topics = [offset_fetch.OffsetFetchResponseTopics(name="t", partitions=newer_rows)]
        group = offset_fetch.OffsetFetchResponseGroup(group_id="g", topics=topics)
        answer = offset_fetch.OffsetFetchResponse(groups=[group])
    view.will_answer(OffsetFetchRequest, answer)
    assert run(Groups(view).committed("g", wanted)) == {ONE: Committed(5, -1, "")}
    (asked,) = view.requests(OffsetFetchRequest)
    topics_asked = asked.topics if version < 8 else asked.groups[0].topics
    expected = None if wanted is None else [("t", [0, 1])]
    seen = topics_asked and [(each.name, each.partition_indexes) for each in topics_asked]
    assert seen == expected


def test_a_refused_commit_names_the_partition() -> None:
    view = cluster()
    rows = [
        OffsetCommitResponsePartition(partition_index=0),
        OffsetCommitResponsePartition(partition_index=1, error_code=ErrorCode.UNKNOWN_MEMBER_ID),
    ]
    topic = OffsetCommitResponseTopic(name="t", partitions=rows)
    view.will_answer(OffsetCommitRequest, OffsetCommitResponse(topics=[topic]))
    with pytest.raises(ApiError, match="group 'g', partition t-1"):
        run(Groups(view).commit("g", {ONE: 7, TWO: 8}))
    (asked,) = view.requests(OffsetCommitRequest)
    assert (asked.member_id, asked.generation_id_or_member_epoch) == ("", -1)
    (asked_topic,) = asked.topics
    assert [each.committed_offset for each in asked_topic.partitions] == [7, 8]


def test_deleting_a_group_and_single_offsets() -> None:
    view = cluster()
    refused = DeletableGroupResult(group_id="g", error_code=ErrorCode.NON_EMPTY_GROUP)
    view.will_answer(DeleteGroupsRequest, DeleteGroupsResponse(results=[refused]))
    with pytest.raises(ApiError, match="group 'g'"):
        run(Groups(view).delete("g"))
    row = OffsetDeleteResponsePartition(
        partition_index=1, error_code=ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    )
    topic = OffsetDeleteResponseTopic(name="t", partitions=[row])
    view.will_answer(OffsetDeleteRequest, OffsetDeleteResponse(topics=[topic]))
    with pytest.raises(ApiError, match="partition t-1") as caught:
        run(Groups(view).delete_offsets("g", [TWO]))
    assert caught.value.code is ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
