"""Several brokers inside a test, which come and go while their clients go on."""

import asyncio
import os

import pytest

from ottla.client.cluster_view import ClusterView, parse_brokers
from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from ottla.client.sockets import Sockets
from ottla.config.key import ConfigError
from ottla.model.ids import TopicPartition
from ottla.testing.embedded_cluster import EmbeddedCluster

DURABLE = {"min.insync.replicas": "2"}


def view(cluster: EmbeddedCluster) -> ClusterView:
    return ClusterView(Sockets(), parse_brokers(cluster.bootstrap), client_id="test")


def test_what_was_acknowledged_outlives_any_one_broker() -> None:
    async def life() -> None:
        async with EmbeddedCluster(settings=DURABLE, topics={"rides": 1}) as cluster:
            async with view(cluster) as seen, Producer(seen) as producer:
                for n in range(6):
                    await producer.send("rides", b"%d" % n, partition=0)
                    leader = await asyncio.to_thread(cluster.leader, "rides")
                    await asyncio.to_thread((cluster.kill, cluster.stop)[n % 2], leader)
                    assert leader not in cluster.running
                    await asyncio.to_thread(cluster.restart, leader)
                    await asyncio.to_thread(cluster.wait_in_sync)
            assert await asyncio.to_thread(cluster.in_sync, "rides") == [1, 2, 3]
            async with view(cluster) as seen:
                consumer = Consumer(seen)
                consumer.assign({TopicPartition("rides", 0): 0})
                found: list[bytes | None] = []
                while len(found) < 6:
                    found += [one.value for row in await consumer.poll() for one in row.records]
            assert found == [b"%d" % n for n in range(6)]

    asyncio.run(life())


def test_who_is_killed_unnoticed_leads_until_its_session_is_over() -> None:
    with EmbeddedCluster(topics={"t": 1}) as cluster:
        leader = cluster.leader("t")
        cluster.kill(leader, noticed=False)
        assert cluster.leader("t") == leader
        with pytest.raises(TimeoutError):
            cluster.wait_in_sync(0.001)
        cluster.restart(leader)
        cluster.wait_in_sync()


def test_brokers_have_settings_of_their_own_and_one_clock() -> None:
    racks = {broker_id: {"broker.rack": f"r{broker_id}"} for broker_id in (1, 2)}
    with EmbeddedCluster(2, settings_of=racks) as cluster:
        before_ms = cluster.now_ms()
        cluster.advance(3_600_000)
        cluster.kill(1)
        cluster.restart(1)
        cluster.kill(2)
        assert cluster.now_ms() >= before_ms + 3_600_000
        assert (cluster.running, cluster.controller()) == ([1], 1)


def test_a_start_that_fails_says_why() -> None:
    with (
        pytest.raises(ConfigError, match=r"broker\.session\.timeout\.ms"),
        EmbeddedCluster(settings_of={2: {"broker.session.timeout.ms": "never"}}),
    ):
        pass


def test_nothing_is_left() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with EmbeddedCluster(topics={"t": 3}) as cluster:
        cluster.kill(2)
    assert set(os.listdir("/proc/self/fd")) <= before
