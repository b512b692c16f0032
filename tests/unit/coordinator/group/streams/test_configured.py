"""A topology over the topics there are: counts of tasks and partitions, and what does not fit."""

from typing import Any

import pytest
from tests.support.streams_world import CopartitionGroup, TopicInfo, image_of, part

from ottla.coordinator.group.streams.configured import (
    INCORRECTLY_PARTITIONED_TOPICS,
    MISSING_INTERNAL_TOPICS,
    MISSING_SOURCE_TOPICS,
    Configured,
    configure,
)
from ottla.coordinator.group.streams.topology import Topology, stored
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated import streams_group_heartbeat as sent

TOPICS = {"a": 2, "b": 5, "c": 2}


def info(name: str, partitions: int = 0, **configs: str) -> TopicInfo:
    rows = [sent.KeyValue(key=key, value=value) for key, value in configs.items()]
    return TopicInfo(name=name, partitions=partitions, topic_configs=rows)


def configured(*subtopologies: sent.Subtopology, **more: int) -> Configured:
    topology = Topology(stored(sent.Topology(subtopologies=list(subtopologies))))
    return configure(topology, image_of({**TOPICS, **more}))


def together(sources: list[int], repartition: list[int]) -> dict[str, Any]:
    return {
        "copartition_groups": [
            CopartitionGroup(source_topics=sources, repartition_source_topics=repartition)
        ]
    }


def missing(found: Configured) -> dict[str, int]:
    return {topic.name: topic.partition_count for topic in found.missing}


def test_there_are_as_many_tasks_as_the_largest_source_has_partitions() -> None:
    found = configured(part("a", "b"), part("c", name="1"))
    assert found.is_ready
    assert {name: row.task_count for name, row in found.subtopologies.items()} == {"0": 5, "1": 2}
    assert not found.subtopologies["0"].is_stateful


def test_a_changelog_has_a_partition_for_each_task() -> None:
    found = configured(part("a", "b", state_changelog_topics=[info("log")]))
    assert missing(found) == {"log": 5}
    assert found.problem == (MISSING_INTERNAL_TOPICS, "Internal topics are missing: log")
    assert found.subtopologies["0"].is_stateful
    assert configured(part("a", "b", state_changelog_topics=[info("log")]), log=5).is_ready


def test_counts_go_down_a_chain_of_subtopologies() -> None:
    found = configured(
        part(name="2", repartition_source_topics=[info("y")], state_changelog_topics=[info("log")]),
        part(name="1", repartition_source_topics=[info("x")], repartition_sink_topics=["y"]),
        part("b", name="0", repartition_sink_topics=["x"]),
    )
    assert missing(found) == {"log": 5, "x": 5, "y": 5}
    assert {row.task_count for row in found.subtopologies.values()} == {5}


def test_a_fixed_count_is_kept() -> None:
    found = configured(
        part("b", repartition_sink_topics=["x"]),
        part(name="1", repartition_source_topics=[info("x", 3, retention="1")]),
    )
    assert missing(found) == {"x": 3}
    assert found.missing[0].configs == {"retention": "1"}
    assert found.subtopologies["1"].task_count == 3


def test_topics_read_together_get_what_the_source_has() -> None:
    reader = part("a", name="1", repartition_source_topics=[info("x")], **together([0], [0]))
    found = configured(part("b", repartition_sink_topics=["x"]), reader)
    assert missing(found) == {"x": 2}


def test_repartition_topics_read_together_get_what_the_largest_has() -> None:
    found = configured(
        part("a", repartition_sink_topics=["x"]),
        part("b", name="1", repartition_sink_topics=["y"]),
        part(name="2", repartition_source_topics=[info("x"), info("y")], **together([], [0, 1])),
    )
    assert missing(found) == {"x": 5, "y": 5}


def test_repartition_topics_read_together_follow_a_fixed_one() -> None:
    found = configured(
        part("a", repartition_sink_topics=["x"]),
        part("b", name="1", repartition_sink_topics=["y"]),
        part(name="2", repartition_source_topics=[info("x", 3), info("y")], **together([], [0, 1])),
    )
    assert missing(found) == {"x": 3, "y": 3}


@pytest.mark.parametrize(
    ("subtopologies", "status", "detail"),
    [
        (
            [part("a", "z", "y")],
            MISSING_SOURCE_TOPICS,
            "Source topics y, z are missing.",
        ),
        (
            [part("z5", "z4", "z3", "z2", "z1")],
            MISSING_SOURCE_TOPICS,
            "Source topics z1, z2, z3 and 2 additional topics are missing.",
        ),
        (
            [part("a", "b", **together([0, 1], []))],
            INCORRECTLY_PARTITIONED_TOPICS,
            "Following topics do not have the same number of partitions: [{a=2, b=5}]",
        ),
        (
            [
                part("a", repartition_sink_topics=["x"]),
                part("c", name="1", repartition_source_topics=[info("x", 3)], **together([0], [0])),
            ],
            INCORRECTLY_PARTITIONED_TOPICS,
            "Number of partitions [3] of repartition topic [x] doesn't match number of partitions "
            "[2] of the source topic.",
        ),
        (
            [part("a", state_changelog_topics=[info("b")])],
            INCORRECTLY_PARTITIONED_TOPICS,
            "Existing topic b has different number of partitions: expected 2, found 5",
        ),
    ],
)
def test_what_does_not_fit_is_a_problem(
    subtopologies: list[sent.Subtopology], status: int, detail: str
) -> None:
    found = configured(*subtopologies)
    assert found.problem == (status, detail)
    assert not found.is_ready
    assert not found.subtopologies


@pytest.mark.parametrize(
    "subtopologies",
    [
        [part()],
        [part("a", repartition_source_topics=[info("x")])],
        [part(repartition_source_topics=[info("x")], repartition_sink_topics=["x"])],
        [part("a", repartition_sink_topics=["x"], repartition_source_topics=[info("x", -1)])],
        [part("a", **together([1], []))],
        [part("a", **together([], [-1]))],
    ],
)
def test_what_no_topics_could_make_right_is_an_error(
    subtopologies: list[sent.Subtopology],
) -> None:
    with pytest.raises(ApiError) as raised:
        configured(*subtopologies)
    assert raised.value.code is ErrorCode.STREAMS_INVALID_TOPOLOGY


def test_topologies_are_equal_whatever_their_order() -> None:
    one, other = part("a"), part("b", name="1")
    first = Topology(stored(sent.Topology(subtopologies=[one, other])))
    assert first == Topology(stored(sent.Topology(subtopologies=[other, one])))
    assert first != Topology(stored(sent.Topology(epoch=1, subtopologies=[one, other])))
    assert first != Topology(stored(sent.Topology(subtopologies=[one])))
    assert first.reader_of("b") == "1"
    assert first.reader_of("log") is None
