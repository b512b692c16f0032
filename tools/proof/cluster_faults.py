"""A cluster under load, disturbed fault by fault, and compared with what its clients were told.

Idempotent producers with acks=all never stop; one reader reads all the time, another asks for high
watermarks. Each cycle does one fault, holds it, heals, and waits until every partition acknowledges
what was sent after that and every replica is in sync again. After some cycles (a round) the load
stops, everything is read from the start and compared, the brokers stop, and their copies are
compared byte by byte; then another round begins, on the same brokers, with another topic.
"""

import random
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from tools.cluster.cluster import Cluster
from tools.cluster.faults import Fault, possible
from tools.cluster.journal import Journal
from tools.cluster.load import IMPATIENT, PRODUCERS, Producers, Reader, Watcher, everything
from tools.cluster.replicas import differences
from tools.cluster.scene import Scene
from tools.cluster.silence import Silence
from tools.subject.wait import until

PARTITIONS = 6
ROUND = 25
"""Cycles between two full comparisons."""

SETTINGS = {
    "replica.lag.time.max.ms": "5000",
    "log.segment.bytes": "1048576",
    "auto.create.topics.enable": "false",
}
"""A follower is given up after five seconds instead of thirty, for time's sake."""

SMALL_DISK = (3, 256 << 20)
HEARD_S = 60.0
"""So soon after healing every partition acknowledges again (the design asks for 30 s)."""
WHOLE_S = 60.0
CALM_S = (0.5, 2.0)
"""Between two faults."""

COLUMNS = {
    "dead_broker_s": (
        "broker killed past its lease",
        "controller killed past its lease",
        "broker stopped past its lease",
        "controller stopped past its lease",
        "broker unplugged",
        "broker cut from etcd",
        "broker to etcd lost",
        "etcd to broker lost",
    ),
    "follower_cut_s": (
        "follower cut from its leader",
        "leader to follower lost",
        "follower to leader lost",
    ),
    "etcd_leader_s": ("etcd leader killed",),
}
"""Of the table: faults whose times are comparable, because they end before they are healed."""

Say = Callable[[str], None]


class Plan(NamedTuple):
    """How much, and with what."""

    cycles: int
    seed: int
    replicas: int = 3
    brokers: int = 3
    etcd_members: int = 1
    records_per_s: float = 300.0
    network: bool = True
    lease_ms: int = 4_000
    """`broker.session.timeout.ms`; its default is this, too."""
    kinds: tuple[str, ...] = ()
    """Only these; all by default."""
    environment: Mapping[str, str] = {}


class Cycle(NamedTuple):
    """What one fault did to the clients."""

    kind: str
    silent_s: float
    """The longest time that one of the partitions acknowledged nothing, from the fault on."""
    heard_s: float
    """From healing until every partition had acknowledged what was sent after it."""
    whole_s: float
    """From healing until every replica was in sync."""


@dataclass
class Outcome:
    """All rounds."""

    etcd: str = ""
    cycles: list[Cycle] = field(default_factory=list)
    acknowledged: int = 0
    read: int = 0
    without_offset: int = 0
    clients_replaced: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    kept: str = ""
    """Where logs and data are, after a violation."""

    def unavailability(self) -> dict[str, tuple[int, float, float]]:
        """By kind of fault: how many, the median and the worst of `silent_s`."""
        kinds: dict[str, list[float]] = {}
        for cycle in self.cycles:
            kinds.setdefault(cycle.kind, []).append(cycle.silent_s)
        return {
            kind: (len(each), round(statistics.median(each), 2), round(max(each), 2))
            for kind, each in sorted(kinds.items())
        }

    def summary(self) -> dict[str, tuple[float, float]]:
        """Median and worst of what the table has a column for; seconds without an acknowledgement."""
        columns = {
            name: [cycle.silent_s for cycle in self.cycles if cycle.kind in kinds]
            for name, kinds in COLUMNS.items()
        }
        return {
            name: (round(statistics.median(each), 2), round(max(each), 2)) if each else (0.0, 0.0)
            for name, each in columns.items()
        }


class GaveUpError(Exception):
    """The cluster did not come back; the journal has why."""


