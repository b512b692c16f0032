"""What a streams application reads, stores and writes: its topology, as members send it.

A topology is made of subtopologies, connected by repartition topics only. Each
has as many tasks as the largest of the topics it reads has partitions.

    source topics        the application's own, which must be there
    repartition topics   written by one subtopology (sink), read by another (source)
    changelog topics     what a subtopology's state is written to

A topology never changes; one with a higher epoch is refused, as in Kafka 4.3.
"""

from collections.abc import Iterator

from ottla.model.ids import TopicName
from ottla.wire.generated import streams_group_heartbeat as heartbeat
from ottla.wire.generated.records.streams_group_topology_value import (
    CopartitionGroup,
    StreamsGroupTopologyValue,
    Subtopology,
    TopicConfig,
    TopicInfo,
)


class Topology:
    """A topology by its subtopologies. Equal whatever order they were sent in."""

    __slots__ = ("_readers", "epoch", "required_topics", "subtopologies")

    def __init__(self, stored: StreamsGroupTopologyValue) -> None:
        self.epoch = stored.epoch
        self.subtopologies: dict[str, Subtopology] = {
            subtopology.subtopology_id: subtopology for subtopology in stored.subtopologies
        }
        self._readers: dict[TopicName, str] = {
            topic: subtopology.subtopology_id
            for subtopology in stored.subtopologies
            for topic in input_topics(subtopology)
        }
        self.required_topics: frozenset[TopicName] = frozenset(
            topic
            for subtopology in stored.subtopologies
            for topic in (
                *input_topics(subtopology),
                *(info.name for info in subtopology.state_changelog_topics),
            )
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Topology)
            and self.epoch == other.epoch
            and self.subtopologies == other.subtopologies
        )

    __hash__ = None  # type: ignore[assignment]

    def reader_of(self, topic: TopicName) -> str | None:
        """The id of the subtopology that reads a topic; None: nobody does."""
        return self._readers.get(topic)


def input_topics(subtopology: Subtopology) -> Iterator[TopicName]:
    """What a subtopology reads: source topics, then repartition topics."""
    yield from subtopology.source_topics
    for info in subtopology.repartition_source_topics:
        yield info.name


def stored(sent: heartbeat.Topology) -> StreamsGroupTopologyValue:
    """A topology of a request as it goes into the log."""
    return StreamsGroupTopologyValue(
        epoch=sent.epoch,
        subtopologies=[
            Subtopology(
                subtopology_id=subtopology.subtopology_id,
                source_topics=subtopology.source_topics,
                source_topic_regex=subtopology.source_topic_regex,
                state_changelog_topics=[
                    _stored_topic(info) for info in subtopology.state_changelog_topics
                ],
                repartition_sink_topics=subtopology.repartition_sink_topics,
                repartition_source_topics=[
                    _stored_topic(info) for info in subtopology.repartition_source_topics
                ],
                copartition_groups=[
                    CopartitionGroup(
                        source_topics=group.source_topics,
                        source_topic_regex=group.source_topic_regex,
                        repartition_source_topics=group.repartition_source_topics,
                    )
                    for group in subtopology.copartition_groups
                ],
            )
            for subtopology in sent.subtopologies
        ],
    )


def _stored_topic(info: heartbeat.TopicInfo) -> TopicInfo:
    return TopicInfo(
        name=info.name,
        partitions=info.partitions,
        replication_factor=info.replication_factor,
        topic_configs=[
            TopicConfig(key=config.key, value=config.value) for config in info.topic_configs
        ],
    )
