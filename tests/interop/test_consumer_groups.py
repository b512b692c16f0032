"""Consumer groups (KIP-848) with real members, and what Kafka's own tool says of them."""

from collections.abc import Iterator

import pytest
from tests.interop.clients import CLIENTS, Record
from tests.interop.conftest import SETTINGS, configure_group, create_topic, under_test
from tests.interop.groups import Members, await_taken, settle
from tests.interop.sessions import GROUPS
from tools.kafka import Tools
from tools.subject import Subject

PARTITIONS = 6

#: Fast enough that nobody waits: Kafka's own defaults are 5 s and 45 s.
FAST = {
    "group.consumer.heartbeat.interval.ms": "200",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.min.session.timeout.ms": "2000",
    "group.consumer.assignment.interval.ms": "0",
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A broker whose consumer groups are quick."""
    subject = under_test(tmp_path_factory.mktemp("quick"), SETTINGS | FAST)
    subject.start()
    yield subject
    subject.kill9()


@pytest.fixture(params=["confluent", pytest.param("java", marks=pytest.mark.java)])
def members(request: pytest.FixtureRequest, quick: Subject) -> Iterator[Members]:
    members = Members(request.param, quick.bootstrap)
    yield members
    members.close()


@pytest.fixture
def places(quick: Subject, name: str) -> list[tuple[str, int]]:
    create_topic(quick, name, PARTITIONS)
    return [(name, partition) for partition in range(PARTITIONS)]


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_partitions_follow_members_who_join_leave_and_die(
    members: Members, name: str, places: list[tuple[str, int]], assignor: str
) -> None:
    join = {"strategy": f"server {assignor}"}
    first = members.join(name, [name], **join)
    settle([first], places, each=6)
    second = members.join(name, [name], **join)
    settle([first, second], places, each=3)
    first.leave()
    settle([second], places, each=6)
    third = members.join(name, [name], **join)
    settle([second, third], places, each=3)
    second.kill()
    settle([third], places, each=6)


def test_a_static_member_that_returns_disturbs_nobody(
    quick: Subject, members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    # A JVM may take longer to start than a quick session lasts.
    configure_group(quick, name, "consumer.session.timeout.ms", "45000")
    join = {"strategy": "server uniform"}
    stays = members.join(name, [name], instance="stays", **join)
    leaves = members.join(name, [name], instance="returns", **join)
    settle([stays, leaves], places, each=3)
    kept, owned, before = stays.owned, leaves.owned, stays.assignments
    leaves.leave()
    again = members.join(name, [name], instance="returns", **join)
    settle([again], owned, each=3)
    stays.hear(0)
    assert stays.owned == kept
    assert stays.assignments == before


def test_everything_is_taken_once_by_whoever_is_there(
    quick: Subject, members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    records = [Record(None, b"%d" % number) for number in range(20)]
    join = {"strategy": "server uniform"}
    first = members.join(name, [name], **join)
    settle([first], places, each=6)
    sender = CLIENTS["confluent"].sender(quick.bootstrap)
    for partition in range(PARTITIONS):
        sender.send(name, records, partition)
    second = members.join(name, [name], **join)
    took = await_taken([first, second], 20 * PARTITIONS)
    assert {(topic, number) for topic, number, _ in took} == set(places)
    settle([first, second], places, each=3)


@pytest.mark.java
def test_kafkas_tool_describes_resets_and_deletes_a_consumer_group(
    quick: Subject, kafka_tool: Tools, name: str
) -> None:
    create_topic(quick, name, 2)
    bootstrap = ("--bootstrap-server", quick.bootstrap)
    members = Members("confluent", quick.bootstrap)
    member = members.join(name, [name], strategy="server range")
    settle([member], [(name, 0), (name, 1)], each=2)
    group = ("--group", name)

    def tool(*arguments: str) -> str:
        result = kafka_tool.run(GROUPS, *bootstrap, *arguments)
        return result.stdout + result.stderr

    state = tool("--describe", *group, "--state")
    assert "range" in state
    assert "Stable" in state
    assert f"{name}:0,1" in tool("--describe", *group, "--members", "--verbose")
    assert "Consumer" in tool("--list", "--type")
    assert "not empty" in tool("--delete", *group)
    member.leave()
    assert "Empty" in tool("--describe", *group, "--state")
    tool("--reset-offsets", *group, "--topic", name, "--to-offset", "0", "--execute")
    assert "was successful" in tool("--delete", *group)
    members.close()


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_members_of_both_protocols_share_a_group(
    members: Members, name: str, places: list[tuple[str, int]], strategy: str
) -> None:
    classic = members.join(name, [name], strategy=strategy)
    settle([classic], places, each=6)
    newer = members.join(name, [name], strategy="server uniform")
    settle([classic, newer], places, each=3)
    newer.leave()
    settle([classic], places, each=6)
    again = members.join(name, [name], strategy="server uniform")
    settle([classic, again], places, each=3)
    classic.leave()
    settle([again], places, each=6)
