"""Share groups (KIP-932) with librdkafka's share consumer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import AcknowledgeType, ShareConsumer
from tests.interop.clients import CLIENTS, Record
from tests.interop.conftest import configure_group, create_topic
from tools.subject import Subject, until

RECORDS = 40
PARTITIONS = 2


@pytest.fixture
def places(broker: Subject, name: str) -> set[tuple[int, int]]:
    """Records in a topic, and a group of the same name that begins with the first of them."""
    create_topic(broker, name, PARTITIONS)
    with CLIENTS["confluent"].sender(broker.bootstrap) as sender:
        for partition in range(PARTITIONS):
            records = [Record(b"k", str(n).encode()) for n in range(RECORDS // PARTITIONS)]
            sender.send(name, records, partition)
    configure_group(broker, name, "share.auto.offset.reset", "earliest")
    return {(part, at) for part in range(PARTITIONS) for at in range(RECORDS // PARTITIONS)}


@contextmanager
def consumer(broker: Subject, group: str, *, mode: str = "explicit") -> Iterator[Any]:
    settings = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": group,
        "share.acknowledgement.mode": mode,
        "log_level": 2,
    }
    with ShareConsumer(settings) as one:
        one.subscribe([group])
        yield one


def polled(*consumers: Any) -> list[Any]:
    """What each has now, errors aside."""
    return [row for one in consumers for row in one.poll(0.2) if row.error() is None]


def place(message: Any) -> tuple[int, int]:
    return message.partition(), message.offset()


def test_two_consumers_have_every_record_once_between_them(
    broker: Subject, name: str, places: set[tuple[int, int]]
) -> None:
    found: list[tuple[int, int]] = []
    with (
        consumer(broker, name, mode="implicit") as first,
        consumer(broker, name, mode="implicit") as second,
    ):

        def all_of_them() -> bool:
            found.extend(map(place, polled(first, second)))
            return len(found) >= RECORDS

        until("all of them", all_of_them)
        assert not polled(first, second)
    assert len(found) == RECORDS
    assert set(found) == places


def test_released_records_come_again_and_rejected_ones_do_not(
    broker: Subject, name: str, places: set[tuple[int, int]]
) -> None:
    accepted: set[tuple[int, int]] = set()
    rejected: set[tuple[int, int]] = set()
    released: dict[tuple[int, int], int] = {}
    with consumer(broker, name) as one:

        def everything_is_over() -> bool:
            for message in polled(one):
                at = place(message)
                assert at not in accepted | rejected
                assert message.delivery_count() == released.get(at, 0) + 1
                if at[1] % 3 == 0 and at not in released:
                    released[at] = 1
                    one.acknowledge(message, AcknowledgeType.RELEASE)
                elif at[1] % 5 == 0:
                    rejected.add(at)
                    one.acknowledge(message, AcknowledgeType.REJECT)
                else:
                    accepted.add(at)
                    one.acknowledge(message, AcknowledgeType.ACCEPT)
            assert not any(one.commit_sync(10).values())
            return accepted | rejected == places

        until("everything is over", everything_is_over)
        assert not polled(one)
    assert released
    assert rejected


def test_a_record_that_is_released_too_often_is_given_up(
    broker: Subject, name: str, places: set[tuple[int, int]]
) -> None:
    configure_group(broker, name, "share.delivery.count.limit", "2")
    counts: dict[tuple[int, int], list[int]] = {}
    with consumer(broker, name) as one:

        def all_of_them_twice() -> bool:
            for message in polled(one):
                counts.setdefault(place(message), []).append(message.delivery_count())
                one.acknowledge(message, AcknowledgeType.RELEASE)
            assert not any(one.commit_sync(10).values())
            return sum(map(len, counts.values())) >= 2 * RECORDS

        until("all of them twice", all_of_them_twice)
        assert not polled(one)
    assert counts == {at: [1, 2] for at in places}


def test_what_a_consumer_leaves_unsaid_is_anothers(
    broker: Subject, name: str, places: set[tuple[int, int]]
) -> None:
    with consumer(broker, name) as first:
        held: list[Any] = []
        until("records", lambda: held.extend(polled(first)) or held)
    taken: set[tuple[int, int]] = set()
    with consumer(broker, name, mode="implicit") as second:

        def all_of_them() -> bool:
            taken.update(map(place, polled(second)))
            return taken == places

        until("all of them", all_of_them)
