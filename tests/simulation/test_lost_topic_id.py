"""A power cut may leave a log without the file that says of which topic it is."""

import pytest
from tests.support.simulated_world import World, simulate
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.wire.generated.delete_topics import DeleteTopicsRequest


@pytest.mark.parametrize("left", [None, b""])
def test_a_log_that_lost_its_topic_id_is_served_by_every_later_broker(left: bytes | None) -> None:
    path = "/data/t-0/partition.metadata"
    found: list[bytes] = []

    async def first(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "t") == 0
        await client.call(produce_request("t", batch(b"kept")), PRODUCE_VERSION)
        found.append(world.disk.read(path))
        world.disk.remove(path)
        if left is not None:
            world.disk.create(path, left)

    async def later(world: World) -> None:
        await world.start()
        client = await world.client()
        response = await client.call(fetch_request("t", 0), FETCH_VERSION)
        (data,) = response.responses[0].partitions
        assert (data.error_code, data.high_watermark) == (0, 1)
        found.append(world.disk.read(path))
        await world.stop()

    simulate(first, later, later, seed=1)
    assert len(set(found)) == 1
    assert len(found) == 3


def test_a_deleted_topic_that_comes_back_without_its_id_is_not_the_new_one_of_its_name() -> None:
    """A power cut may undo the renaming of a deleted topic's directory, and lose its topic id."""

    async def first(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "t") == 0
        await client.call(produce_request("t", batch(b"of the old")), PRODUCE_VERSION)
        await client.call(DeleteTopicsRequest(topic_names=["t"], timeout_ms=30_000), 5)
        assert await create_topic(client, "t") == 0
        (aside,) = [name for name in world.disk.list("/data") if name.endswith("-delete")]
        if world.disk.exists("/data/t-0"):
            world.disk.remove_tree("/data/t-0")
        world.disk.rename(f"/data/{aside}", "/data/t-0")
        world.disk.remove("/data/t-0/partition.metadata")

    async def later(world: World) -> None:
        await world.start()
        client = await world.client()
        response = await client.call(fetch_request("t", 0), FETCH_VERSION)
        (data,) = response.responses[0].partitions
        assert (data.error_code, data.high_watermark) == (0, 0)
        (stray,) = [name for name in world.disk.list("/data") if name.endswith("-stray")]
        assert "00000000000000000000.log" in world.disk.list(f"/data/{stray}")
        await world.stop()

    simulate(first, later, later, seed=1)
