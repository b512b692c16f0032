"""Every decoder of bytes from outside: sound input for it, and how it may refuse the rest."""

import importlib
import pkgutil
import struct
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tests.interop import wire_goldens

import ottla.wire.generated
from ottla.coordinator.group import records as group_records
from ottla.coordinator.group.subscription import subscribed_topics
from ottla.model.errors import ApiError, ProtocolError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import HEADER_SIZE, LOG_OVERHEAD, MAGIC, MAGIC_POSITION, batches, set_crc
from ottla.record.builder import build_batch
from ottla.record.compression import compress, decompress
from ottla.record.control import build_end_txn_marker, control_type, read_end_txn_marker
from ottla.record.records import Record, read_records
from ottla.record.validate import ProduceRules, takes_long, validate_produced
from ottla.wire.codec import decode, reader
from ottla.wire.headers import (
    RequestHeader,
    read_request_header,
    read_response_header,
    request_header,
)
from ottla.wire.message import Message

NOW_MS = 1_700_000_000_000
EXPANDED = 256 * 1024
"""What a compressed block may expand to here: the bound itself is what is tried."""


class Sound(NamedTuple):
    """One sound input, and what reads it."""

    data: bytes
    decode: Callable[[bytearray], object]
    name: str = ""
    """Of the message, where it is one."""
    version: int = 0


class Decoder(NamedTuple):
    """A family of inputs that are tried, cut and spliced together."""

    name: str
    inputs: list[Sound]
    share: int
    """Of the iterations, in proportion to the others'."""
    repair: Callable[[bytearray], None] | None = None
    """Makes checksum and length right again, so that what lies behind them is tried too."""


REFUSALS = (ProtocolError, ApiError)


def every_decoder() -> list[Decoder]:
    """All of them, with their inputs. Takes a second or two, most of it imports."""
    requests, others = _messages()
    return [
        Decoder("requests", requests, 40),
        Decoder("other messages", others, 10),
        Decoder("headers", _headers(), 5),
        Decoder("produced batches", _produced(), 20, _signed),
        Decoder("read batches", _read(), 10, _signed),
        Decoder("codecs", _codecs(), 10),
        Decoder("group records", _group_records(), 3),
        Decoder("subscriptions", _subscriptions(), 1),
        Decoder("control records", _control(), 1),
    ]


def message_classes() -> dict[str, type[Message]]:
    """Every generated message class by its name."""
    found: dict[str, type[Message]] = {}
    package = ottla.wire.generated
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, type) and issubclass(value, Message) and value is not Message:
                found[value.__name__] = value
    return found


def _messages() -> tuple[list[Sound], list[Sound]]:
    """The goldens of every message in every version: requests, and all others."""
    classes = message_classes()
    requests: list[Sound] = []
    others: list[Sound] = []
    for golden in wire_goldens.read():
        read = reader(classes[golden.name], golden.version)
        into = requests if golden.name.endswith("Request") else others
        into.append(Sound(golden.data, partial(_message, read), golden.name, golden.version))
    return requests, others


def _message(read: Callable[[bytearray, int], object], data: bytearray) -> object:
    return read(data, 0)


def _headers() -> list[Sound]:
    tagged = struct.pack(">hhih", 18, 3, 5, 3) + b"raw" + b"\x02\x05\x03abc\x7f\x00"
    plain = [
        request_header(RequestHeader(key, version, 7, client_id))
        for key in (0, 1, 3, 18)
        for version in (0, 12)
        for client_id in (None, "", "a client")
    ]
    answers = {3: b"\x00\x00\x00\x05\x01\x00\x02ab", 18: b"\x00\x00\x00\x05"}
    return [Sound(data, read_request_header) for data in (*plain, tagged)] + [
        Sound(data, partial(read_response_header, api_key=key, api_version=12))
        for key, data in answers.items()
    ]


_RECORDS = [
    Record(0, NOW_MS, b"key", b"value", (("name", b"content"), ("none", None))),
    Record(1, NOW_MS + 1, None, b"v" * 130),
    Record(2, NOW_MS - 1, b"k" * 70, None),
]
_MANY = [Record(n, NOW_MS + n, b"%d" % n, b"%d" % (n * n)) for n in range(130)]

