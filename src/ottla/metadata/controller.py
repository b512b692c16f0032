"""The controller decides: (image, request, now) -> keys to write + what to answer.

Pure functions over an image. `broker/control.py` runs them one after the other, writes
the keys in one transaction and waits until the new image is followed.
Messages are Kafka's in meaning; the codes are Kafka's exactly
(`ReplicationControlManager`, `ControllerApis`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ottla.metadata import changes
from ottla.metadata.changes import KeyValue
from ottla.metadata.image import BrokerImage, ConfigResource, Image, PartitionImage, TopicImage
from ottla.metadata.placement import place
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId, PartitionId, TopicName, Uuid, uuid_text
from ottla.model.isolation import ResourceType
from ottla.model.names import CLUSTER_METADATA, check_topic_name, collision_key, may_collide
from ottla.model.randomness import Randomness
from ottla.model.steps import Steps, at_once

MAX_PARTITIONS_PER_BATCH = 10_000
"""Kafka refuses to create more in one request."""


EVERY_DIRECTORY = "*"


class Writes(NamedTuple):
    """What one decision writes, all or nothing."""

    puts: tuple[KeyValue, ...] = ()
    deletes: tuple[str, ...] = ()


class NewTopic(NamedTuple):
    """A topic asked for; -1 stands for the broker's default."""

    name: TopicName
    partitions: int = -1
    replication_factor: int = -1
    assignment: Sequence[tuple[PartitionId, Sequence[BrokerId]]] = ()
    configs: Mapping[str, str | None] = {}


class Defaults(NamedTuple):
    partitions: int
    replication_factor: int


CheckConfigs = Callable[[Mapping[str, str]], object]
"""Raises INVALID_CONFIG where a topic's settings cannot be."""


def create_topics(
    image: Image,
    topics: Iterable[NewTopic],
    defaults: Defaults,
    check_configs: CheckConfigs,
    randomness: Randomness,
) -> tuple[Writes, dict[TopicName, TopicImage | ApiError]]:
    """Decide on each topic by itself; the good ones are created together."""
    return at_once(create_topics_in_steps(image, topics, defaults, check_configs, randomness))


def create_topics_in_steps(
    image: Image,
    topics: Iterable[NewTopic],
    defaults: Defaults,
    check_configs: CheckConfigs,
    randomness: Randomness,
) -> Steps[tuple[Writes, dict[TopicName, TopicImage | ApiError]]]:
    """Do as `create_topics`, a topic a step."""
    puts: list[KeyValue] = []
    outcomes: dict[TopicName, TopicImage | ApiError] = {}
    topics = list(topics)
    taken: dict[str, TopicName] = {}
    if any(may_collide(topic.name) for topic in topics):
        taken = {collision_key(name): name for name in image.topics}
    created = 0
    for topic in topics:
        yield
        try:
            start = len(image.topics) + len(outcomes)
            made = _create_topic(image, topic, defaults, check_configs, randomness, taken, start)
            created += len(made.partitions)
            if created > MAX_PARTITIONS_PER_BATCH:
                raise ApiError(
                    ErrorCode.POLICY_VIOLATION,
                    "Excessively large number of partitions per request.",
                )
        except ApiError as error:
            outcomes[topic.name] = error
            continue
        taken[collision_key(topic.name)] = topic.name
        outcomes[topic.name] = made
        puts += _topic_keys(made)
    return Writes(tuple(puts)), outcomes


def _create_topic(
    image: Image,
    topic: NewTopic,
    defaults: Defaults,
    check_configs: CheckConfigs,
    randomness: Randomness,
    taken: Mapping[str, TopicName],
    start: int,
) -> TopicImage:
    check_topic_name(topic.name)
    if topic.name == CLUSTER_METADATA:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"Creation of internal topic {CLUSTER_METADATA} is prohibited.",
        )
    if topic.name in image.topics:
        raise ApiError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{topic.name}' already exists.")
    other = taken.get(collision_key(topic.name))
    if other is not None:
        raise ApiError(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic '{topic.name}' collides with existing topic: {other}",
        )
    configs = _without_nulls(topic.configs)
    if configs:
        check_configs(configs)
    if topic.assignment:
        replicas = _check_assignment(image, topic)
    else:
        replicas = _place_topic(image, topic, defaults, start)
    topic_id = randomness.uuid()
    while topic_id in image.topic_names:
        topic_id = randomness.uuid()
    partitions = tuple(_new_partition(image, number, r) for number, r in enumerate(replicas))
    return TopicImage(topic.name, topic_id, partitions, configs)


def _new_partition(
    image: Image, number: PartitionId, replicas: Sequence[BrokerId]
) -> PartitionImage:
    """In sync are those that live: an assignment may name others, too."""
    in_sync = tuple(
        broker for broker in replicas if broker in image.brokers and image.brokers[broker].is_usable
    )
    if not in_sync:
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "All brokers specified in the manual partition assignment for partition "
            f"{number} are fenced or in controlled shutdown.",
        )
    return PartitionImage(in_sync[0], 0, 0, tuple(replicas), in_sync)


def _without_nulls(configs: Mapping[str, str | None]) -> dict[str, str]:
    missing = [name for name, value in configs.items() if value is None]
    if missing:
        raise ApiError(
            ErrorCode.INVALID_CONFIG,
            f"Null value not supported for topic configs: {','.join(missing)}",
        )
    return {name: value for name, value in configs.items() if value is not None}


