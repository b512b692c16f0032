"""A data directory that the real Kafka wrote: what it knows, and its logs going on."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from tests.unit.storage.parts import CountingRandomness, batch, whole
from tools.kafka import RealKafka
from tools.subject import Ottla

from ottla.model import ids
from ottla.record.batch import read_header
from ottla.record.records import read_records
from ottla.storage.adoption import Adoption, survey
from ottla.storage.disk import RealDisk
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.timestamps import offset_for_timestamp

pytestmark = pytest.mark.java

RECORDS = 400
Row = tuple[int, int, bytes | None, bytes | None]


class Written(NamedTuple):
    data: Path
    copy: Path
    """The same again: each test goes on writing into one of its own."""
    rows: dict[tuple[str, int], list[Row]]
    """By partition, (offset, timestamp, key, value), as Kafka's consumer saw them."""
    committed: dict[tuple[str, int], int]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    home = tmp_path_factory.mktemp("kafka")
    # Snapshots of the metadata log are due at once, so that both it and they are read.
    extra = {"metadata.log.max.record.bytes.between.snapshots": "1"}
    kafka = RealKafka(home=home, extra=extra, heap="-Xmx512m -XX:TieredStopAtLevel=1")
    try:
        kafka.start()
        servers = {"bootstrap.servers": f"127.0.0.1:{kafka.port}"}
        _administer(AdminClient(servers))
        _produce(servers)
        rows = _consume(servers)
        committed = _commit(servers)
        _transact(servers, "before", ends=True)
        _transact(servers, "open", ends=False)
        kafka.stop()
        copy = Path(shutil.copytree(kafka.data, home / "copy"))
        yield Written(kafka.data, copy, rows, committed)
    finally:
        kafka.kill9()


def _administer(admin: AdminClient) -> None:
    topics = [
        NewTopic("plain", 3, 1),
        NewTopic("kept", 1, 1, config={"retention.ms": "-1", "max.message.bytes": "2000000"}),
        NewTopic("rolled", 1, 1, config={"internal.segment.bytes": "9000"}),
        NewTopic("banked", 1, 1),
        NewTopic("gone", 1, 1),
    ]
    for done in admin.create_topics(topics).values():
        done.result()
    for done in admin.create_partitions([NewPartitions("plain", 5)]).values():
        done.result()
    for done in admin.delete_topics(["gone"]).values():
        done.result()
    changes = [
        ConfigEntry("segment.ms", "777000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
    ]
    resource = ConfigResource(ResourceType.TOPIC, "kept", incremental_configs=changes)
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result()


def _produce(servers: dict[str, str]) -> None:
    rng = random.Random(7)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        producer = Producer({**servers, "enable.idempotence": True, "compression.type": codec})
        for at in range(RECORDS):
            topic = rng.choice(["plain", "kept", "rolled"])
            value = None if at % 17 == 0 else rng.randbytes(rng.randrange(120))
            producer.produce(topic, value, key=f"{codec}-{at}", timestamp=1_700_000_000_000 + at)
            if at % 9 == 0:
                producer.flush()
        assert producer.flush(30) == 0


def _consume(servers: dict[str, str]) -> dict[tuple[str, int], list[Row]]:
    consumer = Consumer({**servers, "group.id": "reader", "enable.auto.commit": False})
    partitions = [("plain", n) for n in range(5)] + [("kept", 0), ("rolled", 0)]
    consumer.assign([TopicPartition(topic, n, 0) for topic, n in partitions])
    rows: dict[tuple[str, int], list[Row]] = {place: [] for place in partitions}
    while sum(map(len, rows.values())) < 5 * RECORDS:
        for message in consumer.consume(500, 1.0):
            assert message.error() is None
            key, value = message.key(), message.value()
            row = (message.offset(), message.timestamp()[1], key, value)
            rows[message.topic(), message.partition()].append(row)
    consumer.close()
    return rows


def _commit(servers: dict[str, str]) -> dict[tuple[str, int], int]:
    consumer = Consumer({**servers, "group.id": "adopted", "enable.auto.commit": False})
    offsets = {("plain", 0): 11, ("kept", 0): 22}
    places = [TopicPartition(topic, n, offset) for (topic, n), offset in offsets.items()]
    for _ in range(100):
        try:
            consumer.commit(offsets=places, asynchronous=False)
            break
        except KafkaException as error:
            # The coordinator's partition is only just being made.
            assert "COORDINATOR" in error.args[0].name()  # noqa: PT017
            consumer.poll(0.1)
    else:
        raise AssertionError("offsets were never committed")
    consumer.close()
    return offsets


def _transact(servers: dict[str, str], value: str, ends: bool) -> None:
    """Write `value` in a transaction of the only transactional id there is."""
    producer = Producer({**servers, "transactional.id": "bank"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("banked", value)
    assert producer.flush(30) == 0
    if ends:
        producer.commit_transaction(30)


def _banked(servers: dict[str, str]) -> list[bytes | None]:
    """What a reader of committed records sees, the end too."""
    settings = {"group.id": "banker", "isolation.level": "read_committed"}
    consumer = Consumer({**servers, **settings, "enable.partition.eof": True})
    consumer.assign([TopicPartition("banked", 0, 0)])
    values = []
    while (message := consumer.poll(30)) is not None and message.error() is None:
        values.append(message.value())
    assert message is not None
    assert message.error().code() == KafkaError._PARTITION_EOF
    consumer.close()
    return values


def opened(data: Path, adoption: Adoption | None = None) -> tuple[Logs, Adoption]:
    logs = Logs(RealDisk(), [str(data)], CountingRandomness())
    logs.start()
    found = adoption or survey(logs)
    assert found is not None
    assert found.cluster_id is not None
    assert found.node_id is not None
    logs.identify(found.cluster_id, found.node_id)
    logs.load(lambda partition, topic_id: LogConfig(retention_ms=-1), 0)
    return logs, found


def rows_of(log: Log) -> list[Row]:
    found: list[Row] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, 1 << 20)
        for header in whole(result.records):
            for record in read_records(result.records, header.position):
                found.append((record.offset, record.timestamp, record.key, record.value))
        offset = result.next_offset
    return found


def test_a_broker_serves_a_directory_of_kafka(written: Written) -> None:
    """Records, offsets, timestamps, committed offsets and settings are what Kafka's were."""
    broker = Ottla(written.copy)
    broker.start()
    try:
        servers = {"bootstrap.servers": f"127.0.0.1:{broker.port}"}
        assert _consume(servers) == written.rows
        consumer = Consumer({**servers, "group.id": "adopted", "enable.auto.commit": False})
        places = [TopicPartition(topic, n) for topic, n in written.committed]
        found = {(p.topic, p.partition): p.offset for p in consumer.committed(places, timeout=30)}
        consumer.close()
        assert found == written.committed
        admin = AdminClient(servers)
        (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, "kept")]).values()
        configs = described.result()
        assert configs["segment.ms"].value == "777000"
        assert configs["max.message.bytes"].value == "2000000"
        producer = Producer({**servers, "enable.idempotence": True})
        offsets: list[int] = []
        producer.produce(
            "kept", b"more", on_delivery=lambda error, message: offsets.append(message.offset())
        )
        assert producer.flush(30) == 0
        assert offsets == [len(written.rows["kept", 0])]
        assert _banked(servers) == [b"before"]
        _transact(servers, "after", ends=True)  # its producer ends what Kafka left open
        assert _banked(servers) == [b"before", b"after"]
        assert not list(written.copy.glob("*-stray"))
    finally:
        broker.stop()


