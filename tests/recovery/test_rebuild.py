"""Three brokers whose etcd's data is lost, or goes back: what was acknowledged comes through."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from tests.support.etcd import binary_or_skip
from tools.cluster.cluster import Cluster
from tools.cluster.replicas import differences
from tools.subject.ottla import OTTLA
from tools.subject.wait import until

TOPIC = "rides"
PARTITIONS = 3
SOURCES = str(Path(__file__).parents[2] / "src")
SETTINGS = {
    "broker.session.timeout.ms": "2000",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
}
COMMITTED = {0: 11, 1: 22, 2: 33}
"""Offsets of group "g", by partition."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    binary_or_skip()
    with Cluster(tmp_path, network=False, settings=SETTINGS) as started:
        admin = AdminClient({"bootstrap.servers": started.bootstrap})
        config = {"min.insync.replicas": "2", "retention.ms": "7777777"}
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3, config=config)])[TOPIC].result(60)
        yield started


class Client:
    """A producer whose acknowledged values are remembered, or those of its transactions."""

    def __init__(self, cluster: Cluster, transactional_id: str = "") -> None:
        self.acknowledged: list[bytes] = []
        settings = {
            "bootstrap.servers": cluster.bootstrap,
            "enable.idempotence": True,
            "log_level": 0,
        }
        if transactional_id:
            settings["transactional.id"] = transactional_id
        self._producer = Producer(settings)
        if transactional_id:
            self._producer.init_transactions(60)
            self._producer.begin_transaction()

    def send(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self._producer.produce(
                TOPIC, b"%d" % number, partition=number % PARTITIONS, on_delivery=self._delivered
            )
        assert self._producer.flush(60) == 0

    def commit(self) -> None:
        self._producer.commit_transaction(60)
        self._producer.begin_transaction()

    def _delivered(self, error: object, message: object) -> None:
        assert error is None
        self.acknowledged.append(message.value())  # type: ignore[attr-defined]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OTTLA, "cluster", *arguments],
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def await_copies(cluster: Cluster, text: str) -> None:
    for broker in cluster.brokers.values():
        copy = broker.data / "ottla-metadata-copy"
        until(f"the copy has {text}", lambda at=copy: at.exists() and text in at.read_text())


def topic_ids(admin: AdminClient) -> dict[str, str]:
    names = [TOPIC, "__consumer_offsets", "__transaction_state"]
    found = admin.describe_topics(TopicCollection(names))
    return {name: str(each.result(60).topic_id) for name, each in found.items()}


def kill_brokers(cluster: Cluster) -> None:
    for broker in cluster.brokers.values():
        broker.kill9()


def lose_etcd(cluster: Cluster) -> None:
    cluster.etcd.kill()
    for member in cluster.etcd.members:
        shutil.rmtree(member.data)
        member.launch()
        member.await_ready()


def refused(cluster: Cluster) -> str:
    """What a broker says that does not start."""
    broker = cluster.brokers[1]
    broker.launch()
    with pytest.raises(RuntimeError) as caught:
        broker.await_ready()
    return str(caught.value)


def commit_offsets(cluster: Cluster) -> None:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "g"})
    offsets = [TopicPartition(TOPIC, *each) for each in COMMITTED.items()]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


def committed_offsets(cluster: Cluster) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "g"})
    found = consumer.committed([TopicPartition(TOPIC, number) for number in COMMITTED], 60)
    consumer.close()
    return {each.partition: each.offset for each in found}


def read_all(cluster: Cluster) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(TOPIC, n, 0) for n in range(PARTITIONS)])
    found, ends = [], 0
    while ends < PARTITIONS:
        message = consumer.poll(60)
        assert message is not None
        if message.error():
            ends += 1
        else:
            found.append(message.value())
    consumer.close()
    return found


def given(cluster: Cluster, folder: Path) -> list[str]:
    """What an operator gives: of one machine a file, the directories of the others."""
    first, *others = (str(broker.data) for broker in cluster.brokers.values())
    done = command("export-metadata", "--data", first)
    assert done.returncode == 0, done.stderr
    file = folder / "broker-1.json"
    file.write_text(done.stdout)
    return ["--export", str(file), *(part for each in others for part in ("--data", each))]


def test_all_that_was_acknowledged_outlives_etcds_data(cluster: Cluster, tmp_path: Path) -> None:
    client, transactions = Client(cluster), Client(cluster, "t")
    client.send(0, 500)
    transactions.send(1_000, 50)
    transactions.commit()
    commit_offsets(cluster)
    await_copies(cluster, "7777777")
    cluster.brokers[1].kill9()  # it has less than was acknowledged, and would lead if it could
    client.send(500, 100)
    transactions.send(2_000, 50)  # its transaction stays open
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    before = topic_ids(admin)
    kill_brokers(cluster)
    lose_etcd(cluster)

    said = refused(cluster)
    assert "the metadata store is empty" in said
    assert "ottla cluster rebuild-metadata" in said

    etcd = ",".join(cluster.etcd.endpoints)
    directories = given(cluster, tmp_path)
    missing = command("rebuild-metadata", "--etcd", etcd, *directories[2:], "--yes")
    assert missing.returncode == 1
    assert "REFUSED: the data of broker 1 is not given" in missing.stdout
    done = command("rebuild-metadata", "--etcd", etcd, *directories, "--yes", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert {each["broker"] for each in json.loads(done.stdout)["directories"]} == {1, 2, 3}

    first = cluster.brokers[1]
    first.launch()
    first.await_ready()  # alone it must not lead, for lack of what was acknowledged
    cluster.start()
    client.send(600, 100)  # the same producers, with their ids and their sequences
    transactions.commit()
    transactions.send(3_000, 50)
    transactions.commit()
    assert sorted(read_all(cluster)) == sorted(client.acknowledged + transactions.acknowledged)
    assert committed_offsets(cluster) == COMMITTED
    assert topic_ids(admin) == before
    resource = ConfigResource(ResourceType.TOPIC, TOPIC)
    config = admin.describe_configs([resource])[resource].result(60)
    assert config["retention.ms"].value == "7777777"
    until(
        "every replica is in sync",
        lambda: all(
            len(each.isrs) == 3
            for each in admin.list_topics(TOPIC, 10).topics[TOPIC].partitions.values()
        ),
    )
    cluster.stop()
    assert list(differences(cluster, TOPIC, PARTITIONS)) == []


def test_an_etcd_restored_from_an_old_backup_is_refused_and_put_right(
    cluster: Cluster, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    cluster.etcd.control("snapshot", "save", str(backup))
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic("later", 1, 3)])["later"].result(60)
    client = Client(cluster)
    client.send(0, 100)
    await_copies(cluster, '"later"')
    cluster.stop()
    cluster.etcd.kill()
    cluster.etcd.restore(backup)
    (member,) = cluster.etcd.members
    member.launch()
    member.await_ready()

    said = refused(cluster)
    assert "restored from a backup" in said
    assert "--merge" in said
    rebuild = ("rebuild-metadata", "--etcd", member.url, *given(cluster, tmp_path), "--yes")

    def leases_are_over() -> bool:
        return "has metadata of cluster" in command(*rebuild).stderr

    until("the leases of the backup have run out", leases_are_over)
    done = command(*rebuild, "--merge")
    assert done.returncode == 0, done.stderr
    cluster.start()
    assert "later" in admin.list_topics(timeout=60).topics
    assert sorted(read_all(cluster)) == sorted(client.acknowledged)