def _place_topic(
    image: Image, topic: NewTopic, defaults: Defaults, start: int
) -> Sequence[Sequence[BrokerId]]:
    if topic.replication_factor < -1 or topic.replication_factor == 0:
        raise ApiError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if topic.partitions < -1 or topic.partitions == 0:
        raise ApiError(
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        )
    partitions = defaults.partitions if topic.partitions == -1 else topic.partitions
    factor = topic.replication_factor
    if factor == -1:
        factor = defaults.replication_factor
    if partitions > MAX_PARTITIONS_PER_BATCH:
        raise ApiError(
            ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request."
        )
    return place(_open_brokers(image), partitions, factor, first_partition=0, start=start)


def _open_brokers(image: Image) -> dict[BrokerId, BrokerImage]:
    """Brokers that take new replicas."""
    return {
        broker_id: broker
        for broker_id, broker in image.brokers.items()
        if not is_cordoned(image, broker_id)
    }


def is_cordoned(image: Image, broker_id: BrokerId) -> bool:
    """Whether all directories of a broker are cordoned: it gets no new replicas (KIP-1066).

    What its own file says is in its registration, and counts while nothing else was set.
    """
    configs = image.configs.get(ConfigResource(ResourceType.BROKER, str(broker_id)), {})
    since = configs.get("cordoned.log.dirs")
    if since is not None:
        return since == EVERY_DIRECTORY
    broker = image.brokers.get(broker_id)
    return broker is not None and broker.cordoned


def _check_assignment(image: Image, topic: NewTopic) -> Sequence[Sequence[BrokerId]]:
    if topic.replication_factor != -1:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        )
    if topic.partitions != -1:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        )
    by_number: dict[PartitionId, Sequence[BrokerId]] = {}
    for number, replicas in topic.assignment:
        if number in by_number:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple manual partition assignments for partition {number}",
            )
        by_number[number] = replicas
    if sorted(by_number) != list(range(len(by_number))):
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        )
    assignment = [by_number[number] for number in range(len(by_number))]
    _check_replicas(image, assignment)
    return assignment


def _check_replicas(image: Image, assignment: Sequence[Sequence[BrokerId]]) -> None:
    for replicas in assignment:
        if not replicas:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                "The manual partition assignment includes an empty replica list.",
            )
        for broker, count in Counter(replicas).items():
            if count > 1:
                raise ApiError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"The manual partition assignment includes the broker {broker} more than once.",
                )
        for broker in replicas:
            if broker not in image.brokers and broker not in image.known_brokers:
                raise ApiError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"The manual partition assignment includes broker {broker}, "
                    "but no such broker is registered.",
                )
        if len(replicas) != len(assignment[0]):
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"The manual partition assignment includes a partition with {len(replicas)} "
                f"replica(s), but this is not consistent with previous partitions, "
                f"which have {len(assignment[0])} replica(s).",
            )


def _topic_keys(topic: TopicImage) -> list[KeyValue]:
    keys = [
        changes.partition_key(topic.topic_id, number, state)
        for number, state in enumerate(topic.partitions)
    ]
    if topic.configs:
        keys.append(
            changes.config_key(ConfigResource(ResourceType.TOPIC, topic.name), topic.configs)
        )
    keys.append(changes.topic_key(topic.topic_id, topic.name, len(topic.partitions)))
    return keys


def delete_topics(image: Image, topic_ids: Iterable[Uuid]) -> Writes:
    """Delete topics that exist; their files go once the image without them is followed."""
    puts: list[KeyValue] = []
    deletes: list[str] = []
    for topic_id in topic_ids:
        topic = image.topic_by_id(topic_id)
        assert topic is not None
        text = uuid_text(topic_id)
        puts.append(changes.deleting_key(topic_id, topic.name))
        deletes.append(f"topic/{text}")
        deletes += [f"partition/{text}/{number}" for number in range(len(topic.partitions))]
        if topic.configs:
            resource = ConfigResource(ResourceType.TOPIC, topic.name)
            deletes.append(changes.config_name(resource))
    return Writes(tuple(puts), tuple(deletes))


def create_partitions(
    image: Image,
    name: TopicName,
    count: int,
    assignments: Sequence[Sequence[BrokerId]] | None,
) -> Writes:
    """Raise a topic's number of partitions to `count`.

    Raises:
        ApiError: UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT.
    """
    topic = image.topics.get(name)
    if topic is None:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    existing = len(topic.partitions)
    if count == existing:
        raise ApiError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {existing} partition(s).")
    if count < existing:
        raise ApiError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {name} currently has {existing} partition(s); {count} would not be an increase.",
        )
    added = count - existing
    if added > MAX_PARTITIONS_PER_BATCH:
        raise ApiError(
            ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request."
        )
    if assignments is not None:
        if len(assignments) != added:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Attempted to add {added} additional partition(s), but only "
                f"{len(assignments)} assignment(s) were specified.",
            )
        _check_replicas(image, assignments)
        replicas = assignments
    else:
        factor = len(topic.partitions[0].replicas)
        replicas = place(_open_brokers(image), added, factor, first_partition=existing)
    puts = [
        changes.partition_key(
            topic.topic_id,
            existing + number,
            _new_partition(image, existing + number, r),
        )
        for number, r in enumerate(replicas)
    ]
    puts.append(changes.topic_key(topic.topic_id, name, count))
    return Writes(tuple(puts))


def raise_leader_epochs(image: Image, broker_id: BrokerId) -> Writes:
    """A new incarnation of a broker that stopped uncleanly leads nothing at its old epochs."""
    puts = []
    for topic in image.topics.values():
        for number, state in enumerate(topic.partitions):
            if state.leader == broker_id:
                raised = state._replace(
                    leader_epoch=state.leader_epoch + 1,
                    partition_epoch=state.partition_epoch + 1,
                )
                puts.append(changes.partition_key(topic.topic_id, number, raised))
    return Writes(tuple(puts))
