"""A topology over the topics there are: how many tasks, which internal topics (KIP-1071).

A repartition topic without a partition count of its own has as many as the
largest topic read by whoever writes it; topics read together (copartitioned)
must have equally many, and those that are free to are given as many. A changelog
has a partition for each task.

What is missing or does not fit is a `Problem`, which members are told as a
status; their tasks wait until topics are made or changed. What no topics could
make right is an error.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ottla.coordinator.group.streams.topology import Topology, input_topics
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicName
from ottla.wire.generated.records.streams_group_topology_value import Subtopology, TopicInfo

STALE_TOPOLOGY = 0
MISSING_SOURCE_TOPICS = 1
INCORRECTLY_PARTITIONED_TOPICS = 2
MISSING_INTERNAL_TOPICS = 3
SHUTDOWN_APPLICATION = 4
ASSIGNMENT_DELAYED = 5
"""Codes of statuses: what a member is told that is not an error."""

NAMED = 3
"""How many topics a status names."""


class InternalTopic(NamedTuple):
    """A repartition or changelog topic as it is to be."""

    name: TopicName
    partition_count: int
    replication_factor: int
    """0: the broker's own choice."""
    configs: Mapping[str, str]


class ConfiguredSubtopology(NamedTuple):
    task_count: int
    source_topics: tuple[TopicName, ...]
    repartition_source_topics: tuple[InternalTopic, ...]
    repartition_sink_topics: tuple[TopicName, ...]
    changelog_topics: tuple[InternalTopic, ...]

    @property
    def is_stateful(self) -> bool:
        return bool(self.changelog_topics)


class Problem(NamedTuple):
    """Why a topology has no tasks yet."""

    status: int
    detail: str


class _TopicsError(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, detail)


class Configured(NamedTuple):
    """`subtopologies` is empty when there is a problem with source topics or counts."""

    topology: Topology
    subtopologies: Mapping[str, ConfiguredSubtopology]
    missing: tuple[InternalTopic, ...] = ()
    problem: Problem | None = None

    @property
    def is_ready(self) -> bool:
        return self.problem is None


def configure(topology: Topology, image: Image) -> Configured:
    """Find the tasks of a topology, and what keeps it from having any.

    Raises:
        ApiError: STREAMS_INVALID_TOPOLOGY, where no topics could make it right.
    """
    try:
        counts = _Counts(topology, image)
        subtopologies = {
            subtopology_id: _configured(topology.subtopologies[subtopology_id], counts)
            for subtopology_id in sorted(topology.subtopologies)
        }
        missing = _missing(subtopologies, topology, image)
    except _TopicsError as error:
        return Configured(topology, {}, (), error.problem)
    if not missing:
        return Configured(topology, subtopologies)
    names = _named([topic.name for topic in missing])
    problem = Problem(MISSING_INTERNAL_TOPICS, f"Internal topics are missing: {names}")
    return Configured(topology, subtopologies, missing, problem)


class _Counts:
    """How many partitions each topic has, or is to have."""

    def __init__(self, topology: Topology, image: Image) -> None:
        self._image = image
        self._decided: dict[TopicName, int] = {}
        subtopologies = list(topology.subtopologies.values())
        missing = sorted(
            {
                topic
                for subtopology in subtopologies
                for topic in subtopology.source_topics
                if topic not in image.topics
            }
        )
        if missing:
            raise _TopicsError(
                MISSING_SOURCE_TOPICS, f"Source topics {_named(missing)} are missing."
            )
        self._decide_repartition_topics(subtopologies)
        self._decide_copartitioned(subtopologies)
        for subtopology in subtopologies:
            for info in subtopology.state_changelog_topics:
                self._decided[info.name] = self.largest_input(subtopology)

    def of(self, topic: TopicName) -> int:
        found = self._image.topics.get(topic)
        return self._decided[topic] if found is None else len(found.partitions)

    def largest_input(self, subtopology: Subtopology) -> int:
        counts = [self.of(topic) for topic in input_topics(subtopology)]
        if not counts:
            raise _invalid(f"No source topics found for subtopology {subtopology.subtopology_id}")
        return max(counts)

    def wanted(self, info: TopicInfo) -> int:
        """What an internal topic is to have, whatever it has."""
        count = info.partitions or self._decided[info.name]
        if count < 1:
            raise _invalid(f"Topic {info.name} cannot have {count} partitions.")
        return count

    def _decide_repartition_topics(self, subtopologies: Iterable[Subtopology]) -> None:
        decided = self._decided
        for subtopology in subtopologies:
            for info in subtopology.repartition_source_topics:
                if info.partitions:
                    decided[info.name] = info.partitions
        open_sinks = {
            sink: subtopology
            for subtopology in subtopologies
            for sink in subtopology.repartition_sink_topics
            if sink not in decided
        }
        while open_sinks:
            found = {
                sink: count
                for sink, subtopology in open_sinks.items()
                if (count := self._largest_known_input(subtopology)) is not None
            }
            if not found:
                raise _invalid(
                    "Failed to compute number of partitions for all repartition topics. "
                    "There may be loops in the topology that cannot be resolved."
                )
            decided.update(found)
            open_sinks = {sink: sub for sink, sub in open_sinks.items() if sink not in found}
        for subtopology in subtopologies:
            if any(info.name not in decided for info in subtopology.repartition_source_topics):
                raise _invalid(
                    "Failed to compute number of partitions for all repartition topics, "
                    "because a repartition source topic is never used as a sink topic."
                )

    def _largest_known_input(self, subtopology: Subtopology) -> int | None:
        counts = [
            self._decided[info.name]
            for info in subtopology.repartition_source_topics
            if info.name in self._decided
        ]
        topics = self._image.topics
        counts += [
            len(topics[name].partitions) for name in subtopology.source_topics if name in topics
        ]
        return max(counts, default=None)

    def _decide_copartitioned(self, subtopologies: Iterable[Subtopology]) -> None:
        infos = [info for each in subtopologies for info in each.repartition_source_topics]
        fixed = {info.name for info in infos if info.partitions}
        repartition = {info.name for info in infos}
        for subtopology in subtopologies:
            for together in _copartitioned(subtopology):
                if together:
                    self._decide_together(together, repartition, fixed)

    def _decide_together(
        self, together: set[TopicName], repartition: set[TopicName], fixed: set[TopicName]
    ) -> None:
        """Topics that are read together get what those have that cannot choose."""
        others = {topic: self.of(topic) for topic in sorted(together - repartition)}
        given = {topic: self.of(topic) for topic in sorted(together & repartition)}
        if others:
            count = _same(others)
        elif fixed:
            # All fixed ones of the topology, not of these alone: so does Kafka.
            count = _same({topic: self.of(topic) for topic in sorted(fixed)}, shown=given)
        else:
            count = max(given.values())
        for topic, before in given.items():
            if topic in fixed and before != count:
                raise _TopicsError(
                    INCORRECTLY_PARTITIONED_TOPICS,
                    f"Number of partitions [{before}] of repartition topic [{topic}] doesn't "
                    f"match number of partitions [{count}] of the source topic.",
                )
            self._decided[topic] = count