def test_a_directory_of_kafka_is_adopted_and_goes_on(written: Written) -> None:
    logs, adoption = opened(written.data)
    assert adoption.problems == []
    assert adoption.from_metadata_log
    assert (adoption.cluster_id, adoption.node_id) == ("hVgKV5QRTzOtnlWrSSWHyA", 1)
    internal = {"__consumer_offsets", "__transaction_state"}
    assert set(adoption.topics) == {"plain", "kept", "rolled", "banked", *internal}
    assert len(adoption.topics["plain"].leader_epochs) == 5
    assert adoption.topics["kept"].configs == {
        "segment.ms": "777000",
        "max.message.bytes": "2000000",
    }
    assert adoption.topics["rolled"].configs == {"internal.segment.bytes": "9000"}
    assert adoption.topics["__consumer_offsets"].configs["cleanup.policy"] == "compact"
    assert logs.stopped_cleanly
    assert logs.strays == []

    for (topic, number), rows in written.rows.items():
        log = logs.get(ids.TopicPartition(topic, number))
        assert log is not None
        assert log.topic_id == adoption.topics[topic].topic_id
        assert rows_of(log) == rows
        assert log.high_watermark == log.log_end_offset
        if rows:
            found = offset_for_timestamp(log, 1_700_000_000_200)
            expected = next((row for row in rows if row[1] >= 1_700_000_000_200), None)
            assert (found and found.offset) == (expected and expected[0])
    committed = [
        record
        for log in logs
        if log.partition.topic == "__consumer_offsets"
        for record in rows_of(log)
    ]
    assert any(b"adopted" in (key or b"") for _, _, key, _ in committed)

    log = logs.get(ids.TopicPartition("rolled", 0))
    assert log is not None
    assert len(log.segments) > 2
    highest = max(producer.producer_id for some in logs for producer in some.producers)
    assert highest < adoption.next_producer_id
    for producer in list(log.producers):
        end = log.log_end_offset
        more = batch(
            2,
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            base_sequence=producer.last_sequence + 1,
        )
        sent = bytearray(more)
        assert log.append(more, read_header(more), 9, 0).base_offset == end
        again = log.append(sent, read_header(sent), 9, 0)
        assert (again.duplicate, again.base_offset) == (True, end)
    grown = rows_of(log)
    logs.close()

    logs, _ = opened(written.data, adoption)
    log = logs.get(ids.TopicPartition("rolled", 0))
    assert log is not None
    assert not log.is_open
    assert rows_of(log) == grown
    logs.close()
