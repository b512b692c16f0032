"""The broker inside a test: its clock leaps, and everything that has a time-out follows."""

import asyncio

import pytest
from tests.simulation.test_members_that_die import KINDS, Enter, a_client
from tests.support.raw_client import RawClient

from ottla.client.cluster_view import ClusterView, parse_brokers
from ottla.client.sockets import Sockets
from ottla.client.transactional_producer import TransactionalProducer
from ottla.coordinator.group.history import Why
from ottla.model.errors import ApiError
from ottla.testing.embedded import EmbeddedBroker

STAYS = {"group.drop.members.on.disconnect": "false"}


class Here:
    """What `a_client` asks of a world."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._address = parse_brokers(broker.bootstrap)[0]

    async def client(self) -> RawClient:
        return await RawClient.connect(Sockets(), *self._address)


def entered(broker: EmbeddedBroker, enter: Enter) -> str:
    """The id of a member that joined, and whose connection then closed."""

    async def life() -> str:
        client = await a_client(Here(broker))  # type: ignore[arg-type]
        try:
            return await enter(client)
        finally:
            client.close()

    return asyncio.run(life())


@pytest.mark.parametrize("enter", KINDS.values(), ids=KINDS.keys())
def test_sessions_end_when_the_clock_leaps(enter: Enter) -> None:
    with EmbeddedBroker(STAYS, {"rides": 2}) as broker:
        member = entered(broker, enter)
        assert broker.rebalances("g")[0].causes[0].why is Why.JOINED
        broker.advance(45_000)
        cause = broker.rebalances("g")[-1].causes[-1]
        assert (cause.why, cause.member_id) == (Why.SESSION_EXPIRED, member)
        assert broker.now_ms() >= cause.at_ms


def test_transactions_time_out_when_the_clock_leaps() -> None:
    async def life(broker: EmbeddedBroker) -> None:
        brokers = parse_brokers(broker.bootstrap)
        async with (
            ClusterView(Sockets(), brokers, client_id="test") as view,
            TransactionalProducer(view, "copier", timeout_ms=60_000) as producer,
        ):
            await producer.init()
            producer.begin()
            await producer.send("rides", b"too late")
            await producer.flush()
            broker.advance(60_000)
            with pytest.raises(ApiError):
                await producer.commit()

    with EmbeddedBroker(topics={"rides": 1}) as broker:
        asyncio.run(life(broker))


def test_a_start_that_fails_says_why() -> None:
    with pytest.raises(OSError), EmbeddedBroker({"listeners": "PLAINTEXT://192.0.2.1:0"}):
        pass