class Round:
    """One topic, its load, and the cycles that are run meanwhile."""

    def __init__(self, cluster: Cluster, plan: Plan, number: int, say: Say) -> None:
        self._cluster = cluster
        self._plan = plan
        self._say = say
        self.topic = f"faults-{number}"
        self.chance = random.Random(f"{plan.seed}/{number}")
        self.journal = Journal(PARTITIONS, PRODUCERS)
        self._silence = Silence(PARTITIONS)
        self._admin = AdminClient({"bootstrap.servers": cluster.bootstrap, **IMPATIENT})
        self.scene = Scene(cluster, self.topic, plan.replicas, self.chance)

    def create(self) -> None:
        """Make the topic, and wait until it is led and in sync."""
        configs = {"min.insync.replicas": str(min(2, self._plan.replicas))}
        new = NewTopic(self.topic, PARTITIONS, self._plan.replicas, config=configs)
        self._admin.create_topics([new], request_timeout=30)[self.topic].result(60)
        self.scene.await_whole(WHOLE_S)

    def run(self, faults: list[Fault]) -> Iterator[Cycle]:
        """Disturb the cluster, one fault after the other, under load."""
        bootstrap = self._cluster.bootstrap
        watcher = Watcher(bootstrap, self.topic, PARTITIONS, self.journal)
        reader = Reader(bootstrap, self.topic, PARTITIONS, self.journal)
        load = Producers(
            *(bootstrap, self.topic, PARTITIONS, self._plan.records_per_s),
            *(self.journal, self._silence),
        )
        try:
            self._await_heard(time.monotonic(), "at the start")
            for fault in faults:
                yield self._cycle(fault)
            load.stop()
            reader.await_end({n: self.journal.end(n) for n in range(PARTITIONS)})
        finally:
            load.stop(patience_s=0)
            watcher.stop()
            reader.stop()

    def _cycle(self, fault: Fault) -> Cycle:
        scene, silence = self.scene, self._silence
        _rest(self.chance.uniform(*CALM_S))
        hold = self.chance.uniform(*fault.hold_s) + (
            self._plan.lease_ms / 1000 if fault.beyond_lease else 0
        )
        began = time.monotonic()
        silence.begin(began)
        did = fault.inject(scene)
        self._say(f"  {began:.3f} {did} for {hold:.1f} s")
        _rest(began + hold - time.monotonic())
        self._look_for_the_dead()
        scene.heal()
        healed = time.monotonic()
        self._await_heard(healed, did)
        heard = time.monotonic()
        self._await_whole(did)
        whole = time.monotonic()
        cycle = Cycle(
            fault.kind,
            round(max(silence.longest(whole)), 3),
            round(heard - healed, 3),
            round(whole - healed, 3),
        )
        self._say(
            f"  {whole:.3f} {fault.kind}: silent {cycle.silent_s:.2f} s, "
            f"heard {cycle.heard_s:.2f} s and whole {cycle.whole_s:.2f} s after healing; "
            f"{self.journal.acknowledged_count} acknowledged"
        )
        return cycle

    def _look_for_the_dead(self) -> None:
        for broker in self._cluster.brokers.values():
            if not broker.running() and broker.number not in self.scene.ended:
                self.journal.complain("stall", f"{broker.name} ended by itself")

    def _await_heard(self, since: float, what: str) -> None:
        try:
            until(
                "every partition acknowledges",
                lambda: all(self._silence.heard_since(since)),
                HEARD_S,
            )
        except TimeoutError:
            heard = self._silence.heard_since(since)
            silent = [number for number, is_heard in enumerate(heard) if not is_heard]
            self._give_up(f"{what}: partitions {silent} silent {HEARD_S:g} s after healing")

    def _await_whole(self, what: str) -> None:
        try:
            self.scene.await_whole(WHOLE_S)
        except TimeoutError as error:
            self._give_up(f"{what}: {error}")

    def _give_up(self, line: str) -> None:
        self.journal.complain("stall", f"{line} at {time.monotonic():.3f}")
        raise GaveUpError

    def compare(self) -> int:
        """Read everything and compare; then stop the brokers and compare their copies.

        Returns:
            How many records there are.
        """
        try:
            read = everything(self._cluster.bootstrap, self.topic, PARTITIONS)
        except TimeoutError as error:
            self.journal.complain("stall", str(error))
            raise GaveUpError from error
        self.journal.conclude(read)
        self._cluster.stop()
        if self._plan.replicas == len(self._cluster.brokers):
            for line in differences(self._cluster, self.topic, PARTITIONS):
                self.journal.complain("replicas", line)
        return sum(map(len, read.values()))

    def delete(self) -> None:
        """Make room for the next."""
        try:
            self._admin.delete_topics([self.topic], request_timeout=30)[self.topic].result(60)
        except KafkaException as error:
            self._say(f"  {self.topic} was not deleted: {error}")


