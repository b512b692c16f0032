"""What a cluster must survive in one piece (`tools.cluster.shapes`), again and again.

Each round is one shape on a new topic, under load, with a group that reads along; afterwards
everything is read and compared, and the copies are. A cluster serves several rounds, unless the
shape changes its brokers.
"""

import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from tools.cluster.cluster import Cluster
from tools.cluster.shapes import BROKERS, DIRECTORIES, MEMBERS, SETTINGS, SPARE, Shape
from tools.cluster.stage import GaveUpError, Say, Stage
from tools.proof.cluster_faults import Outcome

ROUNDS_A_CLUSTER = 10


def made(
    home: Path, lease_ms: int, etcd_members: int = 1, environment: Mapping[str, str] | None = None
) -> Cluster:
    """A cluster for shapes, not started yet; broker 4 takes no part at first.

    Raises:
        NoNetworkError: namespaces cannot be made.
        EtcdNotFoundError: there is no etcd.
    """
    return Cluster(
        home,
        brokers=BROKERS,
        absent=(SPARE,),
        directories=DIRECTORIES,
        etcd_members=etcd_members,
        settings={"broker.session.timeout.ms": str(lease_ms), **SETTINGS},
        environment=environment,
    )


def play(
    cluster: Cluster, shape: Shape, topic: str, chance: random.Random, outcome: Outcome, say: Say
) -> None:
    """One round of a shape."""
    stage = Stage(
        cluster,
        topic,
        chance,
        say,
        configs=shape.configs,
        members=MEMBERS,
        partitions=shape.partitions,
    )
    try:
        stage.create()
        with stage.load():
            shape.play(stage)
        outcome.read += stage.compare()
        stage.compare_copies()
        stage.delete()
    except GaveUpError:
        pass
    except (RuntimeError, TimeoutError, KafkaException) as error:
        stage.journal.complain("stall", str(error))
    outcome.cycles += stage.cycles
    if stage.members is not None:
        outcome.repeated += stage.members.repeated
        outcome.commits_refused.update(stage.members.refused)
    outcome.take(stage, f"{shape.name}, {topic}")


def run(
    shape: Shape, rounds: int, seed: int, etcd_members: int, lease_ms: int, say: Say
) -> Outcome:
    """So many rounds; stop at the first with a violation, and keep its logs and data."""
    outcome = Outcome()
    rounds_a_cluster = 1 if shape.changes_brokers else ROUNDS_A_CLUSTER
    done = 0
    while done < rounds and not outcome.violations:
        home = Path(tempfile.mkdtemp(prefix="shapes-"))
        with made(home, lease_ms, etcd_members) as cluster:
            outcome.etcd = ".".join(map(str, cluster.etcd.binary.version))
            for _ in range(min(rounds_a_cluster, rounds - done)):
                done += 1
                say(f"{shape.name}: round {done} of {rounds}")
                chance = random.Random(f"{seed}/{done}")
                play(cluster, shape, f"shape-{done}", chance, outcome, say)
                if outcome.violations:
                    break
        if outcome.violations:
            outcome.kept = str(home)
            say(f"logs and data are kept in {home}")
        else:
            shutil.rmtree(home)
    return outcome
