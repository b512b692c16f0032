"""What an acknowledgement promises of a power cut, where it promises anything."""

import pytest
from tests.support.simulated_world import Death, World, simulate
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.wire.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

TOPIC = "rides"


@pytest.mark.parametrize("acks", [-1, 1])
def test_what_was_acknowledged_as_flushed_survives_a_power_cut(acks: int) -> None:
    async def produce_and_die(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC) == 0
        request = produce_request(TOPIC, batch(b"promised"), acks=acks)
        response = await client.call(request, PRODUCE_VERSION)
        assert response.responses[0].partition_responses[0].error_code == 0

    async def read(world: World) -> None:
        await world.start()
        client = await world.client()
        response = await client.call(
            fetch_request(TOPIC, 0, max_wait_ms=1_000, min_bytes=1), FETCH_VERSION
        )
        (data,) = response.responses[0].partitions
        assert (data.error_code, data.high_watermark) == (0, 1)
        await world.stop()

    simulate(
        produce_and_die, read, seed=1, death=Death.POWER, **{"log.flush.interval.messages": "1"}
    )


def test_what_was_acknowledged_before_it_meant_flushed_is_flushed_by_then() -> None:
    async def produce_and_change(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC) == 0
        request = produce_request(TOPIC, batch(b"promised"), acks=-1)
        response = await client.call(request, PRODUCE_VERSION)
        assert response.responses[0].partition_responses[0].error_code == 0
        change = AlterableConfig(name="flush.messages", value="1")
        resource = AlterConfigsResource(resource_type=2, resource_name=TOPIC, configs=[change])
        answer = await client.call(IncrementalAlterConfigsRequest(resources=[resource]), 1)
        assert answer.responses[0].error_code == 0

    async def read(world: World) -> None:
        await world.start()
        client = await world.client()
        response = await client.call(
            fetch_request(TOPIC, 0, max_wait_ms=1_000, min_bytes=1), FETCH_VERSION
        )
        (data,) = response.responses[0].partitions
        assert (data.error_code, data.high_watermark) == (0, 1)
        await world.stop()

    simulate(produce_and_change, read, seed=1, death=Death.POWER)
