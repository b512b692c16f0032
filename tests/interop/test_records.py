"""What goes in comes out: every client, every compression, odd and large records."""

import struct

import pytest
from tests.interop.clients import CLIENTS, RECENT_MS, Client, Record
from tests.interop.conftest import create_topic
from tools.subject import Subject

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]

ORDINARY = [
    Record(
        key=f"key {n}".encode(),
        value=f"value {n} ".encode() * 8,
        headers=(("trace", str(n).encode()), ("trace", b"again"), ("empty", b"")),
        timestamp=RECENT_MS + n,
    )
    for n in range(200)
]
ODD = [
    Record(None, b"null key"),
    Record(b"tombstone", None),
    Record(b"", b""),
    Record("ключ".encode(), bytes(range(256))),
    Record(b"many", b"headers", tuple((f"h{n}", bytes([n])) for n in range(100))),
]


def stored_compression(subject: Subject, topic: str) -> set[int]:
    """The compression of each batch as it lies in the first segment."""
    stored = (subject.data / f"{topic}-0" / f"{0:020}.log").read_bytes()
    found = set()
    position = 0
    while position < len(stored):
        (length,) = struct.unpack_from(">i", stored, position + 8)
        found.add(struct.unpack_from(">h", stored, position + 21)[0] & 7)
        position += 12 + length
    return found


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_records_come_back_as_sent(
    broker: Subject, client: Client, topic: str, compression: str
) -> None:
    records = ORDINARY + ODD
    with client.sender(broker.bootstrap, compression) as sender:
        assert sender.send(topic, records) == list(range(len(records)))
    assert COMPRESSIONS.index(compression) in stored_compression(broker, topic)
    for reader in {**CLIENTS, client.name: client}.values():
        with reader.taker(broker.bootstrap, topic) as taker:
            assert taker.take(len(records)) == list(enumerate(records)), reader.name


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_megabyte_comes_back(
    broker: Subject, client: Client, name: str, compression: str
) -> None:
    create_topic(broker, name, config={"max.message.bytes": str(3 << 20)})
    records = [Record(bytes([n]), bytes([n, 255 - n]) * (1 << 19)) for n in range(5)]
    with client.sender(broker.bootstrap, compression) as sender:
        assert sender.send(name, records) == list(range(5))
    with client.taker(broker.bootstrap, name) as taker:
        assert taker.take(5) == list(enumerate(records))


def test_a_consumer_begins_in_the_middle(broker: Subject, client: Client, topic: str) -> None:
    with client.sender(broker.bootstrap, "lz4") as sender:
        sender.send(topic, ORDINARY)
    with client.taker(broker.bootstrap, topic, offset=77) as taker:
        assert taker.take(123) == list(enumerate(ORDINARY))[77:]


def test_a_consumer_waits_for_what_comes(broker: Subject, client: Client, topic: str) -> None:
    with client.taker(broker.bootstrap, topic) as taker, client.sender(broker.bootstrap) as sender:
        for n, record in enumerate(ORDINARY[:10]):
            sender.send(topic, [record])
            assert taker.take(1) == [(n, record)]


def test_an_idempotent_producer_keeps_its_order(
    broker: Subject, client: Client, topic: str
) -> None:
    with client.sender(broker.bootstrap, idempotent=True) as sender:
        for first in range(0, 200, 50):
            offsets = sender.send(topic, ORDINARY[first : first + 50])
            assert offsets == list(range(first, first + 50))
    with client.taker(broker.bootstrap, topic) as taker:
        assert taker.take(200) == list(enumerate(ORDINARY))


@pytest.mark.parametrize("idempotent", [False, True])
def test_open_clients_survive_a_restart_of_the_broker(
    own_broker: Subject, client: Client, name: str, idempotent: bool
) -> None:
    create_topic(own_broker, name)
    with (
        client.sender(own_broker.bootstrap, idempotent=idempotent) as sender,
        client.taker(own_broker.bootstrap, name) as taker,
    ):
        assert sender.send(name, ORDINARY[:100]) == list(range(100))
        assert taker.take(100) == list(enumerate(ORDINARY[:100]))
        own_broker.restart()
        assert sender.send(name, ORDINARY[100:]) == list(range(100, 200))
        assert taker.take(100) == list(enumerate(ORDINARY))[100:]
