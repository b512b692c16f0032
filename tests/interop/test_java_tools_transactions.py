"""TransactionsCommand prints the same about our broker as about the real one; it ends what hangs."""

import asyncio

import pytest
from tests.interop.conftest import create_topic
from tests.interop.raw_producer import RawProducer
from tests.interop.sessions import CONFIGS, Session, assert_same
from tests.support.raw_client import RawClient
from tests.support.versions.talk import Sockets
from tools.kafka import Tools
from tools.subject import Subject

from ottla.model.errors import ErrorCode

pytestmark = pytest.mark.java

TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"
VERIFICATION = "transaction.partition.verification.enable"
NONE = ErrorCode.NONE


class Conversation:
    """A producer and the tool, in turn."""

    def __init__(self, session: Session, producer: RawProducer) -> None:
        self.session = session
        self.producer = producer

    def tool(self, command: str, *arguments: str) -> str:
        """Run the tool; what it prints is kept without times and the producer's id."""
        before = "" if command == "describe-producers" else r"\S+ \S+ "
        masks = [
            (rf"(?m)^({before}){self.producer.producer_id} ", r"\1PRODUCER "),
            (r"\b\d{13} \d+", "TIMES"),
            (r"\b\d{13}\b", "TIME"),
        ]
        return self.session.tool(TRANSACTIONS, command, *arguments, masks=masks)


async def connected(session: Session, name: str) -> tuple[RawClient, RawProducer]:
    client = await RawClient.connect(Sockets(), "127.0.0.1", session.subject.port)  # type: ignore[arg-type]
    producer = RawProducer(client, name)
    await producer.init()
    return client, producer


def test_transactions_are_listed_described_and_aborted(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    async def conversation(session: Session) -> None:
        create_topic(session.subject, name, 2)
        client, producer = await connected(session, name)
        tool = Conversation(session, producer).tool
        place = ("--topic", name, "--partition", "0")
        mine = ("--transactional-id", name)
        try:
            tool("describe", "--transactional-id", f"{name}-absent")
            tool("describe-producers", *place)
            tool("abort", *place, "--start-offset", "7")
            tool("list", "--transactional-id-pattern", f"{name}-no.*")
            tool("describe", *mine)

            assert await producer.produce("open", producer.epoch) == NONE
            tool("describe", *mine)
            tool("list", "--transactional-id-pattern", f"{name[:-2]}.*")
            tool("list", "--transactional-id-pattern", name[:-2])
            tool("list", "--transactional-id-pattern", "(")
            tool("list", "--transactional-id-pattern", f"{name}|x", "--duration-filter", "3600000")
            assert name in tool("list")
            session.steps.pop()
            tool("describe-producers", *place)
            tool("describe-producers", *place, "--broker-id", "1")
            tool("find-hanging", "--topic", name)

            assert await producer.end(producer.epoch) == NONE
            await producer.completed()
            tool("describe", *mine)
            tool("list", "--transactional-id-pattern", f"{name}")
            tool("describe-producers", *place)
        finally:
            client.close()

    assert_same(kafka_tool, broker, real_kafka, lambda session: asyncio.run(conversation(session)))


def test_a_hanging_transaction_is_found_and_aborted(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    """A batch of no transaction the coordinator knows of, as they came in before KIP-890."""

    async def conversation(session: Session) -> None:
        create_topic(session.subject, name)
        client, producer = await connected(session, name)
        tool = Conversation(session, producer).tool
        place = ("--topic", name, "--partition", "0")
        every = ("--entity-type", "brokers", "--entity-default")
        session.tool(CONFIGS, "--alter", *every, "--add-config", f"{VERIFICATION}=false")
        try:
            while await producer.produce("hangs", producer.epoch, version=11) != NONE:
                await asyncio.sleep(0.01)  # until the setting is there
            tool("describe-producers", *place)
            tool("find-hanging", "--topic", name)
            tool("find-hanging", *place)
            tool("find-hanging", "--broker-id", "1", "--max-transaction-timeout", "5")
            tool("abort", *place, "--start-offset", "1")
            assert await producer.is_open()
            tool("abort", *place, "--start-offset", "0")
            assert not await producer.is_open()
            tool("find-hanging", "--topic", name)
            tool("describe-producers", *place)
        finally:
            client.close()
            session.tool(CONFIGS, "--alter", *every, "--delete-config", VERIFICATION)

    assert_same(kafka_tool, broker, real_kafka, lambda session: asyncio.run(conversation(session)))


def test_an_open_transaction_is_terminated_by_force(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    async def conversation(session: Session) -> None:
        create_topic(session.subject, name)
        client, producer = await connected(session, name)
        tool = Conversation(session, producer).tool
        try:
            assert await producer.produce("open", producer.epoch) == NONE
            tool("forceTerminateTransaction", "--transactionalId", name)
            assert await producer.end(producer.epoch) == ErrorCode.PRODUCER_FENCED
            assert not await producer.is_open()
            tool("describe", "--transactional-id", name)
        finally:
            client.close()

    assert_same(kafka_tool, broker, real_kafka, lambda session: asyncio.run(conversation(session)))
