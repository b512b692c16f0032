"""What a produce request may hold for one partition, good and bad, each under a name.

`python -m tools.probes.produce` sends every shape to the real Kafka and keeps
what it answered and stored; the tests of `ottla.record.validate` hold ours
against that. A shape is rebuilt from the same `now_ms`, so its bytes are the
same there and here.
"""

import gzip
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cramjam

from ottla.model.isolation import CompressionType
from ottla.record.batch import HEADER, HEADER_SIZE, LOG_OVERHEAD, set_crc
from ottla.record.builder import build_batch
from ottla.record.compression import compress
from ottla.record.records import Record, append_record
from ottla.record.varint import append_varint

NONE, GZIP, SNAPPY, LZ4, ZSTD = CompressionType
CODECS = (GZIP, SNAPPY, LZ4, ZSTD)
HOUR_MS = 3_600_000

#: Positions of header fields, in the order of `HEADER`.
FIELDS = (
    "base_offset",
    "batch_length",
    "leader_epoch",
    "magic",
    "crc",
    "attributes",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "records_count",
)


@dataclass(frozen=True)
class Shape:
    """Bytes for one partition, with the settings of its topic and the request's version."""

    build: Callable[[int], bytes | None]
    configs: dict[str, str] = field(default_factory=dict)
    version: int = 8
    #: Why the answer is not the record layer's to give, if so.
    elsewhere: str | None = None


def patched(batch: bytes, *, crc: int | None = None, **fields: int) -> bytes:
    """`batch` with header fields replaced and the checksum right, unless `crc` is given."""
    values = dict(zip(FIELDS, HEADER.unpack_from(batch), strict=True))
    values |= fields
    out = bytearray(batch)
    HEADER.pack_into(out, 0, *values.values())
    if crc is None:
        length = values["batch_length"]
        struct.pack_into(">i", out, 8, len(out) - LOG_OVERHEAD)
        set_crc(out)
        struct.pack_into(">i", out, 8, length)
    else:
        struct.pack_into(">I", out, 17, crc)
    return bytes(out)


def batch_of(records: bytes, count: int, codec: int = 0, now: int = 0, **fields: int) -> bytes:
    """A batch around records as they are (compressed already if `codec` says so)."""
    values = {
        "base_offset": 0,
        "batch_length": HEADER_SIZE - LOG_OVERHEAD + len(records),
        "leader_epoch": -1,
        "magic": 2,
        "crc": 0,
        "attributes": codec,
        "last_offset_delta": count - 1,
        "base_timestamp": now,
        "max_timestamp": now,
        "producer_id": -1,
        "producer_epoch": -1,
        "base_sequence": -1,
        "records_count": count,
    }
    return patched(HEADER.pack(*values.values()) + records, **fields)


def encoded(count: int, *, size: int = 10, deltas: list[int] | None = None) -> bytes:
    """`count` records with keys, values of `size` bytes, at the offset deltas given."""
    out = bytearray()
    for index in range(count):
        delta = index if deltas is None else deltas[index]
        append_record(out, delta, 0, b"key%d" % index, b"v" * size)
    return bytes(out)


def plain(now: int, count: int = 3, size: int = 10) -> bytes:
    return batch_of(encoded(count, size=size), count, now=now)


def squeezed(codec: CompressionType, records: bytes, count: int, now: int, **fields: int) -> bytes:
    return batch_of(compress(codec, records), count, int(codec), now, **fields)


def raw_record(body: bytes, length: int | None = None) -> bytes:
    out = bytearray()
    append_varint(out, len(body) if length is None else length)
    return bytes(out) + body


def lz4_frame(data: bytes, *, size: bool = False, checksum: bool = False) -> bytes:
    return bytes(_lz4_frame(data, size, checksum))


def _lz4_frame(data: bytes, size: bool, checksum: bool) -> bytearray:
    """Independent blocks of 64 KiB; optionally with content size and content checksum."""
    out = bytearray(b"\x04\x22\x4d\x18")
    descriptor = bytearray([0x60 | (size << 3) | (checksum << 2), 0x40])
    if size:
        descriptor += struct.pack("<Q", len(data))
    out += descriptor
    out.append((xxh32(bytes(descriptor)) >> 8) & 0xFF)
    for start in range(0, len(data), 65536):
        block = data[start : start + 65536]
        packed = bytes(cramjam.lz4.compress_block(block, store_size=False))
        if len(packed) < len(block):
            out += struct.pack("<I", len(packed)) + packed
        else:
            out += struct.pack("<I", len(block) | 0x80000000) + block
    out += bytes(4)
    if checksum:
        out += struct.pack("<I", xxh32(data))
    return out


