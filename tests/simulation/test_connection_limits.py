"""How many may be connected from one address, and on one listener."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.raw_client import ConnectionClosedError, RawClient
from tests.support.simulated_world import BROKER, PORT, World, simulate

from ottla.wire.generated.api_versions import ApiVersionsRequest
from ottla.wire.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

BROKERS = 4
"""The resource type."""

INSIDE_PORT = 9094
TWO_LISTENERS = {
    "listeners": f"PLAINTEXT://{BROKER}:{PORT},INSIDE://{BROKER}:{INSIDE_PORT}",
    "listener_security_protocol_map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT",
}


def with_a_broker(case: Callable[[World], Awaitable[None]], **settings: str) -> list[str]:
    async def program(world: World) -> None:
        await world.start()
        await case(world)
        await world.stop()

    return simulate(program, seed=5, **settings)


async def connected(world: World, port: int = PORT, host: str = "10.0.0.2") -> RawClient | None:
    """A client that is served; None if its connection was closed instead."""
    client = await RawClient.connect(world.network.host(host), BROKER, port)
    try:
        await client.call(ApiVersionsRequest(), 3)
    except ConnectionClosedError:
        return None
    return client


def test_the_limit_of_one_address() -> None:
    async def case(world: World) -> None:
        assert await connected(world)
        assert not await connected(world)
        assert await connected(world, host="10.0.0.3")

    with_a_broker(case, max_connections_per_ip="1")


def test_the_limit_of_one_listener_is_not_that_of_another() -> None:
    async def case(world: World) -> None:
        first = await connected(world, INSIDE_PORT)
        assert first is not None
        assert not await connected(world, INSIDE_PORT)
        assert await connected(world)
        assert await connected(world)
        first.transport.abort()
        await asyncio.sleep(1)
        assert await connected(world, INSIDE_PORT)

    trace = with_a_broker(case, listener_name_inside_max_connections="1", **TWO_LISTENERS)
    assert [line for line in trace if "too many are open on INSIDE: 1" in line]


def test_the_limit_of_one_listener_may_change() -> None:
    async def case(world: World) -> None:
        admin = await connected(world)
        assert admin is not None
        change = AlterableConfig(name="listener.name.inside.max.connections", value="0")
        of_all = AlterConfigsResource(resource_type=BROKERS, resource_name="", configs=[change])
        answer = await admin.call(IncrementalAlterConfigsRequest(resources=[of_all]), 1)
        assert answer.responses[0].error_code == 0
        assert not await connected(world, INSIDE_PORT)
        assert await connected(world)

    with_a_broker(case, **TWO_LISTENERS)
