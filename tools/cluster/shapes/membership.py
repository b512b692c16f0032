"""Replicas and brokers that come and go: moved with bounces, a broker added, another taken away."""

import asyncio
import json
import os
import subprocess

from tools.cluster.stage import Stage
from tools.subject.ottla import OTTLA, SOURCES
from tools.subject.wait import until

from ottla.client.cluster_view import ClusterView, parse_brokers
from ottla.client.operations import Operations
from ottla.client.sockets import Sockets
from ottla.model.ids import TopicPartition

SLOW_KBIT_PER_S = 500
"""So that the new replicas lack records for a while."""
MOVED_S = 60.0
COMMAND_S = 120.0


def reassignment(stage: Stage) -> None:
    """Move every partition to three brokers drawn by chance, of four, while two are bounced."""
    network = stage.cluster.network
    assert network is not None
    stage.cluster.admit(4)
    numbers = [broker.number for broker in stage.cluster.present]
    targets = {n: stage.chance.sample(numbers, stage.replicas) for n in range(stage.partitions)}
    with stage.disturbance("moved, and two bounced"):
        network.slow(stage.cluster.brokers[4].machine, SLOW_KBIT_PER_S)
        asyncio.run(_reassign(stage, targets))
        for broker in stage.chance.sample(stage.cluster.present, 2):
            broker.kill9()
            broker.start()
        network.heal()
        until("everything has moved", lambda: stage.scene.placed() == targets, MOVED_S)


def broker_replaced(stage: Stage) -> None:
    """Add a broker and balance; then drain another, stop it and remove it."""
    cluster = stage.cluster
    before = [broker.number for broker in cluster.present]
    with stage.disturbance("broker added"):
        cluster.admit(4)
    with stage.disturbance("balanced"):
        said = ottla(stage, "cluster", "balance")
        if "partitions moved" not in said.stderr:
            stage.journal.complain("stall", f"balance said nothing of its progress: {said.stderr}")
        if not any(4 in replicas for replicas in stage.scene.placed().values()):
            stage.journal.complain("stall", "balance moved nothing to the broker that was added")
    number = stage.chance.choice(before)
    with stage.disturbance("drained"):
        ottla(stage, "broker", "drain", str(number))
        if any(number in replicas for replicas in stage.scene.placed().values()):
            stage.journal.complain("stall", f"broker {number} was drained, and has replicas")
    with stage.disturbance("removed"):
        cluster.dismiss(number)
        ottla(stage, "broker", "remove", str(number))
        known = json.loads(ottla(stage, "broker", "list", "--format", "json").stdout)
        if number in [row["broker"] for row in known]:
            stage.journal.complain("stall", f"broker {number} was removed, and is known")


def ottla(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run our command against the cluster.

    Raises:
        RuntimeError: it failed; the message has what it said.
    """
    done = subprocess.run(
        [*OTTLA, *arguments, "-b", stage.cluster.bootstrap],
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ottla {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done


async def _reassign(stage: Stage, targets: dict[int, list[int]]) -> None:
    async with ClusterView(Sockets(), parse_brokers(stage.cluster.bootstrap)) as view:
        await Operations(view).reassign(
            {TopicPartition(stage.topic, number): replicas for number, replicas in targets.items()}
        )
