"""Records of `__consumer_offsets`, against files a real Kafka 4.3.1 wrote.

`tests/goldens/groups/consumer_offsets/` are its segments, by partition, after
the conversation of `tests.support.group_conversation`, a member of a KIP-848
group that committed and left, and three transactional commits (committed,
aborted, left open).
"""

from pathlib import Path

import pytest

from ottla.coordinator.group.records import (
    CommittedOffset,
    GroupStored,
    ModernStored,
    OffsetStored,
    decode,
    encode,
)
from ottla.model.errors import ProtocolError
from ottla.record.batch import batches
from ottla.record.records import Record, read_records

GOLDENS = Path(__file__).parents[3] / "goldens" / "groups" / "consumer_offsets"


def kafka_records() -> list[Record]:
    records = []
    for path in sorted(GOLDENS.glob("*.log")):
        data = path.read_bytes()
        for header in batches(data):
            if not header.is_control:
                records += read_records(data, header.position)
    return records


def test_every_record_of_kafka_is_written_back_byte_for_byte() -> None:
    kinds = set()
    for record in kafka_records():
        assert record.key is not None
        decoded = decode(record.key, record.value)
        assert decoded is not None
        assert encode(decoded) == (record.key, record.value)
        kinds.add((type(decoded), record.value is None))
    assert kinds == {
        (kind, deleted)
        for kind in (OffsetStored, GroupStored, ModernStored)
        for deleted in (False, True)
    }


def test_an_offset_with_its_own_expiry_is_version_1() -> None:
    committed = CommittedOffset(5, -1, "m", 1_000, 2_000)
    key, value = encode(OffsetStored("g", "t", 1, committed))
    assert value is not None
    assert value[:2] == b"\0\1"
    assert decode(key, value) == OffsetStored("g", "t", 1, committed)


def test_offsets_from_before_the_new_format_are_read() -> None:
    key = b"\0\0\0\1g\0\1t\0\0\0\3"
    value = b"\0\0" + (9).to_bytes(8, "big") + b"\0\1m" + (77).to_bytes(8, "big")
    assert decode(key, value) == OffsetStored("g", "t", 3, CommittedOffset(9, -1, "m", 77))
    assert decode(key, None) == OffsetStored("g", "t", 3, None)


def test_a_record_type_from_the_future_is_passed_over() -> None:
    assert decode(b"\0\x63\0\1g", b"\0\0whatever") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b""),
        (b"\0", b""),
        (b"\0\1\0\1g", b"\0\4"),
        (b"\0\2\0\5g", b"\0\3"),
        (b"\0\2\0\1g", b"\0\x63"),
        (b"\0\2\0\1g", b"\0\3\0"),
        (b"\0\3\0\5g", b""),
        (b"\0\3\0\1\xff", b""),
        (b"\0\3\0", b""),
    ],
)
def test_malformed_records_break_the_protocol(key: bytes, value: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(key, value)
