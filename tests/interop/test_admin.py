"""Admin calls of the three clients: topics, partitions, settings, groups, offsets, records."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewPartitions as AioPartitions
from aiokafka.admin import NewTopic as AioTopic
from aiokafka.admin.config_resource import ConfigResource as AioResource
from aiokafka.admin.config_resource import ConfigResourceType as AioResourceType
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)
from kafka.admin import ConfigResource as PyResource
from kafka.admin import ConfigResourceType as PyResourceType
from kafka.admin import NewTopic as PyTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata
from tests.interop.clients import CLIENTS, RECENT_MS, Record
from tests.interop.conftest import create_topic
from tests.interop.groups import Members, settle
from tools.subject import Subject, until

from kafka import KafkaAdminClient
from kafka import TopicPartition as PyTopicPartition

WAIT_S = 30


@pytest.fixture
def admin(broker: Subject) -> AdminClient:
    """librdkafka's."""
    return AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})


@pytest.fixture
def py_admin(broker: Subject) -> Iterator[KafkaAdminClient]:
    """kafka-python's."""
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    yield client
    client.close()


def partitions_of(admin: AdminClient, topic: str) -> int:
    """How many partitions the broker's metadata shows; 0 for no such topic."""
    found = admin.list_topics(timeout=WAIT_S).topics.get(topic)
    return len(found.partitions) if found else 0


def error_of(future: Any) -> str:
    """The name of the error that a call ends in."""
    with pytest.raises(KafkaException) as problem:
        future.result(WAIT_S)
    name: str = problem.value.args[0].name()
    return name


def fill(broker: Subject, topic: str, times: list[int], partition: int = 0) -> None:
    """A record for each time, each a batch of its own."""
    with CLIENTS["confluent"].sender(broker.bootstrap) as sender:
        for time in times:
            sender.send(topic, [Record(None, b"value", timestamp=time)], partition)


def test_confluent_topics_and_partitions(admin: AdminClient, name: str) -> None:
    config = {"retention.ms": "3600000", "cleanup.policy": "compact"}
    admin.create_topics([NewTopic(name, 2, 1, config=config)])[name].result(WAIT_S)
    until("it is there", lambda: partitions_of(admin, name) == 2)
    assert error_of(admin.create_topics([NewTopic(name, 2, 1)])[name]) == "TOPIC_ALREADY_EXISTS"
    checked = admin.create_topics([NewTopic(f"{name}-v", 1, 1)], validate_only=True)
    checked[f"{name}-v"].result(WAIT_S)
    assert partitions_of(admin, f"{name}-v") == 0
    assert (
        error_of(admin.create_topics([NewTopic(f"{name}-3", 1, 3)])[f"{name}-3"])
        == "INVALID_REPLICATION_FACTOR"
    )
    assert error_of(admin.create_topics([NewTopic("a/b", 1, 1)])["a/b"]) == "TOPIC_EXCEPTION"
    admin.create_partitions([NewPartitions(name, 5)])[name].result(WAIT_S)
    until("it has grown", lambda: partitions_of(admin, name) == 5)
    assert error_of(admin.create_partitions([NewPartitions(name, 3)])[name]) == "INVALID_PARTITIONS"
    described = admin.describe_topics(TopicCollection([name]))[name].result(WAIT_S)
    assert [(p.id, p.leader.id, len(p.replicas), len(p.isr)) for p in described.partitions] == [
        (n, 1, 1, 1) for n in range(5)
    ]
    admin.delete_topics([name])[name].result(WAIT_S)
    until("it is gone", lambda: partitions_of(admin, name) == 0)
    assert error_of(admin.delete_topics([name])[name]) == "UNKNOWN_TOPIC_OR_PART"


def test_a_topic_made_anew_is_another_topic(broker: Subject, admin: AdminClient, name: str) -> None:
    ids = []
    for _ in range(2):
        create_topic(broker, name)
        until("it is there", lambda: partitions_of(admin, name) == 1)
        described = admin.describe_topics(TopicCollection([name]))[name].result(WAIT_S)
        ids.append(str(described.topic_id))
        fill(broker, name, [RECENT_MS])
        with CLIENTS["confluent"].taker(broker.bootstrap, name) as taker:
            assert [offset for offset, _ in taker.take(1)] == [0]
        admin.delete_topics([name])[name].result(WAIT_S)
        until("it is gone", lambda: partitions_of(admin, name) == 0)
    assert ids[0] != ids[1]


