"""Followers at work, on virtual time: links that come and go, partitions that move."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.handlers.parts import Asker
from tests.unit.replica.nodes import Node
from tests.unit.replica.parts import FLUSHED, among, append

from ottla.handlers.offsets import list_offsets
from ottla.metadata.image import PartitionImage
from ottla.model.errors import PeerError
from ottla.replica import fetcher
from ottla.replica.fetcher import Fetchers
from ottla.storage.log_config import LogConfig
from ottla.testing.clock import LoopClock
from ottla.testing.loop import run as run_virtually
from ottla.wire.generated.fetch import FetchRequest

ROUND_TRIP_S = 0.001
WAIT_MS = 100
BACKOFF_MS = 1_000


class CallLink:
    """A link whose requests are calls; one Fetch at a time."""

    def __init__(self, world: "World", leader: Node) -> None:
        self._world = world
        self._leader = leader
        self.closed = False
        self.fetching = False

    def close(self) -> None:
        self.closed = True
        self._world.links.remove(self)

    async def request(self, request: Any, *, timeout_ms: int) -> Any:
        self._world.requests.append(request)
        await asyncio.sleep(ROUND_TRIP_S)
        if self._leader.broker_id in self._world.down:
            raise PeerError("cut off")
        if not isinstance(request, FetchRequest):
            return list_offsets(Asker(self._leader.broker, 8), request)  # type: ignore[arg-type]
        assert not self.fetching
        self.fetching = True
        try:
            request.max_wait_ms = 0
            response = self._leader.serve(request)
            if not any(row.records for topic in response.responses for row in topic.partitions):
                await asyncio.sleep(WAIT_MS / 1000)
            return response
        finally:
            self.fetching = False


class World:
    """Brokers 1 and 2 may lead, 3 follows; their links are calls."""

    def __init__(self, config: LogConfig | None = None) -> None:
        self.nodes = {broker: Node(broker, config) for broker in (1, 2, 3)}
        for node in self.nodes.values():
            node.know(self.nodes)
        self.down: set[int] = set()
        self.links: list[CallLink] = []
        self.requests: list[Any] = []
        self.connections = 0
        self.failed: list[object] = []
        self.crashed: list[BaseException] = []
        clock = LoopClock(asyncio.get_running_loop())
        self.fetchers = Fetchers(
            3,
            self,  # type: ignore[arg-type]
            clock=clock,
            domain_clock=clock,
            settings=lambda: SimpleNamespace(  # type: ignore[arg-type,return-value]
                replica_fetch_backoff_ms=BACKOFF_MS,
                replica_fetch_max_bytes=1 << 20,
                replica_fetch_min_bytes=1,
                replica_fetch_response_max_bytes=1 << 20,
                replica_fetch_wait_max_ms=WAIT_MS,
                replica_socket_timeout_ms=5_000,
                socket_connection_setup_timeout_ms=5_000,
            ),
            broker_epoch=lambda: self.nodes[3].epoch,
            address_of=lambda broker: ("host", broker),
            failed=lambda partition, error: self.failed.append(partition),
            crashed=self.crashed.append,
        )

    async def connect(self, network: Any, host: str, port: int, **options: Any) -> CallLink:
        self.connections += 1
        await asyncio.sleep(ROUND_TRIP_S)
        if port in self.down:
            raise PeerError("nobody is there")
        self.links.append(CallLink(self, self.nodes[port]))
        return self.links[-1]

    def lead(self, leader: int, epoch: int) -> None:
        """Everybody learns of it at once."""
        state: PartitionImage = among(epoch, leader=leader)
        for node in self.nodes.values():
            node.learn(state)
        self.fetchers.follow(self.follower.partition)

    @property
    def follower(self) -> Node:
        return self.nodes[3]

    def has_all_of(self, leader: int) -> bool:
        return self.follower.records() == self.nodes[leader].records()


Scenario = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def play(scenario: Scenario, config: LogConfig | None = None) -> None:
        async def whole() -> None:
            world = World(config)
            monkeypatch.setattr(fetcher, "connect", world.connect)
            await scenario(world)
            await world.fetchers.close()
            assert (world.links, world.crashed) == ([], [])

        run_virtually(whole())

    return play


def test_a_follower_copies_what_its_leader_gets(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        world.lead(1, 1)
        for _ in range(3):
            append(world.nodes[1].partition, 3)
            await asyncio.sleep(1)
            assert world.has_all_of(1)
        assert world.connections == 1
        assert world.nodes[1].partition.leadership.followers[3].end_offset == 9  # type: ignore[union-attr]

    play(scenario)


def test_a_partition_moves_to_its_new_leader(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        world.lead(1, 1)
        append(world.nodes[1].partition, 3)
        await asyncio.sleep(1)
        append(world.nodes[1].partition, 2)
        world.lead(2, 2)
        append(world.nodes[2].partition, 4)
        await asyncio.sleep(1)
        assert world.has_all_of(2)
        assert (len(world.fetchers), len(world.links)) == (1, 1)
        assert world.follower.log.log_end_offset == 4

    play(scenario)


def test_who_leads_itself_fetches_no_more(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        world.lead(1, 1)
        await asyncio.sleep(1)
        world.lead(3, 2)
        await asyncio.sleep(1)
        assert (len(world.fetchers), world.links) == (0, [])
        asked = len(world.requests)
        await asyncio.sleep(5)
        assert len(world.requests) == asked

    play(scenario)


class Elsewhere:
    """A replica that broker 1 leads; nothing of it is fetched before it is given up."""

    def __init__(self, number: int) -> None:
        self.topic, self.partition, self.topic_id = "u", number, bytes(16)
        self.leader, self.leader_epoch, self.is_leader = 1, 1, False


def test_a_fetcher_ends_once_whatever_failed_on_disk_before(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        failed, other = Elsewhere(0), Elsewhere(1)
        for replica in (failed, other):
            world.fetchers.follow(replica)  # type: ignore[arg-type]
        world.fetchers._at[failed].plan.remove((failed.topic_id, 0))  # type: ignore[index]
        for replica in (other, failed):
            replica.leader = -1
            world.fetchers.follow(replica)  # type: ignore[arg-type]
        assert len(world.fetchers) == 0

    play(scenario)


def test_a_leader_that_is_away_is_tried_again_now_and_then(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        world.down = {1}
        world.lead(1, 1)
        append(world.nodes[1].partition, 3)
        await asyncio.sleep(10)
        assert 8 <= world.connections <= 11
        world.down = set()
        await asyncio.sleep(2)
        assert world.has_all_of(1)
        world.down = {1}
        await asyncio.sleep(2)
        append(world.nodes[1].partition, 3)
        world.down = set()
        await asyncio.sleep(2)
        assert world.has_all_of(1), "on another link, in another session"

    play(scenario)


def test_who_is_far_behind_begins_where_the_leader_does(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        leader = world.nodes[1].partition
        world.nodes[1].learn(among(1, replicas=(1,)))
        append(leader, 3)
        append(leader, 3)
        leader.advance_log_start(3)
        world.lead(1, 2)
        await asyncio.sleep(1)
        assert world.follower.log.log_start_offset == 3
        assert world.has_all_of(1)

    play(scenario)


def test_what_is_flushed_is_told(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        world.lead(1, 1)
        append(world.nodes[1].partition, 3)
        await asyncio.sleep(1)
        leadership = world.nodes[1].partition.leadership
        assert leadership is not None
        assert leadership.followers[3].end_offset == 0
        world.follower.flush()
        await asyncio.sleep(1)
        assert leadership.followers[3].end_offset == 3

    play(scenario, FLUSHED)


def test_another_leader_ends_the_wait_for_the_disk(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        world.lead(1, 1)
        append(world.nodes[1].partition, 3)
        await asyncio.sleep(1)
        world.lead(2, 2)
        world.follower.flush()
        await asyncio.sleep(1)
        leadership = world.nodes[2].partition.leadership
        assert leadership is not None
        assert leadership.followers[3].end_offset == 0, "cut where 2 began"

    play(scenario, FLUSHED)


def test_nobody_knows_where_the_leader_is(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        known: list[int] = []
        world.fetchers.address_of = lambda broker: ("host", broker) if known else None
        world.lead(1, 1)
        append(world.nodes[1].partition, 3)
        await asyncio.sleep(3)
        assert world.connections == 0
        known.append(1)
        await asyncio.sleep(2)
        assert world.has_all_of(1)

    play(scenario)


def test_an_error_that_should_not_be_is_told_and_stops_the_fetcher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def whole() -> None:
        world = World()
        monkeypatch.setattr(fetcher, "connect", world.connect)

        def broken() -> int:
            raise AssertionError("for the test")

        world.fetchers.broker_epoch = broken
        world.lead(1, 1)
        await asyncio.sleep(1)
        assert [type(error) for error in world.crashed] == [AssertionError]
        await world.fetchers.close()

    run_virtually(whole())
