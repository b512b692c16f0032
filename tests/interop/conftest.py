"""Real clients against a real process.

The broker under test is `broker` (shared by the session) or `own_broker` (one
for the test alone, which may stop and kill it). With INTEROP_AGAINST=kafka both
are the real Kafka: so the tests themselves are tried on the specification.
"""

import gc
import logging
import os
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from tests.interop.clients import CLIENTS, Client
from tests.interop.java_clients import Java
from tools.kafka import RealKafka, Tools
from tools.subject import Ottla, Subject

AGAINST = os.environ.get("INTEROP_AGAINST", "ottla")

#: The same for both: groups form and notice a dead member without waiting.
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.streams.assignment.interval.ms": "0",
    "group.streams.heartbeat.interval.ms": "500",
    "group.streams.initial.rebalance.delay.ms": "0",
    "group.streams.min.heartbeat.interval.ms": "500",
    "group.streams.min.session.timeout.ms": "3000",
    "group.streams.num.standby.replicas": "1",
    "group.streams.session.timeout.ms": "3000",
    "offsets.topic.num.partitions": "5",
}

KAFKA_HEAP = "-Xmx512m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"

#: At the release's own level 1 a fresh Kafka sets min.insync.replicas for the whole cluster, which
#: then shows up in every description. Eligible leader replicas need a cluster; we do not claim them.
FEATURES = {"eligible.leader.replicas.version": 0}


def real(home: Path, settings: dict[str, str]) -> RealKafka:
    """The real Kafka, with a small heap: here it is an oracle, not a contestant."""
    return RealKafka(extra=settings, home=home, heap=KAFKA_HEAP, features=FEATURES)


def under_test(folder: Path, settings: dict[str, str], **ottla: object) -> Ottla | RealKafka:
    """The broker under test, not started; `ottla` are options only ours knows."""
    if AGAINST == "kafka":
        return real(folder, settings)
    return Ottla(folder / "data", settings=settings, **ottla)  # type: ignore[arg-type]


#: Sockets that a client library forgets when the broker goes away are its own affair. What its
#: log keeps of them must not outlive the test, so it goes nowhere.
CLIENTS_LEAK = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
logging.getLogger("kafka").propagate = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the clients leak, in these tests alone."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(CLIENTS_LEAK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Collect what the clients dropped before the next test, which may not be so lenient."""
    outcome = yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return outcome


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A broker that all tests share; it is never stopped by one."""
    subject = under_test(tmp_path_factory.mktemp("broker"), SETTINGS)
    subject.start()
    yield subject
    subject.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Subject]:
    """A started broker of the test's own, which it may stop, kill and restart."""
    subject = under_test(tmp_path, SETTINGS)
    subject.start()
    yield subject
    subject.kill9()


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The real Kafka, started when the first test asks."""
    subject = real(tmp_path_factory.mktemp("kafka"), SETTINGS)
    subject.start()
    yield subject
    subject.kill9()


@pytest.fixture(scope="session")
def kafka_tool() -> Iterator[Tools]:
    """Kafka's own command line tools: `kafka_tool.run(CLASS, *arguments)`."""
    with Tools() as tools:
        yield tools


@pytest.fixture(params=[*sorted(CLIENTS), pytest.param("java", marks=pytest.mark.java)])
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the clients neither of us wrote."""
    return CLIENTS[request.param] if request.param in CLIENTS else Java()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for topics and groups that no other test uses."""
    text = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return text.removeprefix("test-").rstrip("-").replace("--", "-")


@pytest.fixture
def topic(broker: Subject, name: str) -> str:
    """A topic with one partition."""
    create_topic(broker, name)
    return name


def configure_group(subject: Subject, group: str, name: str, value: str) -> None:
    """Set one setting of a group."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)


def create_topic(
    subject: Subject, topic: str, partitions: int = 1, config: dict[str, str] | None = None
) -> None:
    """Create a topic and come back when it is there."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(30)
