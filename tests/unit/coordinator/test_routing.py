"""Partitions of keys, with values from Java's `String.hashCode()`."""

from pathlib import Path

import pytest

from ottla.coordinator.group.records import decode
from ottla.coordinator.routing import java_hash, partition_for
from ottla.record.batch import batches
from ottla.record.records import read_records

GOLDENS = Path(__file__).parents[2] / "goldens" / "groups" / "consumer_offsets"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99_162_322),
        ("polygenelubricants", -2_147_483_648),
        ("my-consumer-group", 1_513_705_513),
        ("grüppe", -1_233_264_812),
        ("😀", 1_772_899),
    ],
)
def test_the_hash_is_that_of_java(text: str, expected: int) -> None:
    assert java_hash(text) == expected


def test_groups_are_in_the_partitions_where_kafka_has_them() -> None:
    for path in GOLDENS.glob("*.log"):
        data = path.read_bytes()
        for header in batches(data):
            for row in [] if header.is_control else read_records(data, header.position):
                record = decode(row.key or b"", row.value)
                assert record is not None
                assert partition_for(record.group_id, 50) == int(path.stem)


def test_the_smallest_hash_has_a_partition() -> None:
    assert partition_for("polygenelubricants", 50) == 0
