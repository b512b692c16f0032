"""Three brokers and a real etcd as processes: killed, stopped past the lease, cut off."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from tests.support.etcd import binary_or_skip
from tests.support.raw_client import ConnectionClosedError, RawClient
from tests.support.witness import PRODUCE_VERSION, batch, produce_request
from tools.cluster.cluster import Broker, Cluster
from tools.cluster.network import NoNetworkError
from tools.cluster.replicas import content, differences
from tools.cluster.scene import Scene
from tools.proof import cluster_faults
from tools.subject.wait import until

from ottla.client.sockets import Sockets
from ottla.record.batch import batches
from ottla.record.records import read_records

TOPIC = "rides"
LEASE_MS = 2_000
"""The shortest that etcd grants with its own settings."""
NONE = 0


@pytest.fixture(autouse=True, scope="module")
def _needs_etcd() -> None:
    binary_or_skip()


def test_a_fault_loses_and_repeats_nothing() -> None:
    outcome = cluster_faults.run(
        cluster_faults.Plan(
            cycles=1,
            seed=1,
            lease_ms=LEASE_MS,
            network=False,
            kinds=("broker killed",),
        ),
        print,
    )
    assert outcome.violations == []
    assert len(outcome.cycles) == 1
    assert outcome.acknowledged > 0


def test_a_leader_stopped_past_its_lease_acknowledges_nothing_truncates_and_follows(
    tmp_path: Path,
) -> None:
    try:
        cluster = Cluster(tmp_path, settings={"broker.session.timeout.ms": str(LEASE_MS)})
    except NoNetworkError as error:
        pytest.skip(str(error))
    with cluster:
        scene = Scene(cluster, TOPIC, 3, random.Random(0))
        create_topic(cluster)
        old = cluster.brokers[scene.await_whole(60).leaders[0]]
        asyncio.run(asyncio.wait_for(deposed(cluster, scene, old), 60))
        scene.await_whole(60)
        cluster.stop()
        assert list(differences(cluster, TOPIC, 1)) == []
        assert values(old) == [b"before", b"after"]


async def deposed(cluster: Cluster, scene: Scene, old: Broker) -> None:
    """Stop a leader that has records nobody else has, have another elected, and resume it."""
    assert cluster.network is not None
    pending, late = await connected(old), await connected(old)
    assert await produce(pending, b"before") == NONE
    for follower in scene.others(old):
        cluster.network.cut(old.machine, follower.machine)
    assert await produce(pending, b"alone", acks=1) == NONE
    pending.send(produce_request(TOPIC, batch(b"unanswered")), PRODUCE_VERSION)
    old.pause()
    late.send(produce_request(TOPIC, batch(b"late")), PRODUCE_VERSION)
    new = await asyncio.to_thread(until, "another leads", another_leader(scene, old))
    client = await connected(cluster.brokers[new])
    assert await produce(client, b"after") == NONE
    cluster.network.heal()
    old.resume()
    for deposed in (pending, late):
        with contextlib.suppress(ConnectionClosedError):
            assert answered(await deposed.receive()) != NONE
    for each in (pending, late, client):
        each.close()


def another_leader(scene: Scene, old: Broker) -> Callable[[], int]:
    """Ask who leads: 0 as long as it is the old one, or nobody."""

    def ask() -> int:
        leader = scene.shape().leaders[0]
        return leader if leader not in (old.number, -1) else 0

    return ask


async def connected(broker: Broker) -> RawClient:
    return await RawClient.connect(Sockets(), broker.place.host, broker.port)


async def produce(client: RawClient, value: bytes, acks: int = -1) -> int:
    return answered(
        await client.call(produce_request(TOPIC, batch(value), acks=acks), PRODUCE_VERSION)
    )


def answered(response: object) -> int:
    """The one error code of a produce response."""
    code: int = response.responses[0].partition_responses[0].error_code  # type: ignore[attr-defined]
    return code


def create_topic(cluster: Cluster) -> None:
    config = {"min.insync.replicas": "2", "retention.ms": "-1"}
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1, 3, config=config)])[TOPIC].result(60)


def values(broker: Broker) -> list[bytes]:
    """What a broker that has stopped has in partition 0."""
    stored = content(broker.disk / "data" / f"{TOPIC}-0")
    found = []
    position = 0
    for header in batches(stored):
        whole = memoryview(stored)[position : position + header.size]
        found += [bytes(record.value or b"") for record in read_records(whole)]
        position += header.size
    return found
