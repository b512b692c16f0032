"""A streams group over a whole broker that dies: the members go on in their epochs."""

import asyncio
from typing import Any

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import Death, World, simulate
from tests.support.versions.ask_streams import beating, having, joining, subtopology, topology
from tests.support.versions.build import build
from tests.support.witness import create_topic

from ottla.coordinator.group.history import Why
from ottla.model.errors import ErrorCode
from ottla.wire.apis import request_class
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest

HEARTBEAT, DESCRIBE, COMMIT, FETCH, METADATA = 88, 89, 8, 9, 3
SESSION_MS, DELAY_MS = 45_000, 3_000
SHAPE = topology(subtopology("rides", state_changelog_topics=[{"name": "log"}]))
NOT_YET = (
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
)


async def ask(client: RawClient, key: int, version: int, **fields: Any) -> Any:
    return await client.call(build(request_class(key), version, fields), version)


async def beat(client: RawClient, **fields: Any) -> Any:
    """A heartbeat, sent until the coordinator is there."""
    while True:
        answer = await ask(client, HEARTBEAT, 0, **fields)
        if answer.error_code not in NOT_YET:
            return answer
        await client.call(FindCoordinatorRequest(key="g"), 2)
        await asyncio.sleep(0.01)


def told(answer: Any) -> list[int]:
    return [number for row in answer.active_tasks or () for number in row.partitions]


async def commit(client: RawClient, member: str, epoch: int, offset: int) -> int:
    rows = [{"partition_index": 0, "committed_offset": offset, "committed_metadata": ""}]
    at = {"group_id": "g", "member_id": member, "generation_id_or_member_epoch": epoch}
    answer = await ask(client, COMMIT, 9, **at, topics=[{"name": "rides", "partitions": rows}])
    code: int = answer.topics[0].partitions[0].error_code
    return code


async def before(world: World) -> None:
    """Two members come, wait for each other, and share; the topic of their state is made."""
    await world.start()
    client = await world.client()
    await create_topic(client, "rides", 2)
    await beat(client, **joining("g", "a", SHAPE))
    answer = await beat(client, **joining("g", "b", SHAPE))
    assert told(answer) == []
    world.clock.advance(DELAY_MS)
    assert told(await beat(client, **beating("g", "a", 1, **having()))) == [0]
    answer = await beat(client, **beating("g", "b", 1, **having()))
    assert (told(answer), answer.member_epoch) == ([1], 3)
    assert await commit(client, "a", 3, 17) == 0
    found = await ask(client, METADATA, 12, topics=[{"name": "log"}])
    assert len(found.topics[0].partitions) == 2


async def after(world: World) -> None:
    """One goes on as if nothing had been; the other is missed when its session is over."""
    await world.start()
    client = await world.client()
    answer = await beat(client, **beating("g", "a", 3, **having(0)))
    assert (answer.error_code, answer.member_epoch) == (0, 3)
    assert await commit(client, "a", 3, 18) == 0
    world.clock.advance(SESSION_MS - 1)
    await beat(client, **beating("g", "a", 3, **having(0)))
    world.clock.advance(1)
    answer = await beat(client, **beating("g", "a", 3, **having(0)))
    assert (told(answer), answer.member_epoch) == ([0, 1], 4)
    assert await commit(client, "b", 3, 19) == ErrorCode.UNKNOWN_MEMBER_ID
    asked = [{"group_id": "g", "topics": [{"name": "rides", "partition_indexes": [0]}]}]
    fetched = await ask(client, FETCH, 8, groups=asked)
    assert fetched.groups[0].topics[0].partitions[0].committed_offset == 18
    assert world.broker is not None
    (rebalance,) = world.broker.groups.rebalances("g")
    assert [(cause.member_id, cause.why) for cause in rebalance.causes] == [
        ("b", Why.SESSION_EXPIRED)
    ]
    await world.stop()


@pytest.mark.parametrize("death", list(Death))
def test_members_go_on_in_their_epochs_when_the_broker_died(death: Death) -> None:
    flush = {"log_flush_interval_messages": "1"} if death is Death.POWER else {}
    delay = {"group_streams_initial_rebalance_delay_ms": str(DELAY_MS)}
    simulate(before, after, seed=5, death=death, **flush, **delay)


def test_where_the_protocol_is_switched_off_nobody_joins() -> None:
    async def life(world: World) -> None:
        world.settings["group.coordinator.rebalance.protocols"] = "classic,consumer"
        await world.start()
        client = await world.client()
        await create_topic(client, "rides", 2)
        answer = await ask(client, HEARTBEAT, 0, **joining("g", "a", SHAPE))
        assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
        described = await ask(client, DESCRIBE, 0, group_ids=["g"])
        assert described.groups[0].error_code == ErrorCode.UNSUPPORTED_VERSION
        await world.stop()

    simulate(life, seed=5)