def xxh32(data: bytes, seed: int = 0) -> int:
    """XXH32, the checksum of LZ4 frames."""
    p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    mask = 0xFFFFFFFF

    def rotate(value: int, by: int) -> int:
        return ((value << by) | (value >> (32 - by))) & mask

    position = 0
    if len(data) >= 16:
        lanes = [(seed + p1 + p2) & mask, (seed + p2) & mask, seed, (seed - p1) & mask]
        while position + 16 <= len(data):
            for lane, word in enumerate(struct.unpack_from("<4I", data, position)):
                lanes[lane] = rotate((lanes[lane] + word * p2) & mask, 13) * p1 & mask
            position += 16
        total = sum(rotate(v, by) for v, by in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
    else:
        total = (seed + p5) & mask
    total = (total + len(data)) & mask
    while position + 4 <= len(data):
        (word,) = struct.unpack_from("<I", data, position)
        total = rotate((total + word * p3) & mask, 17) * p4 & mask
        position += 4
    for byte in data[position:]:
        total = rotate((total + byte * p5) & mask, 11) * p1 & mask
    total = ((total ^ (total >> 15)) * p2) & mask
    total = ((total ^ (total >> 13)) * p3) & mask
    return total ^ (total >> 16)


def shapes() -> dict[str, Shape]:
    """Every shape by its name."""
    found: dict[str, Shape] = {}
    for group in (
        _good,
        _framing,
        _header,
        _timestamps,
        _producers,
        _records,
        _records_compressed,
        _blocks,
        _keys,
        _sizes,
        _recompression,
    ):
        for name, shape in group():
            assert name not in found, name
            found[name] = shape
    return found


Shapes = Iterator[tuple[str, Shape]]


def _good() -> Shapes:
    yield "one record", Shape(lambda now: plain(now, 1))
    yield "three records", Shape(plain)
    yield "a thousand records", Shape(lambda now: plain(now, 1000))
    yield "everything null", Shape(lambda now: build_batch([Record(timestamp=now)]))
    yield (
        "headers",
        Shape(
            lambda now: build_batch(
                [Record(0, now, b"k", b"v", (("a", b"1"), ("", None), ("ä", b"")))]
            )
        ),
    )
    for codec in CODECS:
        yield (
            f"{codec.name} three records",
            Shape(lambda now, codec=codec: squeezed(codec, encoded(3), 3, now)),
        )
        yield (
            f"{codec.name} a thousand records of 300 bytes",
            Shape(lambda now, codec=codec: squeezed(codec, encoded(1000, size=300), 1000, now)),
        )


def _framing() -> Shapes:
    yield "null", Shape(lambda now: None)
    yield "nothing", Shape(lambda now: b"")
    for size in (1, 12, 16, 17, 40, 60):
        yield f"cut to {size} bytes", Shape(lambda now, size=size: plain(now)[:size])
    yield "cut by one byte", Shape(lambda now: plain(now)[:-1])
    for size in (1, 16, 17, 61):
        yield f"{size} zero bytes behind", Shape(lambda now, size=size: plain(now) + bytes(size))
    yield "half a batch behind", Shape(lambda now: plain(now) + plain(now)[:70])
    yield "two batches", Shape(lambda now: plain(now) * 2)
    for magic in (0, 1, 3, -1):
        yield f"magic {magic}", Shape(lambda now, m=magic: patched(plain(now), magic=m))
    for length in (-1, 0, 1, 13, 14, 48, 49, 50, 2**31 - 1, -(2**31)):
        yield (
            f"batch length {length}",
            Shape(lambda now, length=length: patched(plain(now), batch_length=length)),
        )
    yield "checksum wrong", Shape(lambda now: patched(plain(now), crc=1))


def _header() -> Shapes:
    for offset in (1, -1, 2**40):
        yield (
            f"base offset {offset}",
            Shape(lambda now, offset=offset: patched(plain(now), base_offset=offset)),
        )
    yield "leader epoch 5", Shape(lambda now: patched(plain(now), leader_epoch=5))
    for codec in (5, 6, 7):
        yield f"codec {codec}", Shape(lambda now, c=codec: patched(plain(now), attributes=c))
    for bit in (6, 7, 8, 15):
        bits = 1 << bit if bit < 15 else -(1 << 15)
        yield (
            f"attribute bit {bit}",
            Shape(lambda now, bits=bits: patched(plain(now), attributes=bits)),
        )
    yield "control", Shape(lambda now: patched(plain(now), attributes=0x20))
    yield (
        "transactional without a transactional id",
        Shape(
            lambda now: patched(plain(now), attributes=0x10, producer_id=5, base_sequence=0),
            elsewhere="the request's transactional id",
        ),
    )
    for delta in (-(2**31), -1, 0, 1, 3, 2**31 - 1):
        yield (
            f"last offset delta {delta}",
            Shape(lambda now, delta=delta: patched(plain(now), last_offset_delta=delta)),
        )
    for count in (-(2**31), -1, 0, 1, 2, 4, 2**31 - 1):
        yield f"count {count}", Shape(lambda now, c=count: patched(plain(now), records_count=c))
    for count in (1, 2, 4, 1000, 2**31 - 1):
        for codec in (NONE, *CODECS):
            yield (
                f"{codec.name} count and last offset delta say {count}",
                Shape(
                    lambda now, c=count, codec=codec: squeezed(
                        codec, encoded(3), 3, now, records_count=c, last_offset_delta=c - 1
                    )
                ),
            )


def _stamped(now: int, *timestamps: int, codec: CompressionType = NONE) -> bytes:
    return build_batch(
        [Record(timestamp=t, key=b"k", value=b"v") for t in timestamps], compression=codec
    )


def _timestamps() -> Shapes:
    yield "timestamp -1", Shape(lambda now: _stamped(now, -1, -1))
    yield "timestamp -5", Shape(lambda now: _stamped(now, -5, -5))
    yield "timestamp 0", Shape(lambda now: _stamped(now, 0))
    yield "timestamps falling", Shape(lambda now: _stamped(now, now, now - 5, now - 10))
    yield "two hours ahead", Shape(lambda now: _stamped(now, now + 2 * HOUR_MS))
    yield (
        "second of three two hours ahead",
        Shape(lambda now: _stamped(now, now, now + 2 * HOUR_MS, now)),
    )
    yield "five two hours ahead", Shape(lambda now: _stamped(now, *[now + 2 * HOUR_MS] * 5))
    yield "a minute ahead", Shape(lambda now: _stamped(now, now + 60_000))
    yield (
        "gzip second of three two hours ahead",
        Shape(lambda now: _stamped(now, now, now + 2 * HOUR_MS, now, codec=GZIP)),
    )
    yield "a year old", Shape(lambda now: _stamped(now, now - 365 * 24 * HOUR_MS))
    old = {"message.timestamp.before.max.ms": str(HOUR_MS)}
    yield (
        "second of three too old",
        Shape(lambda now: _stamped(now, now, now - 2 * HOUR_MS, now), old),
    )
    yield (
        "too old behind a base timestamp that is not",
        Shape(lambda now: patched(_stamped(now, now - 2 * HOUR_MS), max_timestamp=now), old),
    )
    yield "timestamp -1 where old ones are refused", Shape(lambda now: _stamped(now, -1), old)
    yield (
        "max timestamp too low",
        Shape(lambda now: patched(_stamped(now, now, now + 5), max_timestamp=now)),
    )
    yield (
        "max timestamp too high",
        Shape(lambda now: patched(_stamped(now, now, now + 5), max_timestamp=now + 500)),
    )
    yield (
        "max timestamp two hours ahead of its records",
        Shape(lambda now: patched(_stamped(now, now, now), max_timestamp=now + 2 * HOUR_MS)),
    )
    yield (
        "gzip max timestamp two hours ahead of its records",
        Shape(
            lambda now: patched(
                _stamped(now, now, now, codec=GZIP), max_timestamp=now + 2 * HOUR_MS
            )
        ),
    )
    yield (
        "max timestamp hides a record two hours ahead",
        Shape(lambda now: patched(_stamped(now, now, now + 2 * HOUR_MS), max_timestamp=now)),
    )
    yield (
        "max timestamp -1",
        Shape(lambda now: patched(_stamped(now, now, now), max_timestamp=-1)),
    )
    yield (
        "append time bit",
        Shape(lambda now: patched(_stamped(now, now - 9, now - 7), attributes=8)),
    )
    yield (
        "append time bit and a max timestamp of its own",
        Shape(
            lambda now: patched(_stamped(now, now - 9, now - 7), attributes=8, max_timestamp=now)
        ),
    )
    yield (
        "append time bit and max timestamp two hours ahead",
        Shape(
            lambda now: patched(
                _stamped(now, now, now), attributes=8, max_timestamp=now + 2 * HOUR_MS
            )
        ),
    )
    yield (
        "append time bit and max timestamp -1",
        Shape(lambda now: patched(_stamped(now, now, now), attributes=8, max_timestamp=-1)),
    )
    yield (
        "gzip append time bit and max timestamp -1",
        Shape(lambda now: patched(_stamped(now, now, codec=GZIP), attributes=9, max_timestamp=-1)),
    )
    yield (
        "all attribute bits that mean nothing, and max timestamp ahead",
        Shape(
            lambda now: patched(
                _stamped(now, now), attributes=0x7FC0, max_timestamp=now + 2 * HOUR_MS
            )
        ),
    )
    for base in (2**63 - 1, -(2**63)):
        yield (
            f"base timestamp {base}",
            Shape(lambda now, b=base: patched(_stamped(now, now), base_timestamp=b)),
        )
    append = {"message.timestamp.type": "LogAppendTime"}
    yield (
        "append time topic",
        Shape(lambda now: _stamped(now, now - 9, now - 7), append),
    )
    yield (
        "append time topic two hours ahead",
        Shape(lambda now: _stamped(now, now + 2 * HOUR_MS), append),
    )
    yield (
        "append time topic and bit",
        Shape(lambda now: patched(_stamped(now, now, now), attributes=8), append),
    )
    yield (
        "append time topic, gzip",
        Shape(lambda now: _stamped(now, now - 9, now - 7, codec=GZIP), append),
    )


def _producers() -> Shapes:
    cases: dict[str, tuple[dict[str, int], str | None]] = {
        "producer 5 epoch 0 sequence 0": (
            {"producer_id": 5, "producer_epoch": 0, "base_sequence": 0},
            None,
        ),
        "producer 5 epoch 0 sequence -1": (
            {"producer_id": 5, "producer_epoch": 0, "base_sequence": -1},
            None,
        ),
        "producer 5 epoch 0 sequence -2": (
            {"producer_id": 5, "producer_epoch": 0, "base_sequence": -2},
            None,
        ),
        "producer 5 epoch -1 sequence 0": (
            {"producer_id": 5, "producer_epoch": -1, "base_sequence": 0},
            None,
        ),
        "producer 5 epoch -2 sequence 0": (
            {"producer_id": 5, "producer_epoch": -2, "base_sequence": 0},
            "the log's producers",
        ),
        "producer 5 epoch 0 sequence 10": (
            {"producer_id": 5, "producer_epoch": 0, "base_sequence": 10},
            "the log's producers",
        ),
        "producer 5 epoch 0 sequence 2147483647": (
            {"producer_id": 5, "producer_epoch": 0, "base_sequence": 2**31 - 1},
            "the log's producers",
        ),
        "no producer but sequence 3": ({"base_sequence": 3}, None),
        "no producer but epoch 3": ({"producer_epoch": 3}, None),
        "producer -2 sequence 0": ({"producer_id": -2, "base_sequence": 0}, None),
    }
    for name, (fields, elsewhere) in cases.items():
        yield (
            name,
            Shape(lambda now, fields=fields: patched(plain(now), **fields), elsewhere=elsewhere),
        )


def record_faults() -> dict[str, tuple[bytes, int]]:
    """Records that are wrong in themselves, and how many they are said to be."""
    first = encoded(1)
    good = b"\x00\x00\x02\x01\x01\x00"  # all of a record at delta 1 but its length
    return {
        "garbage": (bytes(range(7, 107)), 3),
        "zeros": (bytes(100), 3),
        "ones": (b"\xff" * 100, 3),
        "length 0": (first + raw_record(b""), 2),
        "length -1": (first + raw_record(b"", -1), 2),
        "length 5 of 6": (first + raw_record(good, 5), 2),
        "length 7 of 6": (first + raw_record(good, 7), 2),
        "length 7 of 7 with one byte too many": (first + raw_record(good + b"\x00"), 2),
        "length 2147483647": (first + raw_record(good, 2**31 - 1), 2),
        "length -2147483648": (first + raw_record(good, -(2**31)), 2),
        "length in two bytes where one does": (first + b"\x8c\x00" + good, 2),
        "length in six bytes": (first + b"\x8c\x80\x80\x80\x80\x00" + good, 2),
        "attributes 1": (first + raw_record(b"\x01\x00\x02\x01\x01\x00"), 2),
        "attributes 255": (first + raw_record(b"\xff\x00\x02\x01\x01\x00"), 2),
        "timestamp delta in eleven bytes": (
            first + raw_record(b"\x00" + b"\x80" * 10 + b"\x00\x02\x01\x01\x00"),
            2,
        ),
        "offset delta in six bytes": (
            first + raw_record(b"\x00\x00" + b"\x82" + b"\x80" * 4 + b"\x00\x01\x01\x00"),
            2,
        ),
        "offset delta in two bytes where one does": (
            first + raw_record(b"\x00\x00\x82\x00\x01\x01\x00"),
            2,
        ),
        "offset deltas 0 0": (encoded(2, deltas=[0, 0]), 2),
        "offset deltas 1 0": (encoded(2, deltas=[1, 0]), 2),
        "offset deltas 1 2": (encoded(2, deltas=[1, 2]), 2),
        "offset deltas 0 5": (encoded(2, deltas=[0, 5]), 2),
        "offset deltas 0 -1": (encoded(2, deltas=[0, -1]), 2),
        "key length -2": (first + raw_record(b"\x00\x00\x02\x03\x01\x00"), 2),
        "key length 100": (first + raw_record(b"\x00\x00\x02\xc8\x01\x01\x00"), 2),
        "value length -2": (first + raw_record(b"\x00\x00\x02\x01\x03\x00"), 2),
        "value length 100": (first + raw_record(b"\x00\x00\x02\x01\xc8\x01\x00"), 2),
        "headers count -1": (first + raw_record(b"\x00\x00\x02\x01\x01\x01"), 2),
        "headers count 1 without one": (first + raw_record(b"\x00\x00\x02\x01\x01\x02"), 2),
        "headers count 2147483647": (
            first + raw_record(b"\x00\x00\x02\x01\x01\xfe\xff\xff\xff\x0f"),
            2,
        ),
        "header key null": (first + raw_record(b"\x00\x00\x02\x01\x01\x02\x01\x01"), 2),
        "header key not utf-8": (
            first + raw_record(b"\x00\x00\x02\x01\x01\x02\x02\xff\x01"),
            2,
        ),
        "header value length -2": (first + raw_record(b"\x00\x00\x02\x01\x01\x02\x00\x03"), 2),
        "one byte behind": (encoded(2) + b"\x00", 2),
        "a record behind": (encoded(3), 2),
        "a record missing": (encoded(2), 3),
        "a byte missing": (encoded(2)[:-1], 2),
        "no records": (b"", 2),
    }


def _records() -> Shapes:
    for name, (records, count) in record_faults().items():
        yield (
            f"record {name}",
            Shape(lambda now, r=records, c=count: batch_of(r, c, now=now)),
        )


def _records_compressed() -> Shapes:
    for codec in (GZIP, LZ4):
        for name, (records, count) in record_faults().items():
            yield (
                f"{codec.name} record {name}",
                Shape(lambda now, r=records, c=count, k=codec: squeezed(k, r, c, now)),
            )


def _blocks() -> Shapes:
    three = encoded(3)
    big = encoded(1000, size=300)
    gz = gzip.compress(three, mtime=0)
    snappy_block = bytes(cramjam.snappy.compress_raw(three))
    xerial = compress(SNAPPY, three)
    frame = lz4_frame(three)
    zstd = bytes(cramjam.zstd.compress(three))
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"
    blocks: dict[str, tuple[CompressionType, bytes, int]] = {}
    for codec in CODECS:
        blocks[f"{codec.name} empty block"] = (codec, b"", 3)
        blocks[f"{codec.name} garbage block"] = (codec, bytes(range(100)), 3)
        blocks[f"{codec.name} cut block"] = (codec, compress(codec, three)[:-6], 3)
        blocks[f"{codec.name} garbage behind"] = (codec, compress(codec, three) + b"garbage!", 3)
        blocks[f"{codec.name} zeros behind"] = (codec, compress(codec, three) + bytes(8), 3)
        blocks[f"{codec.name} two streams"] = (
            codec,
            compress(codec, three[:20]) + compress(codec, three[20:]),
            3,
        )
        blocks[f"{codec.name} of nothing"] = (codec, compress(codec, b""), 3)
        blocks[f"{codec.name} bit as it is"] = (codec, three, 3)
    blocks |= {
        "gzip checksum wrong": (GZIP, gz[:-8] + bytes(4) + gz[-4:], 3),
        "gzip size wrong": (GZIP, gz[:-4] + bytes(4), 3),
        "snappy raw": (SNAPPY, snappy_block, 3),
        "snappy raw, a thousand records": (SNAPPY, bytes(cramjam.snappy.compress_raw(big)), 1000),
        "snappy version 2": (SNAPPY, xerial[:8] + struct.pack(">ii", 2, 1) + xerial[16:], 3),
        "snappy compatible version 2": (
            SNAPPY,
            xerial[:8] + struct.pack(">ii", 1, 2) + xerial[16:],
            3,
        ),
        "snappy version 0": (SNAPPY, xerial[:8] + struct.pack(">ii", 0, 0) + xerial[16:], 3),
        "snappy chunk length -1": (SNAPPY, xerial[:16] + b"\xff" * 4 + xerial[20:], 3),
        "snappy chunk length 0 first": (SNAPPY, xerial[:16] + bytes(4) + xerial[16:], 3),
        "snappy chunk length too long": (
            SNAPPY,
            xerial[:16] + struct.pack(">i", len(xerial)) + xerial[20:],
            3,
        ),
        "snappy header alone": (SNAPPY, xerial[:16], 3),
        "snappy claims 2 GiB": (SNAPPY, b"\xff\xff\xff\xff\x07" + snappy_block[1:], 3),
        "snappy framing format": (SNAPPY, bytes(cramjam.snappy.compress(three)), 3),
        "lz4 linked blocks": (LZ4, bytes(cramjam.lz4.compress(big)), 1000),
        "lz4 content size": (LZ4, lz4_frame(three, size=True), 3),
        "lz4 content checksum": (LZ4, lz4_frame(three, checksum=True), 3),
        "lz4 content checksum wrong": (LZ4, lz4_frame(three, checksum=True)[:-4] + bytes(4), 3),
        "lz4 header checksum wrong": (LZ4, frame[:6] + b"\x00" + frame[7:], 3),
        "lz4 without an end mark": (LZ4, frame[:-4], 3),
        "lz4 skippable frame first": (LZ4, skippable + frame, 3),
        "lz4 legacy frame": (
            LZ4,
            b"\x02\x21\x4c\x18"
            + struct.pack("<I", len(bytes(cramjam.lz4.compress_block(three, store_size=False))))
            + bytes(cramjam.lz4.compress_block(three, store_size=False)),
            3,
        ),
        "zstd skippable frame first": (ZSTD, skippable + zstd, 3),
    }
    for name, (codec, block, count) in blocks.items():
        yield name, Shape(lambda now, k=codec, b=block, c=count: batch_of(b, c, int(k), now))
    for version in (3, 6, 7):
        yield (
            f"zstd in version {version}",
            Shape(lambda now: squeezed(ZSTD, three, 3, now), version=version),
        )


def _keyed(now: int, *keys: bytes | None, codec: CompressionType = NONE) -> bytes:
    return build_batch([Record(timestamp=now, key=k, value=b"v") for k in keys], compression=codec)


def _keys() -> Shapes:
    compact = {"cleanup.policy": "compact"}
    yield "compacted, keys", Shape(lambda now: _keyed(now, b"a", b""), compact)
    yield "compacted, null key", Shape(lambda now: _keyed(now, None), compact)
    yield "compacted, second key null", Shape(lambda now: _keyed(now, b"a", None, b"c"), compact)
    yield "compacted, five null keys", Shape(lambda now: _keyed(now, *[None] * 5), compact)
    for codec in (GZIP, SNAPPY):
        yield (
            f"compacted, {codec.name} second key null",
            Shape(lambda now, k=codec: _keyed(now, b"a", None, b"c", codec=k), compact),
        )
    yield (
        "compacted and deleted, null key",
        Shape(lambda now: _keyed(now, None), {"cleanup.policy": "compact,delete"}),
    )
    yield (
        "compacted, null key and timestamp ahead",
        Shape(
            lambda now: build_batch(
                [
                    Record(timestamp=now + 2 * HOUR_MS, key=b"a"),
                    Record(timestamp=now, key=None),
                    Record(timestamp=now + 2 * HOUR_MS, key=None),
                ]
            ),
            compact,
        ),
    )
    yield (
        "compacted, offset deltas 0 5",
        Shape(lambda now: batch_of(encoded(2, deltas=[0, 5]), 2, now=now), compact),
    )
    yield (
        "compacted, key length -2",
        Shape(lambda now: batch_of(raw_record(b"\x00\x00\x00\x03\x01\x00"), 1, now=now), compact),
    )


def _sizes() -> Shapes:
    exact = {"max.message.bytes": str(HEADER_SIZE + len(encoded(1, size=900)))}
    yield "as large as allowed", Shape(lambda now: plain(now, 1, 900), exact)
    yield "a byte larger than allowed", Shape(lambda now: plain(now, 1, 901), exact)
    yield (
        "a byte larger than allowed with a wrong checksum",
        Shape(lambda now: patched(plain(now, 1, 901), crc=1), exact),
    )
    yield (
        "a byte larger than allowed at a wrong offset",
        Shape(lambda now: patched(plain(now, 1, 901), base_offset=1), exact),
    )
    yield (
        "larger than allowed once decompressed",
        Shape(
            lambda now: squeezed(GZIP, encoded(1, size=9000), 1, now),
            exact | {"compression.type": "uncompressed"},
        ),
    )
    yield (
        "small enough once compressed",
        Shape(lambda now: plain(now, 1, 9000), exact | {"compression.type": "gzip"}),
    )


def _recompression() -> Shapes:
    names = {NONE: "uncompressed", GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
    for name in names.values():
        for source in (NONE, *CODECS):
            yield (
                f"{source.name} into {name}",
                Shape(
                    lambda now, k=source: build_batch(
                        [
                            Record(0, now - 3, b"a", b"v" * 50, (("h", None),)),
                            Record(0, now, None, b"w" * 50),
                            Record(0, now - 7, b"c", None),
                        ],
                        compression=k,
                    ),
                    {"compression.type": name},
                ),
            )
    gz = {"compression.type": "gzip"}
    yield (
        "into gzip by a producer",
        Shape(
            lambda now: patched(plain(now), producer_id=5, producer_epoch=2, base_sequence=0), gz
        ),
    )
    yield (
        "into gzip with append time",
        Shape(plain, gz | {"message.timestamp.type": "LogAppendTime"}),
    )
    yield (
        "into gzip with attribute bits 6 and 8",
        Shape(lambda now: patched(plain(now), attributes=0x140), gz),
    )
    yield (
        "into gzip with the append time bit",
        Shape(lambda now: patched(plain(now), attributes=8, max_timestamp=now + 5), gz),
    )
    yield (
        "into gzip with max timestamp ahead",
        Shape(lambda now: patched(plain(now), max_timestamp=now + 500), gz),
    )
    yield (
        "into gzip, control",
        Shape(lambda now: patched(plain(now), attributes=0x20), gz),
    )
    faults = record_faults()
    yield (
        "gzip with gaps in its offset deltas into lz4",
        Shape(
            lambda now: squeezed(GZIP, encoded(2, deltas=[0, 5]), 2, now),
            {"compression.type": "lz4"},
        ),
    )
    for fault in ("garbage", "offset deltas 0 5", "attributes 1", "header key not utf-8"):
        records, count = faults[fault]
        yield (
            f"into gzip, record {fault}",
            Shape(lambda now, r=records, c=count: batch_of(r, c, now=now), gz),
        )
    yield (
        "zstd in version 6 into gzip",
        Shape(lambda now: squeezed(ZSTD, encoded(3), 3, now), gz, version=6),
    )
    yield "into zstd in version 6", Shape(plain, {"compression.type": "zstd"}, version=6)
