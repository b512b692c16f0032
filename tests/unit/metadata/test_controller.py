"""What may be created, and with which error it may not."""

import pytest

from ottla.metadata.controller import Defaults, NewTopic, create_partitions, create_topics
from ottla.metadata.image import BrokerImage, ConfigResource, Image, PartitionImage, TopicImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import ResourceType
from ottla.testing.randomness import SeededRandomness

TOPIC = TopicImage("there", b"1" * 16, (PartitionImage(1, 0, 0, (1,), (1,)),) * 3, {})
IMAGE = Image(
    brokers={1: BrokerImage(1, 1, None, ())},
    topics={"there": TOPIC, "a.b": TOPIC._replace(name="a.b", topic_id=b"2" * 16)},
    topic_names={b"1" * 16: "there", b"2" * 16: "a.b"},
)


def outcome(topic: NewTopic) -> TopicImage | ApiError:
    _, outcomes = create_topics(
        IMAGE, [topic], Defaults(4, 1), lambda configs: None, SeededRandomness(1)
    )
    return outcomes[topic.name]


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (NewTopic(""), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic(".."), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic("a/b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic("a\0b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic("x" * 250), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic("../../etc/passwd"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic("a_b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (NewTopic("there"), ErrorCode.TOPIC_ALREADY_EXISTS),
        (NewTopic("__cluster_metadata"), ErrorCode.INVALID_REQUEST),
        (NewTopic("t", 0), ErrorCode.INVALID_PARTITIONS),
        (NewTopic("t", -2), ErrorCode.INVALID_PARTITIONS),
        (NewTopic("t", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR),
        (NewTopic("t", 1, 2), ErrorCode.INVALID_REPLICATION_FACTOR),
        (NewTopic("t", 2**31 - 1), ErrorCode.POLICY_VIOLATION),
        (NewTopic("t", 1, -1, [(0, (1,))]), ErrorCode.INVALID_REQUEST),
        (NewTopic("t", -1, 1, [(0, (1,))]), ErrorCode.INVALID_REQUEST),
        (NewTopic("t", -1, -1, [(1, (1,))]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", -1, -1, [(0, ())]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", -1, -1, [(0, (1, 1))]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", -1, -1, [(0, (7,))]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", -1, -1, [(0, (1,)), (0, (1,))]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", 1, 1, (), {"x": None}), ErrorCode.INVALID_CONFIG),
    ],
)
def test_a_topic_that_cannot_be_is_refused(topic: NewTopic, code: ErrorCode) -> None:
    result = outcome(topic)
    assert isinstance(result, ApiError)
    assert result.code is code


def test_names_that_only_look_alike_do_not_collide() -> None:
    for name in ("Ab", "a-b", "a__b", "ab"):
        assert isinstance(outcome(NewTopic(name)), TopicImage)


def test_minus_one_takes_the_defaults() -> None:
    result = outcome(NewTopic("t"))
    assert isinstance(result, TopicImage)
    assert [state.replicas for state in result.partitions] == [(1,)] * 4


def test_a_bad_topic_does_not_spoil_its_neighbours() -> None:
    writes, outcomes = create_topics(
        IMAGE,
        [NewTopic("good"), NewTopic("there"), NewTopic("also.good"), NewTopic("also_good")],
        Defaults(1, 1),
        lambda configs: None,
        SeededRandomness(1),
    )
    assert [isinstance(outcomes[name], TopicImage) for name in outcomes] == [
        True,
        False,
        True,
        False,
    ]
    assert sum(key.startswith("topic/") for key, _ in writes.puts) == 2


@pytest.mark.parametrize(
    ("name", "count", "assignments", "code"),
    [
        ("nowhere", 4, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("there", 3, None, ErrorCode.INVALID_PARTITIONS),
        ("there", 2, None, ErrorCode.INVALID_PARTITIONS),
        ("there", -1, None, ErrorCode.INVALID_PARTITIONS),
        ("there", 5, [(1,)], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ("there", 4, [(9,)], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_partitions_that_cannot_be_added_are_refused(
    name: str, count: int, assignments: list[tuple[int, ...]] | None, code: ErrorCode
) -> None:
    with pytest.raises(ApiError) as raised:
        create_partitions(IMAGE, name, count, assignments)
    assert raised.value.code is code


@pytest.mark.parametrize(
    ("by_file", "since", "used"),
    [(False, "*", {1}), (True, None, {1}), (True, "", {1, 2}), (False, None, {1, 2})],
)
def test_a_cordoned_broker_gets_no_new_replicas(
    by_file: bool, since: str | None, used: set[int]
) -> None:
    brokers = {number: BrokerImage(number, number, None, ()) for number in (1, 2)}
    brokers[2] = brokers[2]._replace(cordoned=by_file)
    own = {} if since is None else {"cordoned.log.dirs": since}
    cordoned = {ConfigResource(ResourceType.BROKER, "2"): own}
    _, outcomes = create_topics(
        Image(brokers=brokers, configs=cordoned),
        [NewTopic("t", 4, 1)],
        Defaults(1, 1),
        lambda configs: None,
        SeededRandomness(1),
    )
    made = outcomes["t"]
    assert isinstance(made, TopicImage)
    assert {state.replicas for state in made.partitions} == {(number,) for number in used}
