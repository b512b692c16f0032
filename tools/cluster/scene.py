"""A running cluster under load, seen from outside: who leads, who decides, what is in sync."""

import os
import random
import time
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata
from tools.cluster.cluster import Broker, Cluster
from tools.cluster.load import IMPATIENT
from tools.subject.wait import until

ANSWERED_S = 60.0
REPLACED_S = 20.0
CHUNK_BYTES = 1 << 20


class Shape(NamedTuple):
    """Of the topic, as a broker describes it."""

    leaders: dict[int, int]
    """partition -> broker, -1 for none."""
    in_sync: dict[int, tuple[int, ...]]
    controller: int
    brokers: frozenset[int]
    """Who lives."""

    def is_whole(self, brokers: int, replicas: int) -> bool:
        """Whether everybody lives, and everything is led and in sync."""
        return (
            len(self.brokers) == brokers
            and all(leader in self.brokers for leader in self.leaders.values())
            and all(len(isr) == replicas for isr in self.in_sync.values())
        )


class Scene:
    """Where faults happen. What a fault did is undone by `heal`, whatever it was."""

    def __init__(self, cluster: Cluster, topic: str, replicas: int, chance: random.Random) -> None:
        self.cluster = cluster
        self.topic = topic
        self.replicas = replicas
        self.chance = chance
        self.ended: set[int] = set()
        """Brokers that were killed or stopped on purpose, and do not run."""
        self._filled: set[int] = set()
        self._why = ""
        """Why the topic could not be described last."""
        self._answered_at = time.monotonic()
        self.replaced: list[str] = []
        """Clients that described nothing for a while, and why; another one asks then."""
        self._admin = self._client()

    def _client(self) -> AdminClient:
        self._answered_at = time.monotonic()
        return AdminClient({"bootstrap.servers": self.cluster.bootstrap, **IMPATIENT})

    def shape(self) -> Shape:
        """What the cluster says of itself now, asked until somebody answers."""
        shape = until("a broker describes the topic", self._shape, ANSWERED_S)
        assert shape is not None
        return shape

    def _shape(self) -> Shape | None:
        """What somebody says; a client that gets no answer for long may be to blame itself."""
        shape = self._described()
        if shape is not None:
            self._answered_at = time.monotonic()
        elif time.monotonic() - self._answered_at > REPLACED_S:
            self.replaced.append(self._why)
            self._admin = self._client()
        return shape

    def placed(self) -> dict[int, list[int]]:
        """Where each partition is, in the order of preference; nothing while nobody says so."""
        said = self._said()
        partitions = said.topics[self.topic].partitions if said is not None else {}
        return {number: list(each.replicas) for number, each in partitions.items()}

    def _said(self) -> ClusterMetadata | None:
        try:
            said = self._admin.list_topics(self.topic, timeout=3.0)
        except KafkaException as error:
            self._why = str(error)
            return None
        topic = said.topics[self.topic]
        if not topic.partitions:
            self._why = f"brokers {sorted(said.brokers)}, {self.topic}: {topic.error}"
            return None
        return said

    def _described(self) -> Shape | None:
        said = self._said()
        if said is None:
            return None
        partitions = said.topics[self.topic].partitions
        return Shape(
            {number: each.leader for number, each in partitions.items()},
            {number: tuple(each.isrs) for number, each in partitions.items()},
            said.controller_id,
            frozenset(said.brokers),
        )

    def await_whole(self, seconds: float) -> Shape:
        """Wait until everybody lives and everything is led and in sync.

        Raises:
            TimeoutError: it did not come to that; the message has what there was.
        """
        last: list[Shape | None] = []

        def whole() -> Shape | None:
            shape = self._shape()
            last[:] = [shape]
            if shape is not None and shape.is_whole(len(self.cluster.present), self.replicas):
                return shape
            return None

        try:
            shape = until("the cluster is whole", whole, seconds, every=0.1)
        except TimeoutError:
            said = last[0] or self._why
            raise TimeoutError(f"not whole within {seconds:g} s: {said}") from None
        assert shape is not None
        return shape

    def leader(self) -> Broker:
        """The leader of a partition drawn by chance."""
        leaders = [n for n in self.shape().leaders.values() if n in self.cluster.brokers]
        return self.cluster.brokers[self.chance.choice(leaders)]

    def leader_of(self, partition: int) -> Broker:
        """The leader of one partition, as soon as it has one."""

        def ask() -> Broker | None:
            return self.cluster.brokers.get(self.shape().leaders[partition])

        leader = until(f"partition {partition} is led", ask, ANSWERED_S)
        assert leader is not None
        return leader

    def controller(self) -> Broker:
        """The broker that decides, or any if none does."""
        number = self.shape().controller
        return self.cluster.brokers.get(number) or self.any_broker()

    def any_broker(self) -> Broker:
        return self.chance.choice(self.cluster.present)

    def others(self, broker: Broker) -> list[Broker]:
        """All but one, in an order of chance."""
        others = [each for each in self.cluster.present if each is not broker]
        self.chance.shuffle(others)
        return others

    def kill(self, broker: Broker) -> None:
        self.ended.add(broker.number)
        broker.kill9()

    def fill_disk(self, broker: Broker) -> None:
        """Leave no room on a broker's small disk."""
        self._filled.add(broker.number)
        with (broker.disk / "ballast").open("ab") as file:
            size = CHUNK_BYTES
            while size >= 1:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                except OSError:
                    size //= 16

    def heal(self) -> None:
        """Undo everything; who was killed runs again."""
        for number in self._filled:
            (self.cluster.brokers[number].disk / "ballast").unlink()
        self._filled.clear()
        self.cluster.heal()
        self.ended.clear()
