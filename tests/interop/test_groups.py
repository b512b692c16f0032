"""Classic groups with real members: they join, leave, are killed, come back, fence each other."""

from collections.abc import Iterator

import pytest
from tests.interop.clients import Client, Record
from tests.interop.conftest import create_topic
from tests.interop.groups import Members, await_taken, settle
from tools.subject import Subject, until

PARTITIONS = 6

#: aiokafka has no cooperative assignor and does not look at FENCED_INSTANCE_ID.
NOT_AIOKAFKA = pytest.mark.parametrize(
    "client",
    ["confluent", "kafka-python", pytest.param("java", marks=pytest.mark.java)],
    indirect=True,
)


@pytest.fixture
def places(broker: Subject, name: str) -> list[tuple[str, int]]:
    """The partitions of a topic for the test."""
    create_topic(broker, name, PARTITIONS)
    return [(name, partition) for partition in range(PARTITIONS)]


@pytest.fixture
def members(broker: Subject, client: Client) -> Iterator[Members]:
    """Where members of the test come from."""
    members = Members(client.name, broker.bootstrap)
    yield members
    members.close()


def test_partitions_follow_members_who_join_and_leave(
    members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    first = members.join(name, [name])
    settle([first], places, each=6)
    second = members.join(name, [name])
    settle([first, second], places, each=3)
    third = members.join(name, [name])
    settle([first, second, third], places, each=2)
    second.leave()
    settle([first, third], places, each=3)
    first.leave()
    settle([third], places, each=6)


def test_a_killed_member_is_missed_after_its_session(
    members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    stays = members.join(name, [name], session_timeout_ms=2000)
    killed = members.join(name, [name], session_timeout_ms=2000)
    settle([stays, killed], places, each=3)
    killed.kill()
    settle([stays], places, each=6)


def test_a_static_member_that_returns_disturbs_nobody(
    members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    stays = members.join(name, [name], instance="stays", session_timeout_ms=30_000)
    killed = members.join(name, [name], instance="returns", session_timeout_ms=30_000)
    settle([stays, killed], places, each=3)
    kept, owned, before = stays.owned, killed.owned, stays.assignments
    killed.kill()
    again = members.join(name, [name], instance="returns", session_timeout_ms=30_000)
    settle([again], owned, each=3)
    stays.hear(0)
    assert stays.owned == kept
    assert stays.assignments == before


@NOT_AIOKAFKA
def test_a_second_static_member_of_one_name_fences_the_first(
    broker: Subject, client: Client, members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    first = members.join(name, [name], instance="only")
    settle([first], places, each=6)
    second = members.join(name, [name], instance="only")
    settle([second], places, each=6)
    with client.sender(broker.bootstrap) as sender:
        sender.send(name, [Record(None, b"for the first to commit, if no heartbeat tells it")])
    until("the first hears of it", lambda: first.hear(0.1) or "fenced" in first.error.lower())


@NOT_AIOKAFKA
def test_cooperative_members_keep_what_does_not_move(
    members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    first = members.join(name, [name], strategy="cooperative-sticky")
    settle([first], places, each=6)
    before = first.owned
    second = members.join(name, [name], strategy="cooperative-sticky")
    settle([first, second], places, each=3)
    kept = first.owned
    assert frozenset().union(*first.revoked) == before - kept
    second.leave()
    settle([first], places, each=6)
    assert frozenset().union(*first.revoked) == before - kept


def test_each_record_is_taken_once_across_a_hand_over(
    broker: Subject, client: Client, members: Members, name: str, places: list[tuple[str, int]]
) -> None:
    def send(first: int) -> None:
        with client.sender(broker.bootstrap) as sender:
            for _, partition in places:
                sender.send(name, [Record(None, b"%d" % n) for n in range(5)], partition)

    send(0)
    leaves = members.join(name, [name])
    await_taken([leaves], 30)
    leaves.leave()
    follows = members.join(name, [name])
    settle([follows], places, each=6)
    send(5)
    taken = await_taken([leaves, follows], 60)
    assert taken == [(name, partition, o) for _, partition in places for o in range(10)]
