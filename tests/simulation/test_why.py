"""Why a group rebalanced can be asked, by those who know how."""

import pytest
from tests.simulation.test_members_that_die import KINDS, Enter, a_client
from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.client.cluster_view import ClusterView
from ottla.client.groups import Groups
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.api_versions import ApiVersionsRequest
from ottla.wire.generated.describe_rebalances import DescribeRebalancesRequest

OURS = DescribeRebalancesRequest.API_KEY


@pytest.mark.parametrize("enter", KINDS.values(), ids=KINDS.keys())
def test_the_causes_of_the_last_rebalances_are_told(enter: Enter) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await a_client(world)
        await create_topic(client, "rides")
        member = await enter(client)
        network = world.network.host("10.0.0.3")
        async with ClusterView(network, [("127.0.0.1", 9092)], client_id="asks") as view:
            (first,) = await Groups(view).rebalances("g")
            assert first.started_at_ms == first.stable_at_ms == world.clock.now_ms()
            assert first.member_count == 1
            assert [(cause.why, cause.member_id) for cause in first.causes] == [("joined", member)]
            world.clock.advance(45_000)
            _, last = await Groups(view).rebalances("g")
            (cause,) = last.causes
            assert (cause.why, cause.member_id) == ("session expired", member)
            assert (last.member_count, cause.at_ms) == (0, world.clock.now_ms())
            with pytest.raises(ApiError) as unknown:
                await Groups(view).rebalances("nobody")
            assert unknown.value.code is ErrorCode.GROUP_ID_NOT_FOUND
        await world.stop()

    simulate(life, seed=3)


def test_only_our_own_client_is_told_that_it_may_ask() -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        for name in ("apache-kafka-java", "librdkafka", "ottla"):
            request = ApiVersionsRequest(client_software_name=name, client_software_version="1")
            answer = await client.call(request, 3)
            told = {row.api_key for row in answer.api_keys}
            assert (OURS in told) is (name == "ottla")
        silent = await (await world.client()).call(ApiVersionsRequest(), 0)
        assert OURS not in {row.api_key for row in silent.api_keys}
        await world.stop()

    simulate(life, seed=3)
