"""Log directories that Kafka wrote: what the metadata store must know of them.

`survey` only reads. Topic ids come from `partition.metadata`; settings, partition
counts and leader epochs from the metadata log of a KRaft node, where one of the
directories has it. Without it, partitions are counted by their directories and
nothing may be deleted by itself: retention is off until somebody sets it.
"""

import logging
from functools import partial
from typing import NamedTuple

from ottla.model.ids import (
    LeaderEpoch,
    PartitionId,
    ProducerId,
    TopicName,
    TopicPartition,
    Uuid,
)
from ottla.model.isolation import ResourceType
from ottla.storage import kraft, names, partition_files
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk
from ottla.storage.kraft import KraftError, KraftMetadata
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.logs import Logs
from ottla.storage.partition_files import highest_producer_id

logger = logging.getLogger(__name__)

KEEP_EVERYTHING = {"retention.ms": "-1", "retention.bytes": "-1"}
"""Settings of a topic about which nothing is known."""


class AdoptedTopic(NamedTuple):
    name: TopicName
    topic_id: Uuid
    leader_epochs: dict[PartitionId, LeaderEpoch]
    """Of every partition, from 0 on without a gap: the highest in use so far."""
    present: frozenset[PartitionId]
    """Those that have a directory here; the others would be new and empty."""
    configs: dict[str, str]


class Adoption(NamedTuple):
    """What to put into an empty metadata store."""

    cluster_id: str | None
    node_id: int | None
    topics: dict[TopicName, AdoptedTopic]
    configs: dict[tuple[ResourceType, str], dict[str, str]]
    """Of brokers ("" for all), groups and client metrics; topics have theirs."""
    features: dict[str, int]
    """Finalized feature levels; empty where the metadata log was not read."""
    next_producer_id: ProducerId
    """Above every id that was given out or is found in a snapshot."""
    from_metadata_log: bool
    problems: list[str]
    """For the log: what could not be learned, and what follows from that."""


class _Present(NamedTuple):
    path: str
    topic_id: Uuid | None


def survey(logs: Logs) -> Adoption | None:
    """Describe what the directories hold; None if there are no partitions at all.

    Call it between `Logs.start` and `Logs.load`.

    Raises:
        OSError: a directory cannot be read.
    """
    disk = logs.disk
    present: dict[TopicPartition, _Present] = {}
    metadata: KraftMetadata | None = None
    problems: list[str] = []
    for directory in logs.online():
        for name in disk.list(directory.path):
            path = f"{directory.path}/{name}"
            partition = names.parse_partition_directory(name)
            if name == kraft.DIRECTORY:
                try:
                    metadata = kraft.read_metadata(disk, path)
                except KraftError as error:
                    problems.append(f"{path} cannot be understood: {error}")
            elif partition is not None and disk.is_directory(path):
                present[partition] = _Present(path, partition_files.topic_id(disk, path, problems))
    if not present and metadata is None:
        return None
    if metadata is not None:
        topics = _topics_of(metadata, present, disk, problems)
    else:
        topics = _topics_by_directory(present, disk)
        if topics:
            problems.append(
                "the topics' settings are not known: nothing of them is deleted by time or size "
                "until retention.ms or retention.bytes is set"
            )
    unusable = partial(logger.warning, "%s: %s")
    highest = max(
        (highest_producer_id(disk, found.path, unusable) for found in present.values()), default=-1
    )
    return Adoption(
        logs.roots.cluster_id,
        logs.roots.node_id,
        topics,
        _other_configs(metadata),
        dict(metadata.features) if metadata else {},
        max(highest + 1, metadata.next_producer_id if metadata else 0),
        metadata is not None,
        problems,
    )


def _topics_of(
    metadata: KraftMetadata,
    present: dict[TopicPartition, _Present],
    disk: Disk,
    problems: list[str],
) -> dict[TopicName, AdoptedTopic]:
    topics = {}
    for topic in metadata.topics.values():
        count = 1 + max(topic.partitions, default=-1)
        here = set()
        epochs = {}
        for number in range(count):
            known = topic.partitions.get(number)
            epochs[number] = known.leader_epoch if known else 0
            found = present.pop(TopicPartition(topic.name, number), None)
            if found is not None:
                if found.topic_id not in (topic.topic_id, None):
                    problems.append(f"{found.path} is of another topic of that name")
                    continue
                here.add(number)
                epochs[number] = max(epochs[number], _latest_epoch(disk, found.path))
        if len(here) < count:
            problems.append(f"{topic.name}: {count - len(here)} of {count} partitions are not here")
        configs = metadata.configs.get((ResourceType.TOPIC, topic.name), {})
        topics[topic.name] = AdoptedTopic(
            topic.name, topic.topic_id, epochs, frozenset(here), dict(configs)
        )
    for found in present.values():
        problems.append(f"{found.path} is of no topic that the metadata log knows")
    return topics


def _topics_by_directory(
    present: dict[TopicPartition, _Present], disk: Disk
) -> dict[TopicName, AdoptedTopic]:
    topics: dict[TopicName, AdoptedTopic] = {}
    for (name, number), found in sorted(present.items()):
        if found.topic_id is None:
            continue
        topic = topics.get(name)
        if topic is None:
            topic = AdoptedTopic(name, found.topic_id, {}, frozenset(), dict(KEEP_EVERYTHING))
        if topic.topic_id == found.topic_id:
            for missing in range(len(topic.leader_epochs), number):
                topic.leader_epochs[missing] = 0
            topic.leader_epochs[number] = max(_latest_epoch(disk, found.path), 0)
            topics[name] = topic._replace(present=topic.present | {number})
    return topics


def _latest_epoch(disk: Disk, path: str) -> LeaderEpoch:
    try:
        return LeaderEpochs.parse(disk.read(f"{path}/{names.LEADER_EPOCH_CHECKPOINT}")).latest
    except (FileNotFoundError, CheckpointError):
        return -1


def _other_configs(
    metadata: KraftMetadata | None,
) -> dict[tuple[ResourceType, str], dict[str, str]]:
    if metadata is None:
        return {}
    return {
        (ResourceType(kind), name): dict(configs)
        for (kind, name), configs in metadata.configs.items()
        if kind != ResourceType.TOPIC and configs and kind in ResourceType.__members__.values()
    }