def _same(counts: Mapping[TopicName, int], shown: Mapping[TopicName, int] | None = None) -> int:
    if len(set(counts.values())) > 1:
        rows = ", ".join(f"{topic}={count}" for topic, count in sorted((shown or counts).items()))
        raise _TopicsError(
            INCORRECTLY_PARTITIONED_TOPICS,
            f"Following topics do not have the same number of partitions: [{{{rows}}}]",
        )
    return next(iter(counts.values()))


def _copartitioned(subtopology: Subtopology) -> Iterable[set[TopicName]]:
    """Topics read together, which are named by their numbers within the subtopology."""
    sources = subtopology.source_topics
    repartition = subtopology.repartition_source_topics
    for group in subtopology.copartition_groups:
        for numbers, count in (
            (group.source_topics, len(sources)),
            (group.repartition_source_topics, len(repartition)),
        ):
            if any(not 0 <= number < count for number in numbers):
                raise _invalid(
                    f"A copartition group of subtopology {subtopology.subtopology_id} has a "
                    "topic that is not there."
                )
        yield {
            *(sources[number] for number in group.source_topics),
            *(repartition[number].name for number in group.repartition_source_topics),
        }


def _configured(subtopology: Subtopology, counts: _Counts) -> ConfiguredSubtopology:
    def internal(infos: Iterable[TopicInfo]) -> tuple[InternalTopic, ...]:
        return tuple(
            InternalTopic(
                info.name,
                counts.wanted(info),
                info.replication_factor,
                {config.key: config.value for config in info.topic_configs},
            )
            for info in sorted(infos, key=lambda info: info.name)
        )

    return ConfiguredSubtopology(
        counts.largest_input(subtopology),
        tuple(sorted(set(subtopology.source_topics))),
        internal(subtopology.repartition_source_topics),
        tuple(sorted(set(subtopology.repartition_sink_topics))),
        internal(subtopology.state_changelog_topics),
    )


def _missing(
    subtopologies: Mapping[str, ConfiguredSubtopology], topology: Topology, image: Image
) -> tuple[InternalTopic, ...]:
    """Internal topics that are to be made; those there are must have the right size."""
    internal = {
        topic.name: topic
        for subtopology in subtopologies.values()
        for topic in (*subtopology.repartition_source_topics, *subtopology.changelog_topics)
    }
    for name in sorted(topology.required_topics):
        found = image.topics.get(name)
        wanted = None if found is None else internal.pop(name, None)
        if found is None or wanted is None:
            continue
        if wanted.partition_count != len(found.partitions):
            raise _TopicsError(
                INCORRECTLY_PARTITIONED_TOPICS,
                f"Existing topic {name} has different number of partitions: "
                f"expected {wanted.partition_count}, found {len(found.partitions)}",
            )
    return tuple(internal[name] for name in sorted(internal))


def _named(topics: list[TopicName]) -> str:
    more = len(topics) - NAMED
    shown = ", ".join(topics[:NAMED])
    return f"{shown} and {more} additional topics" if more > 0 else shown


def _invalid(why: str) -> ApiError:
    return ApiError(ErrorCode.STREAMS_INVALID_TOPOLOGY, why)
