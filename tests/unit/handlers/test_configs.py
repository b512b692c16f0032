"""Settings over the protocol, against a transcript of Kafka 4.3.1.

The transcript is one run of a real broker: requests in order, each with its
answer. Left out are settings of parts Ottla does not have, and the words of the
documentation, which are Kafka's own.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ottla.config.alter import Change
from ottla.config.broker_config import BrokerConfig
from ottla.config.broker_keys import BROKER_KEYS
from ottla.handlers import configs
from ottla.handlers.config_rows import ConfigRows
from ottla.metadata.changes import apply, broker_key, config_key, partition_key, topic_key
from ottla.metadata.controller import Writes
from ottla.metadata.image import BrokerImage, ConfigResource, Image, PartitionImage
from ottla.metadata.store import Changes, Put
from ottla.model.errors import ErrorCode
from ottla.model.isolation import ResourceType
from ottla.testing.clock import ManualClock
from ottla.wire.apis import response_class
from ottla.wire.codec import decode, encode
from ottla.wire.generated.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from ottla.wire.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from ottla.wire.generated.list_config_resources import ListConfigResourcesRequest
from ottla.wire.message import Message

TRANSCRIPT = Path(__file__).parents[2] / "goldens" / "config" / "transcript.jsonl"
TOPIC_ID = bytes(range(16))
# What the real broker was started with.
STATIC = {
    "node.id": "1",
    "listeners": "PLAINTEXT://127.0.0.1:21300,CONTROLLER://127.0.0.1:21301",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:21300",
    "controller.listener.names": "CONTROLLER",
    "log.dirs": "data",
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}


class FakeLoggers:
    def __init__(self) -> None:
        self.own = {"kafka.log.LogManager": "", "kafka.server.KafkaApis": "", "root": "WARN"}

    def levels(self) -> Mapping[str, str]:
        return {name: level or self.own["root"] for name, level in self.own.items()}

    def set_level(self, logger: str, level: str | None) -> None:
        self.own[logger] = level or ""


class FakeBroker:
    """A broker's views, and the controller: a decision changes the image at once."""

    broker_id = 1

    def __init__(self, static: Mapping[str, str] = STATIC) -> None:
        self.loggers = FakeLoggers()
        self.transport_clock = ManualClock()
        self.config_rows = ConfigRows()
        self.control = self
        self.config = BrokerConfig(static)
        self.image = Image()
        self.decisions = 0
        state = PartitionImage(1, 0, 0, (1,), (1,))
        topic = ConfigResource(ResourceType.TOPIC, "t1")
        self._write(
            Writes(
                (
                    broker_key(BrokerImage(1, 1, None, ())),
                    partition_key(TOPIC_ID, 0, state),
                    topic_key(TOPIC_ID, "t1", 1),
                    config_key(topic, {"retention.ms": "1000", "cleanup.policy": "compact,delete"}),
                )
            )
        )

    async def change(self, decide: Callable[[Image], tuple[Writes, Any]]) -> Any:
        self.decisions += 1
        writes, answer = decide(self.image)
        self._write(writes)
        return answer

    def _write(self, writes: Writes) -> None:
        revision = self.image.revision + 1
        puts = tuple(Put(name, value, revision) for name, value in writes.puts)
        self.image, _ = apply(self.image, Changes(revision, puts, writes.deletes))
        stored = self.image.configs
        self.config = self.config.updated(
            stored.get(ConfigResource(ResourceType.BROKER, ""), {}),
            stored.get(ConfigResource(ResourceType.BROKER, "1"), {}),
        )


class FakeContext:
    def __init__(self, broker: FakeBroker, api_version: int, denied: str = "") -> None:
        self.broker = broker
        self.api_version = api_version
        self._denied = denied

    def authorize(self, operation: str, resource_type: str, name: str) -> bool:
        return resource_type != self._denied


OURS = frozenset(
    {
        "broker.session.timeout.ms",
        "group.consumer.settling.heartbeat.interval.ms",
        "group.drop.members.on.disconnect",
        "group.share.settling.heartbeat.interval.ms",
        "group.streams.settling.heartbeat.interval.ms",
        "log.dir.max.bytes",
        "metadata.etcd.endpoints",
        "metadata.etcd.password",
        "metadata.etcd.prefix",
        "metadata.etcd.ssl.ca",
        "metadata.etcd.ssl.certificate",
        "metadata.etcd.ssl.key",
        "metadata.etcd.user",
        "record.validation",
    }
)
"""Settings that Kafka does not have, and one whose default is another."""


