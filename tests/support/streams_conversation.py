"""Members of a streams group come and go: heartbeats any broker can be sent.

The same heartbeats go to the real Kafka (`tests/interop/streams_goldens.py`, which keeps what it
wrote) and to our shard. The assignor never has a choice among equals here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.versions.ask_streams import beating, joining, subtopology, topology
from tests.support.versions.build import build

from ottla.wire.generated.streams_group_heartbeat import StreamsGroupHeartbeatRequest

TOPICS = {"orders": 3, "again": 3, "log": 3}
GROUP = "streamers"
SETTINGS = {
    "streams.assignment.interval.ms": "0",
    "streams.initial.rebalance.delay.ms": "0",
    "streams.num.standby.replicas": "1",
}
ROLES = ("active_tasks", "standby_tasks", "warmup_tasks")
LOG = {
    "name": "log",
    "replication_factor": 1,
    "topic_configs": [{"key": "cleanup.policy", "value": "compact"}],
}
TOPOLOGY = topology(
    subtopology("orders", repartition_sink_topics=["again"], state_changelog_topics=[LOG]),
    {
        "subtopology_id": "1",
        "repartition_source_topics": [{"name": "again"}],
        "copartition_groups": [{"repartition_source_topics": [0]}],
    },
)

Send = Callable[[Any], Awaitable[Any]]


class Members:
    """Each member's epoch and tasks, as it was told last."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._epochs: dict[str, int] = {}
        self._tasks: dict[str, dict[str, list[dict[str, Any]]]] = {}

    async def join(self, name: str, **rest: Any) -> None:
        self._epochs[name], self._tasks[name] = 0, {role: [] for role in ROLES}
        await self.beat(name, **joining(GROUP, name, TOPOLOGY, **rest))

    async def beat(self, name: str, **rest: Any) -> None:
        """A heartbeat that says what the member has."""
        epoch = rest.pop("epoch", self._epochs[name])
        fields = {**beating(GROUP, name, epoch), **self._tasks[name], **rest}
        answer = await self._send(build(StreamsGroupHeartbeatRequest, 0, fields))
        assert not answer.error_code, answer
        self._epochs[name] = answer.member_epoch
        if answer.active_tasks is not None:
            self._tasks[name] = {
                role: [
                    {"subtopology_id": row.subtopology_id, "partitions": row.partitions}
                    for row in getattr(answer, role)
                ]
                for role in ROLES
            }

    async def settle(self, *names: str) -> None:
        for _ in range(5):
            for name in names:
                await self.beat(name)


async def streamers(members: Members) -> None:
    """One after the other joins, says more of itself, leaves."""
    await members.join("a")
    await members.settle("a")
    await members.join("b", rack_id="r1", client_tags=[{"key": "zone", "value": "z"}])
    await members.settle("a", "b")
    await members.beat("b", rack_id="r2", user_endpoint={"host": "h", "port": 7})
    await members.settle("a", "b")
    await members.beat("a", epoch=-1)
    await members.settle("b")
    await members.beat("b", epoch=-1)
