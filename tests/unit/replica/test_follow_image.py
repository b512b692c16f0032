"""What an image makes of the replicas of one broker."""

from collections.abc import Mapping

from tests.unit.storage.parts import make_log

from ottla.metadata.changes import Delta
from ottla.metadata.image import Image, PartitionImage, TopicImage
from ottla.model.errors import ApiError
from ottla.model.ids import PartitionId, TopicName, Uuid
from ottla.model.steps import at_once
from ottla.replica.follow_image import ReplicaFollower
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.storage.log import Log

US, OTHER = 1, 2
OLD, NEW = b"o" * 16, b"n" * 16


def state(leader: int = US, epoch: int = 0, replicas: tuple[int, ...] = (US,)) -> PartitionImage:
    return PartitionImage(leader, epoch, 0, replicas, replicas)


def image(*topics: TopicImage) -> Image:
    return Image(
        topics={topic.name: topic for topic in topics},
        topic_names={topic.topic_id: topic.name for topic in topics},
    )


def topic(
    *partitions: PartitionImage, topic_id: Uuid = OLD, configs: Mapping[str, str] | None = None
) -> TopicImage:
    return TopicImage("t", topic_id, partitions, configs or {})


class World:
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.offline: set[PartitionId] = set()
        self.replicas = Replicas()
        self.follower = ReplicaFollower(
            US,
            self.replicas,
            open_log=self._open,
            drop_log=lambda log: self.steps.append("drop"),
            configure=self._configure,
            request_flush=lambda partition: None,
        )

    def _open(self, topic: TopicImage, number: PartitionId) -> Log | None:
        self.steps.append(f"open {number}")
        return None if number in self.offline else make_log()

    def _configure(self, partition: Partition, topic: TopicImage) -> None:
        self.steps.append(f"configure {partition.partition} {dict(topic.configs)}")

    def follow(self, image: Image, *names: TopicName) -> list[str]:
        """Follow a change of these topics, and return what was done."""
        self.steps.clear()
        delta = Delta(frozenset(names), frozenset(), frozenset(), False)
        at_once(self.follower.follow(image, delta))
        return list(self.steps)

    def led(self) -> dict[PartitionId, int]:
        """Epochs of what this broker leads."""
        return {p.partition: p.leader_epoch for p in self.replicas if p.is_leader}


def test_a_new_topic_is_opened_configured_and_led() -> None:
    world = World()
    done = world.follow(image(topic(state(), state(epoch=3))), "t")
    assert done == ["open 0", "configure 0 {}", "open 1", "configure 1 {}"]
    assert world.led() == {0: 0, 1: 3}


def test_partitions_of_others_are_left_alone() -> None:
    world = World()
    world.follow(image(topic(state(), state(OTHER, replicas=(OTHER,)))), "t")
    assert [partition.partition for partition in world.replicas] == [0]


def test_another_leader_ends_ours() -> None:
    world = World()
    world.follow(image(topic(state(replicas=(US, OTHER)))), "t")
    world.follow(image(topic(state(OTHER, 1, (US, OTHER)))), "t")
    assert (world.led(), len(world.replicas)) == ({}, 1)
    world.follow(image(topic(state(US, 2, (US, OTHER)))), "t")
    assert world.led() == {0: 2}


def test_changed_settings_reach_open_partitions() -> None:
    world = World()
    world.follow(image(topic(state())), "t")
    done = world.follow(image(topic(state(), configs={"retention.ms": "5"})), "t")
    assert done == ["configure 0 {'retention.ms': '5'}"]


def test_a_deleted_topic_is_dropped_and_who_waits_is_told() -> None:
    world = World()
    world.follow(image(topic(state())), "t")
    (partition,) = world.replicas
    told: list[ApiError | None] = []
    partition.when_committed(1, told.append)
    assert world.follow(image(), "t") == ["drop"]
    assert len(told) == 1
    assert told[0] is not None
    assert len(world.replicas) == 0


def test_a_topic_made_again_is_another() -> None:
    world = World()
    world.follow(image(topic(state(epoch=9))), "t")
    done = world.follow(image(topic(state(), topic_id=NEW)), "t")
    assert done == ["drop", "open 0", "configure 0 {}"]
    assert world.led() == {0: 0}
    assert world.replicas.find(OLD, 0) is None


def test_a_partition_whose_directory_is_offline_is_not_there() -> None:
    world = World()
    world.offline = {0}
    world.follow(image(topic(state(), state())), "t")
    assert world.led() == {1: 0}
    world.offline = set()
    world.follow(image(topic(state(), state())), "t")
    assert world.led() == {0: 0, 1: 0}, "it is tried again with the next change of the topic"


def test_a_log_of_an_offline_directory_is_not_led_again() -> None:
    """Not by a change of its topic's settings, and not by an epoch that names this broker."""
    world = World()
    world.follow(image(topic(state())), "t")
    (partition,) = world.replicas
    partition.log.directory.go_offline("for the test")
    world.follow(image(topic(state(), configs={"retention.ms": "1"})), "t")
    assert world.led() == {}
    world.follow(image(topic(state(epoch=1))), "t")
    assert world.led() == {}
