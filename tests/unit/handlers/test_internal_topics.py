"""How many replicas an internal topic gets: as is set, or else as there are brokers for."""

from types import SimpleNamespace
from typing import Any

import pytest

from ottla.config.broker_config import BrokerConfig
from ottla.handlers.topics import internal_topic
from ottla.model.names import CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE

TOPICS = (CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE)
FACTORS = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)
MIN_ISRS = ("transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr")


def made(usable: int, **settings: str) -> list[tuple[int, str]]:
    """(replicas, min.insync.replicas) of each internal topic; one broker is there and not usable."""
    config = BrokerConfig({name.replace("_", "."): value for name, value in settings.items()})
    brokers = [SimpleNamespace(is_usable=True)] * usable + [SimpleNamespace(is_usable=False)]
    broker: Any = SimpleNamespace(
        config=config,
        forwarder=object(),
        image=SimpleNamespace(brokers=dict(enumerate(brokers))),
    )
    topics = [internal_topic(broker, name) for name in TOPICS]
    return [
        (topic.replication_factor, topic.configs.get("min.insync.replicas", "-"))
        for topic in topics
    ]


@pytest.mark.parametrize(
    ("usable", "replicas", "min_isr"),
    [(0, 1, "1"), (1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (5, 3, "2")],
)
def test_by_default_they_have_three_replicas_where_there_are_three_brokers(
    usable: int, replicas: int, min_isr: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert made(usable) == [(replicas, "-"), (replicas, min_isr), (replicas, min_isr)]
    assert len(caplog.messages) == (0 if replicas == 3 else 3)


def test_what_is_set_is_taken_as_it_is() -> None:
    three = dict.fromkeys(FACTORS, "3") | dict.fromkeys(MIN_ISRS, "3")
    assert made(1, **three) == [(3, "-"), (3, "3"), (3, "3")]
    assert made(5, **dict.fromkeys(FACTORS, "1")) == [(1, "-"), (1, "1"), (1, "1")]
    assert made(1, **dict.fromkeys(MIN_ISRS, "2")) == [(1, "-"), (1, "2"), (1, "2")]