def _snake(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def _build(module: str, cls: Any, content: dict[str, Any]) -> Any:
    """Make a message of Kafka's JSON form of it."""
    built = cls()
    types = {row[0]: row[1] for row in cls.FIELDS}
    for name, value in content.items():
        field = _snake(name)
        kind = types[field].removeprefix("[]")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = getattr(import_module(module), kind)
            value = [_build(module, inner, item) for item in value]
        setattr(built, field, value)
    return built


def _plain(message: Any) -> Any:
    """Take a message apart, as `_answered` takes Kafka's JSON apart."""
    if isinstance(message, list):
        return [_plain(item) for item in message]
    if hasattr(message, "FIELDS"):
        return {row[0]: _plain(getattr(message, row[0])) for row in message.FIELDS}
    return message


def _answered(content: Any) -> Any:
    if isinstance(content, list):
        return [_answered(item) for item in content]
    if isinstance(content, dict):
        return {_snake(name): _answered(value) for name, value in content.items()}
    return content


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Take out what may differ: order of entries, words, and where Ottla's default is another."""
    for result in answer.get("results", ()):
        result["configs"].sort(key=lambda entry: entry["name"])
        result["configs"] = [one for one in result["configs"] if one["name"] not in OURS]
        for entry in result["configs"]:
            if entry.get("documentation"):
                entry["documentation"] = "..."
            if entry["name"].endswith(".throttled.rate"):
                entry["documentation"] = None  # Kafka declares these elsewhere, without
            entry["synonyms"] = [s for s in entry["synonyms"] if not _is_other_default(s)]
    return answer


# Kafka 4.3 sets this for all brokers by itself, for its eligible leader replicas (KIP-966).
_BY_KAFKA_ITSELF = {"name": "min.insync.replicas", "value": "1", "source": 3}


def _is_other_default(synonym: dict[str, Any]) -> bool:
    return synonym["source"] == 5 and synonym["name"] in {
        "listeners",
        "log.dir",
        "node.id",
    }


def _without_elr(answer: dict[str, Any]) -> dict[str, Any]:
    for result in answer.get("results", ()):
        for entry in result["configs"]:
            if _BY_KAFKA_ITSELF in entry["synonyms"]:
                entry["synonyms"].remove(_BY_KAFKA_ITSELF)
            if entry["name"] == "min.insync.replicas" and entry["config_source"] == 3:
                entry["config_source"] = 5
        result["configs"] = [
            entry
            for entry in result["configs"]
            if not (
                entry["name"] == "min.insync.replicas"
                and result["resource_type"] == 4
                and not result["resource_name"]
            )
        ]
        for entry in result["configs"]:
            if entry["name"] == "log.dir":
                entry["value"] = "./ottla-data"
    return answer


def _serve(broker: FakeBroker, api: str, version: int, request: Message) -> Any:
    """Serve what the codec made of the request, and give what it makes of the answer."""
    name = _snake(api).lstrip("_")
    received, _ = decode(type(request), version, encode(request, version))
    handler = getattr(configs, name)
    response = asyncio.run(handler(FakeContext(broker, version), received))
    if isinstance(response, Message):
        response = encode(response, version)
    sent, _ = decode(response_class(type(request).API_KEY), version, response)
    return sent


def _described(context: FakeContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    body = asyncio.run(configs.describe_configs(context, request))
    return decode(DescribeConfigsResponse, context.api_version, body)[0]


def _exchanges() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TRANSCRIPT.read_text().splitlines()]


def _trimmed(mine: Any, theirs: Any) -> Any:
    """Leave out fields that the version lacks: Kafka's JSON has only those it has."""
    if isinstance(mine, list) and theirs:
        return [_trimmed(item, theirs[0]) for item in mine]
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return {name: _trimmed(mine[name], theirs[name]) for name in mine if name in theirs}
    return mine


def _resources(answer: dict[str, Any]) -> Any:
    """By resource and setting, so that a difference is one line."""
    if "results" not in answer:
        return answer
    return {
        (result["resource_type"], result["resource_name"], index): {
            **result,
            "configs": {entry["name"]: entry for entry in result["configs"]},
        }
        for index, result in enumerate(answer["results"])
    }


def test_every_answer_is_kafkas() -> None:
    broker = FakeBroker()
    exchanges = _exchanges()
    assert len(exchanges) > 100
    for exchange in exchanges:
        name = _snake(exchange["api"]).lstrip("_")
        module = f"ottla.wire.generated.{name}"
        cls = getattr(import_module(module), exchange["api"] + "Request")
        request = _build(module, cls, exchange["request"])
        response = _serve(broker, exchange["api"], exchange["version"], request)
        theirs = _answered(exchange["response"])
        mine = _comparable(_trimmed(_plain(response), theirs))
        theirs = _comparable(_without_elr(theirs))
        assert _resources(mine) == _resources(theirs), exchange["request"]


def _alter(
    broker: FakeBroker,
    resource_type: int,
    name: str,
    *changes: Change,
    validate_only: bool = False,
    denied: str = "",
) -> tuple[int, str | None]:
    request = IncrementalAlterConfigsRequest(
        resources=[
            AlterConfigsResource(
                resource_type=resource_type,
                resource_name=name,
                configs=[
                    AlterableConfig(name=c.name, config_operation=c.operation, value=c.value)
                    for c in changes
                ],
            )
        ],
        validate_only=validate_only,
    )
    context = FakeContext(broker, 1, denied)
    (answer,) = asyncio.run(configs.incremental_alter_configs(context, request)).responses
    return answer.error_code, answer.error_message


def test_validating_changes_nothing() -> None:
    broker = FakeBroker()
    before = broker.image
    change = Change("retention.ms", 0, "5")
    assert _alter(broker, 2, "t1", change, validate_only=True) == (0, None)
    assert broker.image.topics == before.topics
    level = Change("root", 0, "DEBUG")
    assert _alter(broker, 8, "1", level, validate_only=True) == (0, None)
    assert broker.loggers.levels()["root"] == "WARN"
    assert _alter(broker, 2, "t1", change) == (0, None)
    assert broker.image.topics["t1"].configs["retention.ms"] == "5"


def test_the_last_setting_deleted_leaves_no_key_behind() -> None:
    broker = FakeBroker()
    group = ConfigResource(ResourceType.GROUP, "g")
    assert _alter(broker, 32, "g", Change("share.delivery.count.limit", 0, "6")) == (0, None)
    assert broker.image.configs[group] == {"share.delivery.count.limit": "6"}
    assert _alter(broker, 32, "g", Change("share.delivery.count.limit", 1, None)) == (0, None)
    assert group not in broker.image.configs


def test_a_dynamic_setting_counts_at_once() -> None:
    broker = FakeBroker()
    assert _alter(broker, 4, "", Change("message.max.bytes", 0, "77")) == (0, None)
    assert broker.config.message_max_bytes == 77


def test_a_log_level_is_set_and_follows_its_parent_again() -> None:
    broker = FakeBroker()
    name = "kafka.server.KafkaApis"
    assert _alter(broker, 8, "1", Change(name, 0, "TRACE")) == (0, None)
    assert broker.loggers.levels()[name] == "TRACE"
    assert _alter(broker, 8, "1", Change(name, 1, None)) == (0, None)
    assert broker.loggers.levels()[name] == "WARN"
    assert broker.decisions == 0


def test_an_operation_that_does_not_exist_is_refused() -> None:
    # Kafka answers UNKNOWN_SERVER_ERROR for a topic, this for a broker.
    refusal = (ErrorCode.INVALID_REQUEST, "Unknown operations type 9")
    assert _alter(FakeBroker(), 2, "t1", Change("retention.ms", 9, "1")) == refusal


def test_what_was_stored_long_ago_is_not_held_against_a_change() -> None:
    broker = FakeBroker()
    stored = {"num.partitions": "3", "message.max.bytes": "many"}
    broker._write(Writes((config_key(ConfigResource(ResourceType.BROKER, ""), stored),)))
    assert _alter(broker, 4, "", Change("log.roll.ms", 0, "70000")) == (0, None)


@pytest.mark.parametrize(
    ("resource_type", "name", "denied", "code"),
    [
        (2, "t1", "TOPIC", ErrorCode.TOPIC_AUTHORIZATION_FAILED),
        (32, "g", "GROUP", ErrorCode.GROUP_AUTHORIZATION_FAILED),
        (4, "1", "CLUSTER", ErrorCode.CLUSTER_AUTHORIZATION_FAILED),
        (8, "1", "CLUSTER", ErrorCode.CLUSTER_AUTHORIZATION_FAILED),
        (16, "m", "CLUSTER", ErrorCode.CLUSTER_AUTHORIZATION_FAILED),
    ],
)
def test_who_may_not_is_refused(
    resource_type: int, name: str, denied: str, code: ErrorCode
) -> None:
    broker = FakeBroker()
    answer, _ = _alter(broker, resource_type, name, Change("root", 0, "INFO"), denied=denied)
    assert answer == code
    request = DescribeConfigsRequest(
        resources=[DescribeConfigsResource(resource_type=resource_type, resource_name=name)]
    )
    (result,) = _described(FakeContext(broker, 4, denied), request).results
    assert (result.error_code, result.configs) == (code, [])
    listing = configs.list_config_resources(
        FakeContext(broker, 1, "CLUSTER"), ListConfigResourcesRequest()
    )
    assert asyncio.run(listing).error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED


def test_a_type_without_settings_fails_the_whole_description() -> None:
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsResource(resource_type=2, resource_name="t1"),
            DescribeConfigsResource(resource_type=3, resource_name="x"),
        ]
    )
    results = _described(FakeContext(FakeBroker(), 4), request).results
    assert [result.error_code for result in results] == [ErrorCode.INVALID_REQUEST] * 2


def test_every_secret_stays_one() -> None:
    secrets = [name for name, key in BROKER_KEYS.items() if key.is_sensitive]
    broker = FakeBroker(STATIC | dict.fromkeys(secrets, "sesame"))
    assert len(secrets) > 5
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsResource(resource_type=4, resource_name="1", configuration_keys=None)
        ],
        include_synonyms=True,
    )
    answer = _described(FakeContext(broker, 4), request)
    assert "sesame" not in repr(answer)
    assert {e.name for e in answer.results[0].configs if e.is_sensitive} == set(secrets)
