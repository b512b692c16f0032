"""Brokers, leaders and replicas: who is there, who should lead, what moves where."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ottla.client.admin import Admin, ConfigChange, ConfigEntry, ConfigOperation, ConfigSource
from ottla.client.balance import Move, Placed
from ottla.client.cluster_view import ClusterView, Topic, check, error_of
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, PartitionId, TopicName, TopicPartition
from ottla.model.isolation import ResourceType
from ottla.model.names import CLUSTER_METADATA

CORDONED = "cordoned.log.dirs"
EVERYWHERE = "*"
RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
THROTTLED = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")


class KnownBroker(NamedTuple):
    broker_id: BrokerId
    host: str
    port: int
    rack: str | None
    is_fenced: bool


class Reassignment(NamedTuple):
    """A partition on its way; `replicas` has the new ones and those that go."""

    topic: TopicName
    partition: PartitionId
    replicas: tuple[BrokerId, ...]
    adding: tuple[BrokerId, ...]
    removing: tuple[BrokerId, ...]


class Operations:
    def __init__(self, view: ClusterView) -> None:
        self._view = view

    # Brokers

    async def brokers(self) -> list[KnownBroker]:
        """Every broker that is registered, by id; those that do not live are fenced."""
        from ottla.wire.generated.describe_cluster import DescribeClusterRequest

        link = await self._view.link()
        request = DescribeClusterRequest()
        if link.serves(DescribeClusterRequest, 2):
            request.include_fenced_brokers = True
        response = await link.request(request, timeout_ms=self._view.request_timeout_ms)
        check(response.error_code, response.error_message, about="the cluster")
        return sorted(
            KnownBroker(row.broker_id, row.host, row.port, row.rack, row.is_fenced)
            for row in response.brokers
        )

    async def has_quorum(self) -> bool:
        """Whether who keeps the metadata has a leader, and so can decide; true if nobody can say."""
        from ottla.wire.generated.describe_quorum import (
            DescribeQuorumRequest,
            PartitionDataRequest,
            TopicDataRequest,
        )

        if not (await self._view.link()).serves(DescribeQuorumRequest):
            return True
        metadata = TopicDataRequest(
            topic_name=CLUSTER_METADATA, partitions=[PartitionDataRequest(partition_index=0)]
        )
        response = await self._view.send(DescribeQuorumRequest(topics=[metadata]))
        return not response.error_code and all(
            row.error_code == ErrorCode.NONE and row.leader_id >= 0
            for topic in response.topics
            for row in topic.partitions
        )

    async def unregister(self, broker_id: BrokerId) -> None:
        from ottla.wire.generated.unregister_broker import UnregisterBrokerRequest

        response = await self._view.send(UnregisterBrokerRequest(broker_id=broker_id))
        check(response.error_code, response.error_message, about=f"broker {broker_id}")

    async def cordon(self, broker_id: BrokerId, *, cordoned: bool) -> None:
        """Have new replicas placed elsewhere, or there again, against its own file if need be."""
        await self._view.refresh()
        if cordoned:
            change = ConfigChange(ConfigOperation.SET, CORDONED, EVERYWHERE)
        elif await self._is_cordoned_by_file(broker_id):
            change = ConfigChange(ConfigOperation.SET, CORDONED, "")
        else:
            change = ConfigChange(ConfigOperation.DELETE, CORDONED, None)
        await Admin(self._view).alter_configs(ResourceType.BROKER, str(broker_id), [change])

    async def is_cordoned(self, broker_id: BrokerId) -> bool:
        """Only a broker itself says so; one that has just gone does not."""
        settings = await self._directories(broker_id)
        if CORDONED in settings and settings[CORDONED].value == EVERYWHERE:
            return True
        return await self._is_cordoned_by_file(broker_id)

    async def _is_cordoned_by_file(self, broker_id: BrokerId) -> bool:
        """By what it was started with, which names every directory or none by name."""
        settings = await self._directories(broker_id)
        if CORDONED not in settings:
            return False
        if settings[CORDONED].source is not ConfigSource.STATIC_BROKER_CONFIG:
            return False
        names = _names(settings[CORDONED])
        directories = _names(settings["log.dirs"]) or _names(settings["log.dir"])
        return EVERYWHERE in names or names >= directories

    async def _directories(self, broker_id: BrokerId) -> dict[str, ConfigEntry]:
        """Its settings about log directories, by name; none if it has just gone."""
        try:
            entries = await Admin(self._view).describe_configs(
                ResourceType.BROKER, str(broker_id), [CORDONED, "log.dirs", "log.dir"]
            )
        except PeerError:
            return {}
        return {entry.name: entry for entry in entries}

    async def sizes(self, brokers: Collection[BrokerId]) -> dict[TopicPartition, int]:
        """Bytes of the largest replica of each partition, of those brokers that answer."""
        sizes: dict[TopicPartition, int] = {}
        for rows in await asyncio.gather(*(self._sizes_on(broker) for broker in brokers)):
            for partition, size in rows:
                sizes[partition] = max(size, sizes.get(partition, 0))
        return sizes

    async def _sizes_on(self, broker: BrokerId) -> list[tuple[TopicPartition, int]]:
        from ottla.wire.generated.describe_log_dirs import DescribeLogDirsRequest

        try:
            response = await self._view.send(DescribeLogDirsRequest(topics=None), broker)
        except PeerError:
            return []
        return [
            (TopicPartition(topic.name, row.partition_index), row.partition_size)
            for directory in response.results
            for topic in directory.topics
            for row in topic.partitions
        ]

    async def topics(self) -> list[Topic]:
        """Every topic, by name."""
        return await Admin(self._view).list_topics()

    async def placed(self, alive: Collection[BrokerId]) -> list[Placed]:
        """Where every partition is and how large; one on its way is where it goes to."""
        sizes = await self.sizes(alive)
        going = {(row.topic, row.partition): row.removing for row in await self.reassignments()}
        return [
            Placed(
                topic.name,
                each.partition,
                tuple(
                    broker
                    for broker in each.replicas
                    if broker not in going.get((topic.name, each.partition), ())
                ),
                sizes.get(TopicPartition(topic.name, each.partition), 0),
            )
            for topic in await self.topics()
            for each in topic.partitions
        ]

    # Leaders

    async def elect(
        self, partitions: Sequence[TopicPartition] | None, *, unclean: bool = False
    ) -> dict[TopicPartition, ApiError | None]:
        """Elect preferred leaders, or with `unclean` any for partitions without; None: for all.

        The answer has what was asked about, or, of all, what changed or could not.
        """
        from ottla.wire.generated.elect_leaders import ElectLeadersRequest, TopicPartitions

        asked = None
        if partitions is not None:
            asked = [
                TopicPartitions(topic=topic, partitions=numbers)
                for topic, numbers in _by_topic(partitions).items()
            ]
        response = await self._view.send(
            ElectLeadersRequest(election_type=int(unclean), topic_partitions=asked)
        )
        check(response.error_code, about="election")
        return {
            TopicPartition(topic.topic, row.partition_id): error_of(
                row.error_code, row.error_message, about=f"{topic.topic}-{row.partition_id}"
            )
            for topic in response.replica_election_results
            for row in topic.partition_result
        }

    # Replicas

    async def reassign(self, targets: Mapping[TopicPartition, Sequence[BrokerId] | None]) -> None:
        """Begin to move partitions to these replicas; None goes back to those of before.

        Raises:
            ApiError: the first that was refused; the others are under way.
        """
        from ottla.wire.generated.alter_partition_reassignments import (
            AlterPartitionReassignmentsRequest,
            ReassignablePartition,
            ReassignableTopic,
        )

        topics = [
            ReassignableTopic(
                name=topic,
                partitions=[
                    ReassignablePartition(
                        partition_index=number,
                        replicas=_listed(targets[TopicPartition(topic, number)]),
                    )
                    for number in numbers
                ],
            )
            for topic, numbers in _by_topic(targets).items()
        ]
        response = await self._view.send(AlterPartitionReassignmentsRequest(topics=topics))
        check(response.error_code, response.error_message, about="reassignment")
        for row in response.responses:
            for each in row.partitions:
                about = f"{row.name}-{each.partition_index}"
                check(each.error_code, each.error_message, about=about)

    async def reassignments(self) -> list[Reassignment]:
        """What moves at the moment."""
        from ottla.wire.generated.list_partition_reassignments import (
            ListPartitionReassignmentsRequest,
        )

        response = await self._view.send(ListPartitionReassignmentsRequest(topics=None))
        check(response.error_code, response.error_message, about="reassignments")
        return [
            Reassignment(
                topic.name,
                row.partition_index,
                tuple(row.replicas),
                tuple(row.adding_replicas),
                tuple(row.removing_replicas),
            )
            for topic in response.topics
            for row in topic.partitions
        ]

    # Throttles (KIP-73): the names that Kafka's own tool uses, so that it may take them off, too

    async def throttle(self, moves: Sequence[Move], bytes_per_s: int) -> None:
        """Let what these moves copy take no more than this of each broker."""
        admin = Admin(self._view)
        for topic, configs in _throttled(moves).items():
            changes = [ConfigChange(ConfigOperation.SET, *row) for row in configs.items()]
            await admin.alter_configs(ResourceType.TOPIC, topic, changes)
        for broker in _involved(moves):
            changes = [ConfigChange(ConfigOperation.SET, name, str(bytes_per_s)) for name in RATES]
            await _unless_gone(admin.alter_configs(ResourceType.BROKER, str(broker), changes))

    async def unthrottle(self, moves: Sequence[Move]) -> None:
        admin = Admin(self._view)
        for topic in _throttled(moves):
            changes = [ConfigChange(ConfigOperation.DELETE, name, None) for name in THROTTLED]
            await admin.alter_configs(ResourceType.TOPIC, topic, changes)
        for broker in _involved(moves):
            changes = [ConfigChange(ConfigOperation.DELETE, name, None) for name in RATES]
            await _unless_gone(admin.alter_configs(ResourceType.BROKER, str(broker), changes))


async def _unless_gone(change: Any) -> None:
    try:
        await change
    except PeerError:
        pass  # a broker that does not live copies nothing
    except ApiError as error:
        if error.code is not ErrorCode.INVALID_REQUEST:
            raise


def _listed(replicas: Sequence[BrokerId] | None) -> list[BrokerId] | None:
    return None if replicas is None else list(replicas)


def _by_topic(partitions: Collection[tuple[TopicName, PartitionId]]) -> dict[TopicName, list[int]]:
    topics: dict[TopicName, list[int]] = {}
    for topic, number in sorted(partitions):
        topics.setdefault(topic, []).append(number)
    return topics


def _throttled(moves: Sequence[Move]) -> dict[TopicName, dict[str, str]]:
    """The settings of topics that name what is throttled: sources at leaders, targets at followers."""
    rows: dict[TopicName, tuple[list[str], list[str]]] = {}
    for move in moves:
        if move.added:
            leaders, followers = rows.setdefault(move.topic, ([], []))
            leaders += [f"{move.partition}:{broker}" for broker in move.before]
            followers += [f"{move.partition}:{broker}" for broker in move.added]
    return {
        topic: {THROTTLED[0]: ",".join(leaders), THROTTLED[1]: ",".join(followers)}
        for topic, (leaders, followers) in rows.items()
    }


def _involved(moves: Sequence[Move]) -> list[BrokerId]:
    return sorted({b for move in moves if move.added for b in (*move.before, *move.added)})


def _names(entry: ConfigEntry) -> set[str]:
    return {name.strip() for name in (entry.value or "").split(",")} - {""}
