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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from tools.cluster.cluster import Cluster
from tools.cluster.faults import Fault, possible
from tools.cluster.stage import Cycle, GaveUpError, Say, Stage

ROUND = 25
"""Cycles between two full comparisons."""

SETTINGS = {
    "replica.lag.time.max.ms": "5000",
    "log.segment.bytes": "1048576",
    "auto.create.topics.enable": "false",
}
"""A follower is given up after five seconds instead of thirty, for time's sake."""

SMALL_DISK = (3, 256 << 20)
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
    ),
    "follower_cut_s": (
        "follower cut from its leader",
        "leader to follower lost",
        "follower to leader lost",
    ),
    "etcd_leader_s": ("etcd leader killed",),
}
"""Of the table: faults whose times are comparable, because they end before they are healed."""


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
    repeated: int = 0
    """Records that came again to another member of a group."""
    commits_refused: Counter[str] = field(default_factory=Counter)
    """Of members of groups, by error; a later one was not."""
    kept: str = ""
    """Where logs and data are, after a violation."""

    def take(self, stage: Stage, name: str) -> None:
        """Add what is known of a stage, but for its cycles and what was read."""
        journal = stage.journal
        for why in stage.scene.replaced:
            stage.say(f"  a client that described nothing for long was replaced: {why}")
        self.clients_replaced += len(stage.scene.replaced)
        self.acknowledged += journal.acknowledged_count
        self.without_offset += len(journal.without_offset)
        self.wrong.update(journal.wrong)
        if journal.lines:
            for note in journal.notes:
                stage.say(f"  {note}")
        self.violations += [f"{name}: {line}" for line in journal.lines]

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


def cycle(stage: Stage, fault: Fault, lease_ms: int) -> Cycle:
    """Do one fault, hold it and heal it."""
    _rest(stage.chance.uniform(*CALM_S))
    hold = stage.chance.uniform(*fault.hold_s) + (lease_ms / 1000 if fault.beyond_lease else 0)
    with stage.disturbance(fault.kind):
        began = time.monotonic()
        did = fault.inject(stage.scene)
        stage.say(f"  {began:.3f} {did} for {hold:.1f} s")
        _rest(began + hold - time.monotonic())
        stage.look_for_the_dead()
        stage.scene.heal()
    return stage.cycles[-1]


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
        stage = Stage(
            cluster,
            f"faults-{number}",
            random.Random(f"{plan.seed}/{number}"),
            say,
            replicas=plan.replicas,
            records_per_s=plan.records_per_s,
        )
        if number == 1:
            kinds = [
                each for each in possible(stage.scene) if each.kind in plan.kinds or not plan.kinds
            ]
            waiting = schedule(kinds, plan.cycles, plan.seed)
        faults, waiting = waiting[:ROUND], waiting[ROUND:]
        say(f"round {number}: {len(outcome.cycles)} of {plan.cycles} cycles done")
        try:
            stage.create()
            with stage.load():
                for fault in faults:
                    outcome.cycles.append(cycle(stage, fault, plan.lease_ms))
            outcome.read += stage.compare()
            cluster.stop()
            if plan.replicas == plan.brokers:
                stage.compare_copies()
            if waiting and not stage.journal.lines:
                cluster.start()
                stage.delete()
        except GaveUpError:
            describe(cluster, say)
        except (RuntimeError, TimeoutError, KafkaException) as error:
            stage.journal.complain("stall", str(error))
            describe(cluster, say)
        outcome.take(stage, f"round {number}")


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