_RULES = [
    ProduceRules(decompressed_limit=EXPANDED),
    ProduceRules(compacted=True, decompressed_limit=EXPANDED),
    ProduceRules(timestamp_before_max_ms=1000, decompressed_limit=EXPANDED),
    ProduceRules(timestamp_type=TimestampType.LOG_APPEND_TIME, decompressed_limit=EXPANDED),
    ProduceRules(walk=False, decompressed_limit=EXPANDED),
    *[ProduceRules(target=codec, decompressed_limit=EXPANDED) for codec in CompressionType],
]


def _batches() -> list[bytes]:
    return [
        build_batch(records, compression=codec, producer_id=producer, **options)
        for codec in CompressionType
        for records in (_RECORDS, _MANY)
        for producer, options in ((-1, {}), (7, {"producer_epoch": 1, "base_sequence": 3}))
    ]


def _produced() -> list[Sound]:
    return [Sound(data, partial(_produce, rules)) for data in _batches() for rules in _RULES]


def _produce(rules: ProduceRules, data: bytearray) -> object:
    takes_long(data, rules, NOW_MS)
    return validate_produced(
        data, rules, partition=TopicPartition("t", 0), api_version=12, now_ms=NOW_MS
    )


def _read() -> list[Sound]:
    marker = build_end_txn_marker(
        committed=True, coordinator_epoch=1, timestamp=NOW_MS, producer_id=7, producer_epoch=0
    )
    return [Sound(data, _read_all) for data in (*_batches(), marker)]


def _read_all(data: bytearray) -> None:
    for header in batches(data):
        for record in read_records(data, header.position, limit=EXPANDED):
            if header.is_control:
                control_type(record.key)
                read_end_txn_marker(record)


def _signed(data: bytearray) -> None:
    """Make length, magic and checksum those of one whole batch."""
    if len(data) >= HEADER_SIZE:
        struct.pack_into(">i", data, 8, len(data) - LOG_OVERHEAD)
        data[MAGIC_POSITION] = MAGIC
        set_crc(data)


def _codecs() -> list[Sound]:
    """Blocks of every codec, and of most one that stands for more than it may."""
    text = b"".join(b'{"ride":%d}' % (n * 7919 % 10_007) for n in range(40))
    return [
        Sound(compress(kind, data), partial(_expand, kind, portable))
        for kind in CompressionType
        for data in (text, bytes(3_000), bytes(2 * EXPANDED))
        if len(compress(kind, data)) < 5_000
        for portable in (False, True)
    ]


def _expand(kind: CompressionType, portable: bool, data: bytearray) -> object:
    out = decompress(kind, data, EXPANDED, portable=portable)
    assert len(out) <= EXPANDED
    return out


def _group_records() -> list[Sound]:
    """Key and value as one input: an int16 says where the value begins."""
    committed = group_records.CommittedOffset(5, 1, "note", NOW_MS)
    stored = [
        group_records.encode(group_records.OffsetStored("group", "topic", 3, committed)),
        group_records.encode(group_records.OffsetStored("group", "topic", 3, None)),
    ]
    classes = message_classes()
    values = [g for g in wire_goldens.read() if g.name == "GroupMetadataValue"]
    assert classes["GroupMetadataValue"]
    key = b"\x00\x02\x00\x05group"
    stored += [(key, struct.pack(">h", g.version) + g.data) for g in values]
    return [
        Sound(struct.pack(">H", len(key)) + key + (value or b""), _group_record)
        for key, value in stored
    ]


def _group_record(data: bytearray) -> object:
    end = 2 + int.from_bytes(data[:2], "big")
    return group_records.decode(bytes(data[2:end]), bytes(data[end:]) or None)


def _subscriptions() -> list[Sound]:
    sound = struct.pack(">hi", 1, 2) + b"\x00\x01a\x00\x02bc" + b"\xff\xff\xff\xff"
    return [Sound(sound, lambda data: subscribed_topics([bytes(data)]))]


def _control() -> list[Sound]:
    return [
        Sound(bytes(key) + bytes(value), _control_record)
        for key in (b"\x00\x00\x00\x00", b"\x00\x00\x00\x01")
        for value in (b"\x00\x00\x00\x00\x00\x05",)
    ]


def _control_record(data: bytearray) -> object:
    key, value = bytes(data[:4]), bytes(data[4:])
    control_type(key)
    return read_end_txn_marker(Record(0, NOW_MS, key, value))


__all__ = ["REFUSALS", "Decoder", "Sound", "decode", "every_decoder", "message_classes"]
