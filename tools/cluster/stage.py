"""A topic of a cluster under load: disturbances are measured, and what its clients were told compared.

Idempotent producers with acks=all never stop; one reader reads all the time, another asks for high
watermarks, and a group may read, too.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from tools.cluster.cluster import Cluster
from tools.cluster.group import Members
from tools.cluster.journal import Journal
from tools.cluster.load import IMPATIENT, PRODUCERS, Producers, Reader, Watcher, everything
from tools.cluster.replicas import differences
from tools.cluster.scene import Scene
from tools.cluster.silence import Silence
from tools.subject.wait import until

PARTITIONS = 6
HEARD_S = 60.0
"""So soon after healing every partition acknowledges again (the design asks for 30 s)."""
WHOLE_S = 60.0
ALIKE_S = 20.0

Say = Callable[[str], None]


class Cycle(NamedTuple):
    """What one disturbance did to the clients."""

    kind: str
    silent_s: float
    """The longest time that one of the partitions acknowledged nothing, from its begin on."""
    heard_s: float
    """From its end until every partition had acknowledged what was sent after it."""
    whole_s: float
    """From its end until every replica was in sync."""


class GaveUpError(Exception):
    """The cluster did not come back; the journal has why."""


class Stage:
    """One topic, and what is known of it."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        chance: random.Random,
        say: Say,
        *,
        partitions: int = PARTITIONS,
        replicas: int = 3,
        records_per_s: float = 300.0,
        configs: Mapping[str, str] | None = None,
        members: int = 0,
    ) -> None:
        """`configs` are the topic's; so many `members` of a group read it."""
        self.cluster = cluster
        self.topic = topic
        self.chance = chance
        self.say = say
        self.partitions = partitions
        self.replicas = replicas
        self.cycles: list[Cycle] = []
        self.journal = Journal(self.partitions, PRODUCERS)
        self.scene = Scene(cluster, topic, replicas, chance)
        self.members: Members | None = None
        self._member_count = members
        self._records_per_s = records_per_s
        self._configs = {"min.insync.replicas": str(min(2, replicas)), **(configs or {})}
        self._silence = Silence(self.partitions)
        self._admin = AdminClient({"bootstrap.servers": cluster.bootstrap, **IMPATIENT})

    def create(self) -> None:
        """Make the topic, and wait until it is led and in sync."""
        new = NewTopic(self.topic, self.partitions, self.replicas, config=dict(self._configs))
        self._admin.create_topics([new], request_timeout=30)[self.topic].result(60)
        self.scene.await_whole(WHOLE_S)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Write and read meanwhile; in the end all is answered, and read."""
        at = (self.cluster.bootstrap, self.topic, self.partitions)
        watcher = Watcher(*at, self.journal)
        reader = Reader(*at, self.journal)
        if self._member_count:
            self.members = Members(*at, self._member_count, self.journal)
        load = Producers(*at, self._records_per_s, self.journal, self._silence)
        try:
            self.await_heard("at the start")
            yield
            load.stop()
            ends = {number: self.journal.end(number) for number in range(self.partitions)}
            reader.await_end(ends)
            if self.members is not None:
                self.members.await_end(ends)
        finally:
            load.stop(patience_s=0)
            watcher.stop()
            reader.stop()
            if self.members is not None:
                self.members.stop()

    @contextmanager
    def disturbance(self, kind: str) -> Iterator[None]:
        """What is done within is a disturbance; afterwards all runs, and must be whole again.

        Raises:
            GaveUpError: it is not.
        """
        began = time.monotonic()
        self._silence.begin(began)
        yield
        self.look_for_the_dead()
        over = time.monotonic()
        self.await_heard(kind)
        heard = time.monotonic()
        self._await_whole(kind)
        whole = time.monotonic()
        cycle = Cycle(
            kind,
            round(max(self._silence.longest(whole)), 3),
            round(heard - over, 3),
            round(whole - over, 3),
        )
        self.cycles.append(cycle)
        self.say(
            f"  {whole:.3f} {kind}: silent {cycle.silent_s:.2f} s, "
            f"heard {cycle.heard_s:.2f} s and whole {cycle.whole_s:.2f} s after healing; "
            f"{self.journal.acknowledged_count} acknowledged"
        )

    def look_for_the_dead(self) -> None:
        """Complain of every broker that does not run, and was not made to end."""
        for broker in self.cluster.present:
            if not broker.running() and broker.number not in self.scene.ended:
                self.journal.complain("stall", f"{broker.name} ended by itself")

    def await_heard(self, what: str) -> None:
        """Wait until every partition acknowledges what is sent from now on."""
        since = time.monotonic()
        try:
            until(
                "every partition acknowledges",
                lambda: all(self._silence.heard_since(since)),
                HEARD_S,
            )
        except TimeoutError:
            heard = self._silence.heard_since(since)
            silent = [number for number, is_heard in enumerate(heard) if not is_heard]
            self.give_up(f"{what}: partitions {silent} silent {HEARD_S:g} s after healing")

    def _await_whole(self, what: str) -> None:
        try:
            self.scene.await_whole(WHOLE_S)
        except TimeoutError as error:
            self.give_up(f"{what}: {error}")

    def give_up(self, line: str) -> None:
        """Complain of a stall, and end the stage.

        Raises:
            GaveUpError: always.
        """
        self.journal.complain("stall", f"{line} at {time.monotonic():.3f}")
        raise GaveUpError

    def compare(self) -> int:
        """Read everything, and compare it with what clients were told.

        Returns:
            How many records there are.
        """
        try:
            read = everything(self.cluster.bootstrap, self.topic, self.partitions)
        except TimeoutError as error:
            self.journal.complain("stall", str(error))
            raise GaveUpError from error
        self.journal.conclude(read)
        return sum(map(len, read.values()))

    def compare_copies(self) -> None:
        """Compare the copies byte by byte: brokers that run still may be about to write."""

        def different() -> list[str]:
            return list(differences(self.cluster, self.topic, self.partitions, self.replicas))

        try:
            until("the copies are alike", lambda: not different(), ALIKE_S)
        except TimeoutError:
            for line in different():
                self.journal.complain("replicas", line)

    def delete(self) -> None:
        """Make room for the next."""
        try:
            self._admin.delete_topics([self.topic], request_timeout=30)[self.topic].result(60)
        except KafkaException as error:
            self.say(f"  {self.topic} was not deleted: {error}")