def schedule(faults: list[Fault], cycles: int, seed: int) -> list[Fault]:
    """Every kind as often as every other, in an order of chance."""
    chance = random.Random(seed)
    order: list[Fault] = []
    while len(order) < cycles:
        order += chance.sample(faults, len(faults))
    return order[:cycles]


def run(plan: Plan, say: Say) -> Outcome:
    """Start a cluster and disturb it; stop at the end of the first round with a violation."""
    outcome = Outcome()
    home = Path(tempfile.mkdtemp(prefix="cluster-"))
    began = time.monotonic()
    with (home / "events.log").open("a") as events:

        def tell(line: str) -> None:
            print(f"{time.strftime('%H:%M:%S')} {line}", file=events, flush=True)
            say(line)

        with Cluster(
            home,
            brokers=plan.brokers,
            etcd_members=plan.etcd_members,
            network=plan.network,
            settings={"broker.session.timeout.ms": str(plan.lease_ms), **SETTINGS},
            environment=plan.environment,
            small_disk=SMALL_DISK,
        ) as cluster:
            outcome.etcd = ".".join(map(str, cluster.etcd.binary.version))
            _run_rounds(cluster, plan, outcome, tell)
        for line in outcome.violations:
            print(line, file=events)
    if outcome.violations:
        outcome.kept = str(home)
        say(f"logs and data are kept in {home}")
    else:
        shutil.rmtree(home)
    say(f"{len(outcome.cycles)} cycles in {time.monotonic() - began:.0f} s")
    return outcome


def _run_rounds(cluster: Cluster, plan: Plan, outcome: Outcome, say: Say) -> None:
    number = 0
    waiting: list[Fault] = []
    while len(outcome.cycles) < plan.cycles and not outcome.violations:
        number += 1
        this = Round(cluster, plan, number, say)
        if number == 1:
            kinds = [
                each for each in possible(this.scene) if each.kind in plan.kinds or not plan.kinds
            ]
            waiting = schedule(kinds, plan.cycles, plan.seed)
        faults, waiting = waiting[:ROUND], waiting[ROUND:]
        say(f"round {number}: {len(outcome.cycles)} of {plan.cycles} cycles done")
        try:
            this.create()
            outcome.cycles.extend(this.run(faults))
            outcome.read += this.compare()
            if waiting and not this.journal.lines:
                cluster.start()
                this.delete()
        except GaveUpError:
            describe(cluster, say)
        except (RuntimeError, TimeoutError, KafkaException) as error:
            this.journal.complain("stall", str(error))
            describe(cluster, say)
        journal = this.journal
        for why in this.scene.replaced:
            say(f"  a client that described nothing for long was replaced: {why}")
        outcome.clients_replaced += len(this.scene.replaced)
        outcome.acknowledged += journal.acknowledged_count
        outcome.without_offset += len(journal.without_offset)
        outcome.wrong.update(journal.wrong)
        outcome.violations += [f"round {number}: {line}" for line in journal.lines]


def describe(cluster: Cluster, say: Say) -> None:
    """Keep what etcd has, for whoever looks into it."""
    try:
        said = cluster.etcd.control("get", "--prefix", "")
    except RuntimeError as error:
        said = str(error)
    (cluster.home / "etcd.txt").write_text(said)
    say("what etcd has is kept in etcd.txt")


def _rest(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)