def test_confluent_settings(broker: Subject, admin: AdminClient, name: str) -> None:
    create_topic(broker, name)

    def settings() -> dict[str, tuple[str, bool]]:
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        entries = admin.describe_configs([resource])[resource].result(WAIT_S)
        return {key: (entry.value, entry.is_default) for key, entry in entries.items()}

    def change(key: str, value: str | None, how: AlterConfigOpType) -> Any:
        entry = ConfigEntry(key, value, incremental_operation=how)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        return admin.incremental_alter_configs([resource])[resource]

    assert settings()["retention.ms"] == ("604800000", True)
    change("retention.ms", "1000000", AlterConfigOpType.SET).result(WAIT_S)
    change("cleanup.policy", "compact", AlterConfigOpType.APPEND).result(WAIT_S)
    until("both are set", lambda: settings()["cleanup.policy"] == ("delete,compact", False))
    assert settings()["retention.ms"] == ("1000000", False)
    change("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT).result(WAIT_S)
    change("retention.ms", None, AlterConfigOpType.DELETE).result(WAIT_S)
    until("both are changed", lambda: settings()["cleanup.policy"] == ("compact", False))
    assert settings()["retention.ms"] == ("604800000", True)
    assert error_of(change("retention.ms", "soon", AlterConfigOpType.SET)) == "INVALID_CONFIG"
    assert error_of(change("no.such.thing", "1", AlterConfigOpType.SET)) == "INVALID_CONFIG"
    absent = ConfigResource(ConfigResource.Type.TOPIC, f"{name}-absent")
    assert error_of(admin.describe_configs([absent])[absent]) == "UNKNOWN_TOPIC_OR_PART"
    node = ConfigResource(ConfigResource.Type.BROKER, "1")
    described = admin.describe_configs([node])[node].result(WAIT_S)
    assert described["group.min.session.timeout.ms"].value == "500"


def test_confluent_offsets_and_deleted_records(
    broker: Subject, admin: AdminClient, name: str
) -> None:
    create_topic(broker, name)
    fill(broker, name, [RECENT_MS + n for n in (0, 10, 40, 30, 20)])

    def offset(spec: OffsetSpec) -> tuple[int, int]:
        place = TopicPartition(name, 0)
        found = admin.list_offsets({place: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)[
            place
        ].result(WAIT_S)
        return found.offset, found.timestamp

    assert offset(OffsetSpec.earliest()) == (0, -1)
    assert offset(OffsetSpec.latest()) == (5, -1)
    assert offset(OffsetSpec.max_timestamp()) == (2, RECENT_MS + 40)
    assert offset(OffsetSpec.for_timestamp(RECENT_MS + 11)) == (2, RECENT_MS + 40)
    assert offset(OffsetSpec.for_timestamp(RECENT_MS + 41)) == (-1, -1)
    place = TopicPartition(name, 0, 3)
    assert admin.delete_records([place])[place].result(WAIT_S).low_watermark == 3
    assert offset(OffsetSpec.earliest()) == (3, -1)
    assert offset(OffsetSpec.for_timestamp(0)) == (3, RECENT_MS + 30)
    beyond = TopicPartition(name, 0, 6)
    assert error_of(admin.delete_records([beyond])[beyond]) == "OFFSET_OUT_OF_RANGE"


def test_confluent_groups(broker: Subject, admin: AdminClient, name: str) -> None:
    create_topic(broker, name, 2)
    members = Members("confluent", broker.bootstrap)
    try:
        member = members.join(name, [name])
        settle([member], [(name, 0), (name, 1)], each=2)
        groups = admin.list_consumer_groups().result(WAIT_S)
        assert groups.errors == []
        listed = {group.group_id: group for group in groups.valid}
        assert listed[name].state.name == "STABLE"
        described = admin.describe_consumer_groups([name])[name].result(WAIT_S)
        assert described.state.name == "STABLE"
        assert described.partition_assignor == "range"
        (only,) = described.members
        assert len(only.assignment.topic_partitions) == 2
        assert error_of(admin.delete_consumer_groups([name])[name]) == "NON_EMPTY_GROUP"
        member.leave()
    finally:
        members.close()

    def committed() -> list[int]:
        asked = ConsumerGroupTopicPartitions(name)
        found = admin.list_consumer_group_offsets([asked])[name].result(WAIT_S)
        return [place.offset for place in sorted(found.topic_partitions)]

    places = [TopicPartition(name, 0, 7), TopicPartition(name, 1, 9)]
    altered = ConsumerGroupTopicPartitions(name, places)
    admin.alter_consumer_group_offsets([altered])[name].result(WAIT_S)
    assert committed() == [7, 9]
    admin.delete_consumer_groups([name])[name].result(WAIT_S)
    assert error_of(admin.delete_consumer_groups([name])[name]) == "GROUP_ID_NOT_FOUND"
    assert committed() == []


def test_confluent_describes_the_cluster(broker: Subject, admin: AdminClient) -> None:
    cluster = admin.describe_cluster().result(WAIT_S)
    assert [(node.id, node.host, node.port) for node in cluster.nodes] == [
        (1, "127.0.0.1", broker.port)
    ]
    assert cluster.controller.id == 1
    assert len(cluster.cluster_id) == 22


def test_kafka_python_topics_and_settings(py_admin: KafkaAdminClient, name: str) -> None:
    topic = PyTopic(name, num_partitions=2, replication_factor=1)
    py_admin.create_topics([topic])
    until("it is there", lambda: name in py_admin.list_topics())
    with pytest.raises(TopicAlreadyExistsError):
        py_admin.create_topics([topic])
    py_admin.create_partitions({name: 4})
    until("it has grown", lambda: len(py_admin.describe_topics([name])[0]["partitions"]) == 4)
    resource = PyResource(PyResourceType.TOPIC, name, configs={"retention.ms": "1000000"})
    py_admin.alter_configs([resource])
    asked = PyResource(PyResourceType.TOPIC, name)
    until("it is set", lambda: "1000000" in str(py_admin.describe_configs([asked])))
    py_admin.delete_topics([name])
    until("it is gone", lambda: name not in py_admin.list_topics())


def test_kafka_python_groups_and_records(
    broker: Subject, py_admin: KafkaAdminClient, name: str
) -> None:
    create_topic(broker, name)
    fill(broker, name, [RECENT_MS + n for n in range(5)])
    place = PyTopicPartition(name, 0)
    py_admin.alter_group_offsets(name, {place: OffsetAndMetadata(3, "note", -1)})
    offsets = py_admin.list_group_offsets({name: [place]})
    assert offsets[name][place].offset == 3
    assert offsets[name][place].metadata == "note"
    assert name in str(py_admin.list_groups())
    assert name in str(py_admin.describe_groups([name]))
    py_admin.delete_group_offsets(name, [place])
    py_admin.delete_groups([name])
    assert name not in str(py_admin.list_groups())
    py_admin.delete_records({place: 2})
    with CLIENTS["kafka-python"].taker(broker.bootstrap, name, offset=2) as taker:
        assert [offset for offset, _ in taker.take(3)] == [2, 3, 4]
    assert name in str(py_admin.describe_log_dirs())
    assert "127.0.0.1" in str(py_admin.describe_cluster())


def test_aiokafka_topics_and_settings(broker: Subject, name: str) -> None:
    async def script() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([AioTopic(name, 2, 1)])
            await _until_listed(admin, name, True)
            await admin.create_partitions({name: AioPartitions(3)})
            resource = AioResource(AioResourceType.TOPIC, name, configs={"retention.ms": "99000"})
            await admin.alter_configs([resource])
            asked = AioResource(AioResourceType.TOPIC, name)
            async with asyncio.timeout(WAIT_S):
                while "99000" not in str(await admin.describe_configs([asked])):
                    pass
            assert name in str(await admin.describe_topics([name]))
            await admin.delete_topics([name])
            await _until_listed(admin, name, False)
        finally:
            await admin.close()

    _run(script())


async def _until_listed(admin: AIOKafkaAdminClient, name: str, wanted: bool) -> None:
    async with asyncio.timeout(WAIT_S):
        while (name in await admin.list_topics()) is not wanted:
            pass


def _run(script: Coroutine[Any, Any, None]) -> None:
    asyncio.run(script)
