"""The hand-written path of Produce is the generated one, only shorter."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.raw_client import framed, request_bytes
from tests.support.simulated_world import World, simulate
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request

from ottla.handlers import produce_one
from ottla.handlers.context import Address, Client
from ottla.handlers.registry import served
from ottla.model.errors import ErrorCode, ProtocolError
from ottla.model.isolation import CompressionType
from ottla.net.connection import Connection
from ottla.record.validate import MANY_RECORDS
from ottla.replica.partition import Partition
from ottla.wire.generated.delete_topics import DeleteTopicsRequest
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)

PRODUCE = 0
VERSIONS = range(3, 14)
TOPICS = {
    "t": {},
    "appended": {"message.timestamp.type": "LogAppendTime"},
    "durable": {"flush.messages": "1"},
    "small": {"max.message.bytes": "150"},
    "zipped": {"compression.type": "lz4"},
    "a" * 126: {},
    "b" * 127: {},
    "c" * 249: {},
}


class Asked(NamedTuple):
    """One request, or what became of it."""

    version: int
    request: ProduceRequest
    damage: Callable[[bytes], bytes]


def same(data: bytes) -> bytes:
    return data


@st.composite
def batches(draw: st.DrawFn) -> bytes | None:
    kind = draw(st.sampled_from(["plain"] * 2 + ["sequence"] * 2 + ["other"]))
    value = bytes(draw(st.sampled_from([0, 10, 37, 100, 5_000, 20_000])))
    if kind == "plain":
        return batch(*[value] * draw(st.integers(1, 3)))
    if kind == "sequence":
        return batch(
            value,
            producer_id=draw(st.integers(0, 1)),
            producer_epoch=draw(st.integers(0, 1)),
            base_sequence=draw(st.integers(0, 3)),
        )
    good = batch(value)
    return draw(
        st.sampled_from(
            [
                None,
                b"",
                b"short",
                good + good,
                good[:-1],
                good[:20] + bytes([good[20] ^ 1]) + good[21:],
                batch(value, compression=CompressionType.GZIP),
                batch(value, compression=CompressionType.ZSTD),
                *[
                    batch(
                        value, transactional=True, producer_id=1, producer_epoch=0, base_sequence=0
                    )
                ]
                * 3,
                batch(value, timestamp_ms=1 << 50),
            ]
        )
    )


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    kind = draw(st.sampled_from(["none"] * 8 + ["flip", "cut", "more"]))
    where = draw(st.one_of(st.integers(0, 3), st.integers(0, 120)))
    if kind == "flip":
        bit = 1 << draw(st.integers(0, 7))
        return lambda data: bytes(
            byte ^ bit if at == where % len(data) else byte for at, byte in enumerate(data)
        )
    if kind == "cut":
        return lambda data: data[: -1 - where % (len(data) - 1)]
    if kind == "more":
        return lambda data: data + bytes(where % 7)
    return same


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    def data() -> PartitionProduceData:
        index = draw(st.sampled_from([0, 0, 0, 1, 9]))
        return PartitionProduceData(index=index, records=draw(batches()))

    def topic() -> TopicProduceData:
        name = draw(st.sampled_from([*TOPICS, *["t"] * 6, "none", "__consumer_offsets"]))
        several = draw(st.sampled_from([0, 1, 1, 1, 1, 2]))
        return TopicProduceData(name=name, partition_data=[data() for _ in range(several)])

    request = ProduceRequest(
        transactional_id=draw(st.sampled_from([None] * 9 + ["", "mine"])),
        acks=draw(st.sampled_from([-1, 1, -1, 1, 0, 2])),
        timeout_ms=draw(st.sampled_from([30_000, 30_000, 0])),
        topic_data=[topic() for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2])))],
    )
    return Asked(draw(st.sampled_from(VERSIONS)), request, draw(damages()))


def outcomes(requests: list[Asked]) -> list[object]:
    """What a fresh broker answers to each, and what its logs hold in the end."""
    found: list[object] = []

    async def program(world: World) -> None:
        await world.start()
        broker = world.broker
        assert broker is not None
        admin = await world.client()
        for name, configs in TOPICS.items():
            assert await create_topic(admin, name, 2, **configs) == 0
        connection = new_connection(broker)
        for number, (version, request, damage) in enumerate(requests):
            if version >= 13:
                for topic in request.topic_data:
                    image = broker.views.image.topics.get(topic.name)
                    topic.topic_id = image.topic_id if image else bytes(16)
            payload = damage(
                request_bytes(request, version, correlation_id=number, client_id="client")
            )
            found.append(await answer(connection, framed(payload)))
            if connection.closed:
                connection = new_connection(broker)
        for path, content in sorted(world.disk.files.items()):
            if path.endswith(".log"):
                found.append((path, bytes(content.data)))
        await world.stop()

    simulate(program, seed=1)
    return found


def new_connection(broker: Any) -> Connection:
    connection = Connection(
        broker.dispatcher.serve,
        now_ms=lambda: 0,
        wake=lambda: None,
        max_request_size=1 << 20,
        poison=True,
    )
    connection.owner = Client(1, "PLAINTEXT", "10.0.0.2", Address("127.0.0.1", 9092))
    return connection


async def answer(connection: Connection, data: bytes) -> bytes | str:
    try:
        while data:
            buffer = connection.get_buffer()
            piece, data = data[: len(buffer)], data[len(buffer) :]
            buffer[: len(piece)] = piece
            connection.received(len(piece))
        await asyncio.sleep(60)
        connection.turn()
    except ProtocolError as error:
        connection.close()
        return f"closed: {error}"
    if connection.unanswered or connection.needs_turn:
        connection.close()
    answered = b"".join(connection.output)  # type: ignore[arg-type]
    connection.output = []
    return answered


@settings(max_examples=200)
@given(st.lists(asked(), min_size=1, max_size=40))
def test_both_paths_answer_and_write_the_same(requests: list[Asked]) -> None:
    assert outcomes(requests) == by_the_generated_path(requests)


def by_the_generated_path(requests: list[Asked]) -> list[object]:
    with pytest.MonkeyPatch.context() as patch:
        for version in VERSIONS:
            patch.setattr(served(PRODUCE, version), "shortcut", None)
        return outcomes(requests)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("acks", [-1, 0, 1])
@pytest.mark.parametrize("topic", ["t", "a" * 126, "appended", "durable"])
def test_the_commonest_request_takes_it(
    version: int, acks: int, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taken_by(monkeypatch, version, acks, topic) == [True] * 3


@pytest.mark.parametrize("codec", list(CompressionType)[1:])
def test_little_that_stands_for_much_does_not_take_it(
    codec: CompressionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep the loop for longer than any other request of its size."""
    many = batch(*[b""] * (MANY_RECORDS + 1), compression=codec)
    assert len(many) <= produce_one.MAX_BYTES
    assert taken_by(monkeypatch, 9, 1, "t", many) == [False] * 3
    few = batch(bytes(1000), compression=codec)
    assert taken_by(monkeypatch, 9, 1, "t", few) == [True] * 3


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("timeout_ms", [0, 30_000])
def test_who_waits_in_vain_is_told_the_same(
    version: int, timeout_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is up, or the partition goes while its disk is at work."""
    real_append = Partition.append

    def append(self: Partition, *arguments: Any) -> Any:
        result = real_append(self, *arguments)
        if timeout_ms and result.base_offset == 1:
            asyncio.get_running_loop().call_soon(self.resign)
        return result

    monkeypatch.setattr(Partition, "append", append)
    data = PartitionProduceData(index=0, records=batch(b"value"))
    request = ProduceRequest(
        acks=1,
        timeout_ms=timeout_ms,
        topic_data=[TopicProduceData(name="durable", partition_data=[data])],
    )
    requests = [Asked(version, request, same)] * 2
    found = outcomes(requests)
    assert found == by_the_generated_path(requests)
    expected = ErrorCode.NOT_LEADER_OR_FOLLOWER if timeout_ms else ErrorCode.REQUEST_TIMED_OUT
    assert isinstance(found[1], bytes)
    assert expected.to_bytes(2, "big") in found[1]


def taken_by(
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    acks: int,
    topic: str,
    records: bytes | None = None,
) -> list[bool]:
    """Whether each of three requests was served by hand."""
    taken = watch(monkeypatch, version)
    data = PartitionProduceData(index=1, records=records or batch(bytes(100)))
    request = ProduceRequest(
        acks=acks, topic_data=[TopicProduceData(name=topic, partition_data=[data])]
    )
    outcomes([Asked(version, request, same)] * 3)
    return taken


def watch(monkeypatch: pytest.MonkeyPatch, version: int) -> list[bool]:
    """Whether each request from now on was served by hand."""
    taken = []

    def watched(*arguments: Any) -> Any:
        result = produce_one.produce_one(*arguments)
        taken.append(result is not None)
        return result

    monkeypatch.setattr(served(PRODUCE, version), "shortcut", watched)
    return taken


def with_tags(version: int, count: int) -> Asked:
    """A request with a tagged field that nobody knows behind its records, or cut off there."""
    data = PartitionProduceData(index=0, records=batch(b"value"))
    request = ProduceRequest(acks=1, topic_data=[TopicProduceData(name="t", partition_data=[data])])
    if count:
        return Asked(version, request, lambda payload: payload[:-3] + b"\1\x63\1x\0\0"[:count])
    return Asked(version, request, same)


@pytest.mark.parametrize("version", [9, 12, 13])
def test_what_stands_behind_the_records_is_read(version: int) -> None:
    requests = [with_tags(version, count) for count in (6, 0, 5, 1, 2, 4)]
    expected = by_the_generated_path(requests)
    assert outcomes(requests) == expected
    assert [type(each) for each in expected[:6]] == [bytes, bytes, str, str, str, str]


@pytest.mark.parametrize("first", VERSIONS)
def test_versions_that_begin_alike_are_told_apart(first: int) -> None:
    requests = [with_tags(first, 0), *(with_tags(version, 0) for version in VERSIONS)]
    assert outcomes(requests) == by_the_generated_path(requests)


def test_a_topic_that_was_made_anew_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = watch(monkeypatch, PRODUCE_VERSION)

    async def program(world: World) -> None:
        await world.start()
        admin = await world.client()
        client = await world.client()
        for _ in range(3):
            assert await create_topic(admin, "t") == 0
            for expected in range(3):
                produced = await client.call(produce_request("t", batch(b"v")), PRODUCE_VERSION)
                row = produced.responses[0].partition_responses[0]
                assert (row.error_code, row.base_offset) == (0, expected)
            await admin.call(DeleteTopicsRequest(topic_names=["t"]), 3)
            produced = await client.call(produce_request("t", batch(b"v")), PRODUCE_VERSION)
            assert produced.responses[0].partition_responses[0].error_code != 0
        await world.stop()

    simulate(program, seed=1)
    assert taken == [True, True, True, False] * 3


@pytest.mark.parametrize("acks", [1, 0])
def test_a_fault_of_ours_is_answered_as_on_the_generated_path(
    acks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Partition, "append", fails)
    data = PartitionProduceData(index=0, records=batch(b"value"))
    request = ProduceRequest(
        acks=acks, topic_data=[TopicProduceData(name="t", partition_data=[data])]
    )
    requests = [Asked(9, request, same)] * 2
    found = outcomes(requests)
    assert found == by_the_generated_path(requests)
    assert isinstance(found[0], bytes if acks else str)
