"""Whom a share partition's state is asked of, how often, and in which order."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.broker.remote_share_state import Kind
from ottla.broker.share_persister import PATIENCE_MS, ClusterPersister
from ottla.coordinator.share.records import ShareKey, Snapshot
from ottla.coordinator.share.runs import StateBatch
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.names import SHARE_GROUP_STATE
from ottla.testing.clock import LoopClock
from ottla.testing.loop import run
from ottla.wire.generated import read_share_group_state

ME, OTHER = 1, 2
KEY = ShareKey("g", b"t" * 16, 3)


class World:
    """Both ways, and what each answers next: errors first."""

    def __init__(self) -> None:
        self.leader = OTHER
        self.errors: list[ErrorCode] = []
        self.asked: list[tuple[int, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        topic = SimpleNamespace(partitions=[SimpleNamespace(leader=-1)])
        self.topics: dict[str, Any] = {SHARE_GROUP_STATE: topic}
        self.persister = ClusterPersister(
            ME,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.image,
            LoopClock(asyncio.get_running_loop(), start_ms=0),
        )

    def image(self) -> Any:
        if SHARE_GROUP_STATE in self.topics:
            self.topics[SHARE_GROUP_STATE].partitions[0].leader = self.leader
        return SimpleNamespace(topics=self.topics)

    def partition_for(self, key: str) -> int:
        return 0

    async def _answer(self, who: int, what: Any, answer: Any) -> Any:
        self.asked.append((who, what))
        await self.gate.wait()
        if self.errors:
            raise ApiError(self.errors.pop(0))
        return answer

    async def ask(self, broker_id: int, kind: Kind, key: ShareKey, row: Any) -> Any:
        batch = read_share_group_state.StateBatch(
            first_offset=5, last_offset=6, delivery_state=2, delivery_count=1
        )
        answer = read_share_group_state.PartitionResult(
            partition=3, state_epoch=4, start_offset=5, state_batches=[batch]
        )
        return await self._answer(broker_id, row, answer)

    async def read(self, key: ShareKey, leader_epoch: int) -> Snapshot:
        snapshot: Snapshot = await self._answer(
            ME, leader_epoch, Snapshot(7, 4, leader_epoch, 5, 0, 0, 0, ())
        )
        return snapshot

    async def summary(self, key: ShareKey) -> None:
        await self._answer(ME, "summary", None)

    def close(self) -> None:
        pass


def play(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(World())

    run(main())


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_whoever_leads_is_asked() -> None:
    async def scenario(world: World) -> None:
        found = await world.persister.read(KEY, 9)
        assert (found.state_epoch, found.start_offset) == (4, 5)
        assert found.batches == (StateBatch(5, 6, 2, 1),)
        world.leader = ME
        assert (await world.persister.read(KEY, 9)).snapshot_epoch == 7
        assert [who for who, _ in world.asked] == [OTHER, ME]

    play(scenario)


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ],
)
def test_the_next_leader_is_asked_after_a_growing_pause(code: ErrorCode) -> None:
    async def scenario(world: World) -> None:
        world.errors = [code, code, code]
        asyncio.get_running_loop().call_later(0.06, setattr, world, "leader", ME)
        await world.persister.read(KEY, 9)
        assert [who for who, _ in world.asked] == [OTHER, OTHER, ME, ME]
        assert now_s() == pytest.approx(0.05 + 0.1 + 0.2, abs=0.002)

    play(scenario)


def test_nobody_leads_for_too_long() -> None:
    async def scenario(world: World) -> None:
        world.leader = -1
        with pytest.raises(ApiError) as raised:
            await world.persister.delete(KEY)
        assert raised.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert PATIENCE_MS - 1_000 < now_s() * 1000 <= PATIENCE_MS
        assert not world.asked

    play(scenario)


@pytest.mark.parametrize("code", [ErrorCode.FENCED_STATE_EPOCH, ErrorCode.FENCED_LEADER_EPOCH])
def test_who_is_fenced_does_not_ask_again(code: ErrorCode) -> None:
    async def scenario(world: World) -> None:
        world.errors = [code]
        with pytest.raises(ApiError) as raised:
            await world.persister.write(KEY, 4, 9, 5, 0, [])
        assert raised.value.code is code
        assert len(world.asked) == 1

    play(scenario)


def test_what_is_asked_again_is_not_overtaken() -> None:
    async def scenario(world: World) -> None:
        world.errors = [ErrorCode.NOT_COORDINATOR]
        first = asyncio.create_task(world.persister.write(KEY, 4, 9, 5, 0, []))
        await asyncio.sleep(0)
        second = asyncio.create_task(world.persister.write(KEY, 4, 9, 8, 0, []))
        other = asyncio.create_task(
            world.persister.write(KEY._replace(partition=4), 4, 9, 1, 0, [])
        )
        await asyncio.gather(first, second, other)
        assert [row.start_offset for _, row in world.asked] == [5, 1, 5, 8]

    play(scenario)


def test_without_a_topic_for_it_the_own_coordinator_says_so() -> None:
    async def scenario(world: World) -> None:
        world.topics.clear()
        assert await world.persister.summary(KEY) is None
        assert world.asked == [(ME, "summary")]

    play(scenario)


def test_nobody_waits_for_a_broker_that_stops() -> None:
    async def scenario(world: World) -> None:
        world.leader = -1
        waits = asyncio.create_task(world.persister.delete(KEY))
        await asyncio.sleep(0.01)
        world.persister.close()
        with pytest.raises(ApiError):
            await waits
        assert now_s() < 1

    play(scenario)


def test_what_was_stored_of_a_topic_that_is_gone_is_deleted() -> None:
    async def scenario(world: World) -> None:
        world.errors = [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
        await world.persister.delete(KEY)

    play(scenario)
