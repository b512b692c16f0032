"""What a throttled replica may have, by the rate over the last windows."""

from types import SimpleNamespace
from typing import Any

import pytest

from ottla.replica.throttles import (
    UNLIMITED,
    Rate,
    ReplicationThrottles,
    throttled,
)

ME = 1
LEADER = "leader.replication.throttled.replicas"
FOLLOWER = "follower.replication.throttled.replicas"


class Broker:
    """What a throttle looks at, and what it says."""

    def __init__(self, named: str = "0:1") -> None:
        self.now_ms = 0
        self.settings = SimpleNamespace(
            leader_replication_throttled_rate=100,
            follower_replication_throttled_rate=100,
            replication_quota_window_num=11,
            replication_quota_window_size_seconds=1,
        )
        self.state = SimpleNamespace(isr=(2,))
        topic = SimpleNamespace(configs={LEADER: named, FOLLOWER: named})
        image: Any = SimpleNamespace(topics={"t": topic}, partition=lambda name, number: self.state)
        self.throttles = ReplicationThrottles(
            ME, lambda: self.settings, lambda: image, lambda: self.now_ms
        )

    def partition(self, number: int = 0, *, topic: str = "t") -> Any:
        return SimpleNamespace(
            topic=topic,
            partition=number,
            leader_high_watermark=0,
            log=SimpleNamespace(log_end_offset=0),
            leadership=SimpleNamespace(state=self.state),
        )


def test_a_rate_is_over_the_last_windows() -> None:
    rate = Rate(3, 1_000)
    assert rate.now(0) == 0
    rate.add(3_000, 0)
    assert rate.now(0) == rate.now(1_000) == 3_000
    rate.add(1_000, 1_500)
    assert rate.now(2_000) == 2_000
    assert rate.now(3_000) == pytest.approx(1_000 / 1.5)
    assert rate.now(4_500) == 0


def test_a_follower_over_the_rate_waits_until_it_is_not() -> None:
    broker = Broker()
    throttles, partition = broker.throttles, broker.partition()
    assert throttles.allows(partition)
    throttles.took(partition, 500)
    assert not throttles.allows(partition)
    broker.now_ms = 4_999
    assert not throttles.allows(partition)
    broker.now_ms = 5_000
    assert throttles.allows(partition)


def test_a_leader_over_the_rate_gives_nothing_until_it_is_not() -> None:
    broker = Broker()
    throttles, partition = broker.throttles, broker.partition()
    throttles.sent(partition, 500)
    assert throttles.holds_back(partition, 3)
    broker.now_ms = 5_000
    assert not throttles.holds_back(partition, 3)


def test_who_is_in_sync_is_counted_and_does_not_wait() -> None:
    broker = Broker()
    throttles, partition = broker.throttles, broker.partition()
    throttles.sent(partition, 500)
    throttles.took(partition, 500)
    assert not throttles.holds_back(partition, 2)
    broker.state.isr = (1, 2)
    assert throttles.allows(partition)
    broker.state.isr = (2,)
    assert not throttles.allows(partition)
    partition.leader_high_watermark = partition.log.log_end_offset = 7
    assert throttles.allows(partition)


def test_what_nobody_named_is_neither_counted_nor_held_back() -> None:
    broker = Broker("1:1,0:2")
    throttles = broker.throttles
    for partition in (broker.partition(), broker.partition(topic="gone")):
        throttles.took(partition, 500)
        throttles.sent(partition, 500)
    named = broker.partition(1)
    assert throttles.allows(named)
    throttles.took(named, 500)
    throttles.sent(named, 500)
    assert not throttles.allows(named)
    assert throttles.holds_back(named, 3)
    assert throttles.allows(broker.partition())
    assert not throttles.holds_back(broker.partition(), 3)


def test_rates_change_while_the_broker_runs() -> None:
    broker = Broker("*")
    throttles, partition = broker.throttles, broker.partition(5)
    throttles.took(partition, 500)
    throttles.sent(partition, 500)
    assert throttles.limits_leaders
    broker.settings.leader_replication_throttled_rate = UNLIMITED
    broker.settings.follower_replication_throttled_rate = UNLIMITED
    assert throttles.allows(partition)
    assert not throttles.limits_leaders
    throttles.took(partition, 10_000)
    broker.settings.follower_replication_throttled_rate = 500
    assert throttles.allows(partition)


@pytest.mark.parametrize(
    ("text", "replicas"),
    [("", set()), ("*", None), ("0:1, 2:3", {(0, 1), (2, 3)}), ("0:1,", {(0, 1)})],
)
def test_replicas_are_named_by_partition_and_broker(text: str, replicas: Any) -> None:
    assert throttled(text) == replicas
