"""Members of a consumer group and of a share group come and go: heartbeats any broker can be sent.

The same heartbeats go to the real Kafka (`tests/interop/newer_goldens.py`, which keeps what it
wrote) and to our shard.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    TopicPartitionsRequest,
)
from ottla.wire.generated.share_group_heartbeat import ShareGroupHeartbeatRequest

TOPICS = {"orders": 3, "bills": 2}
CONSUMERS, SHARERS = "consumers", "sharers"
"""The groups."""

Send = Callable[[Any], Awaitable[Any]]


class Members:
    """Each member's epoch and what it owns, as it was told last."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._epochs: dict[str, int] = {}
        self._owned: dict[str, list[tuple[bytes, list[int]]]] = {}

    async def beat(self, name: str, *topics: str, **rest: Any) -> Any:
        """A heartbeat; with topics or an expression the member joins or subscribes anew."""
        epoch = rest.pop("epoch", self._epochs.get(name, 0))
        request = ConsumerGroupHeartbeatRequest(
            group_id=CONSUMERS, member_id=name, member_epoch=epoch
        )
        request.topic_partitions = [
            TopicPartitionsRequest(topic_id=topic_id, partitions=numbers)
            for topic_id, numbers in self._owned.get(name, [])
        ]
        if topics:
            request.subscribed_topic_names = list(topics)
        if topics or rest:
            request.rebalance_timeout_ms = 60_000
        for field, value in rest.items():
            setattr(request, field, value)
        answer = await self._send(request)
        assert not answer.error_code, answer
        self._epochs[name] = answer.member_epoch
        if epoch < 0:
            self._owned.pop(name, None)
        elif answer.assignment is not None:
            self._owned[name] = [
                (row.topic_id, row.partitions) for row in answer.assignment.topic_partitions
            ]
        return answer

    async def settle(self, *names: str) -> None:
        for _ in range(5):
            for name in names:
                await self.beat(name)

    async def share(self, name: str, *topics: str, epoch: int | None = None) -> Any:
        """A heartbeat of a member of the share group."""
        request = ShareGroupHeartbeatRequest(
            group_id=SHARERS,
            member_id=name,
            member_epoch=self._epochs.get(name, 0) if epoch is None else epoch,
            subscribed_topic_names=list(topics) or None,
        )
        answer = await self._send(request)
        assert not answer.error_code, answer
        self._epochs[name] = answer.member_epoch
        return answer


async def consumers(members: Members) -> None:
    """One after the other joins, subscribes otherwise, is static, is back, leaves."""
    await members.beat("a", "orders", server_assignor="uniform")
    await members.settle("a")
    await members.beat("a", "orders", "bills", "absent")
    await members.settle("a")
    await members.beat("a", "orders", "absent")
    await members.settle("a")
    await members.beat("b", "orders", rack_id="r1", server_assignor="uniform")
    await members.settle("a", "b")
    await members.beat("c", "orders", instance_id="i")
    await members.settle("a", "b", "c")
    await members.beat("c", epoch=-2, instance_id="i")
    await members.beat("d", "orders", instance_id="i")
    await members.settle("a", "b", "d")
    await members.beat("b", epoch=-1)
    await members.settle("a", "d")
    await members.beat("d", epoch=-1, instance_id="i")
    await members.settle("a")
    await members.beat("a", epoch=-1)


async def sharers(members: Members) -> None:
    """Two members share two topics."""
    await members.share("e", "orders")
    for _ in range(20):
        await members.share("e")
    await members.share("f", "orders", "bills")
    for _ in range(20):
        await members.share("e")
        await members.share("f")
    await members.share("e", epoch=-1)
    await members.share("f")
