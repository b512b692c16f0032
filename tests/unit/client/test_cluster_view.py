"""What a client learns of a cluster, how long it believes it, and what it asks again."""

import asyncio
from itertools import pairwise

import pytest
from tests.unit.client.parts import PlayedCluster, coordinator, metadata, topic_row

from ottla.client.cluster_view import NoSuchTopicError, check, error_of
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import TopicPartition
from ottla.testing.loop import run
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.metadata import MetadataRequest

MISSING = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_topic_is_asked_for_once_and_again_when_forgotten() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, *[metadata(topic_row("t", 1, 2)) for _ in range(2)])

    async def scenario() -> None:
        for _ in range(2):
            topic = await view.topic("t")
            assert [each.leader for each in topic.partitions] == [1, 2]
        assert len(view.asked) == 1
        view.forget("t")
        await view.topic("t")
        assert len(view.asked) == 2

    run(scenario())


def test_a_topic_that_is_not_there_is_not_asked_for_again() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("t", error=MISSING)))
    with pytest.raises(NoSuchTopicError, match="topic 't' does not exist"):
        run(view.topic("t"))
    assert len(view.asked) == 1


def test_a_topic_that_is_being_created_is_asked_for_until_it_is_there() -> None:
    view = PlayedCluster()
    view.will_answer(
        MetadataRequest, metadata(topic_row("t", error=MISSING)), metadata(topic_row("t", 1))
    )
    assert run(view.topic("t", create=True)).name == "t"
    assert [each.allow_auto_topic_creation for each in view.requests(MetadataRequest)] == [True] * 2


def test_an_old_broker_is_not_told_what_it_cannot_read() -> None:
    view = PlayedCluster()
    view.versions[MetadataRequest] = 3
    view.will_answer(MetadataRequest, metadata())
    run(view.refresh())
    assert view.requests(MetadataRequest)[0].allow_auto_topic_creation is True  # the default


def test_a_partition_without_a_leader_is_forgotten() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("t", -1)))
    with pytest.raises(ApiError) as caught:
        run(view.leader(TopicPartition("t", 0)))
    assert caught.value.code is ErrorCode.LEADER_NOT_AVAILABLE
    assert view.topics == {}


def test_a_partition_that_is_not_there_is_named_with_those_that_are() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("t", 1, 1)))
    with pytest.raises(NoSuchTopicError, match="no partition 5, only 0 to 1"):
        run(view.leader(TopicPartition("t", 5)))


def test_what_passes_by_itself_is_tried_again_until_the_time_is_over() -> None:
    view = PlayedCluster()
    tried: list[float] = []

    async def attempt() -> None:
        tried.append(asyncio.get_running_loop().time())
        raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)

    with pytest.raises(ApiError):
        run(view.ask(attempt))
    waits = [round(1000 * (late - early)) for early, late in pairwise(tried)]
    assert waits[:6] == [50, 100, 200, 400, 800, 1_000]
    assert set(waits[6:]) == {1_000}
    assert view.retry_timeout_ms <= sum(waits) <= view.retry_timeout_ms + 1_000


def test_what_does_not_pass_is_not_tried_again() -> None:
    view = PlayedCluster()
    view.will_answer(MetadataRequest, metadata(topic_row("t", error=ErrorCode.INVALID_REQUEST)))
    with pytest.raises(ApiError) as caught:
        run(view.topic("t"))
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_a_wrong_address_is_said_at_once_and_a_lost_broker_is_asked_again() -> None:
    stranger = PlayedCluster(knows_brokers=False)
    stranger.will_answer(MetadataRequest, PeerError("refused"))
    with pytest.raises(PeerError):
        run(stranger.topic("t"))
    view = PlayedCluster()
    view.will_answer(MetadataRequest, PeerError("gone"), metadata(topic_row("t", 1)))
    assert run(view.topic("t")).name == "t"


def test_a_coordinator_is_kept_until_brokers_are_distrusted() -> None:
    view = PlayedCluster()
    view.will_answer(FindCoordinatorRequest, coordinator(2), coordinator(1))

    async def scenario() -> list[int]:
        found = [await view.coordinator("g"), await view.coordinator("g")]
        view.distrust()
        return [*found, await view.coordinator("g")]

    assert run(scenario()) == [2, 2, 1]


def test_a_coordinator_among_unknown_brokers_brings_the_brokers_along() -> None:
    view = PlayedCluster(knows_brokers=False)
    view.will_answer(FindCoordinatorRequest, coordinator(2))
    view.will_answer(MetadataRequest, metadata())
    assert run(view.coordinator("g")) == 2
    assert [broker.broker_id for broker in view.cluster.brokers] == [1, 2]


def test_a_code_becomes_an_error_that_names_its_thing_once() -> None:
    assert error_of(0) is None
    error = error_of(ErrorCode.INVALID_REQUEST, "no", about="topic 't'")
    assert error is not None
    assert error.message == "topic 't': no"
    error = error_of(ErrorCode.INVALID_REQUEST, "Topic 't' is bad", about="topic 't'")
    assert error is not None
    assert error.message == "Topic 't' is bad"
    with pytest.raises(ApiError, match="error code 9999: odd") as caught:
        check(9_999, "odd")
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
