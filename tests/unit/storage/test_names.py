import pytest

from ottla.model.ids import TopicPartition
from ottla.storage import names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-0", ("a", 0)),
        ("a-b.c_d-12", ("a-b.c_d", 12)),
        ("-0", None),
        ("a", None),
        ("a-", None),
        ("a-01", None),
        ("a--1", ("a-", 1)),
        ("a-1x", None),
        ("a-٣", None),
        ("a-99999999999", None),
        ("a-0.00112233445566778899aabbccddeeff-delete", None),
        ("a-0.00112233445566778899aabbccddeeff-stray", None),
        ("a-0.00112233445566778899aabbccddeeff-future", None),
        ("a-delete-0", ("a-delete", 0)),
    ],
)
def test_partition_directories(name: str, expected: tuple[str, int] | None) -> None:
    assert names.parse_partition_directory(name) == expected
    if expected is not None:
        assert names.partition_directory(TopicPartition(*expected)) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("00000000000000000037.log", (37, ".log")),
        ("00000000000000000037.timeindex", (37, ".timeindex")),
        ("00000000000000000037.log.deleted", None),
        ("37.log", None),
        ("00000000000000000037.other", None),
        ("partition.metadata", None),
    ],
)
def test_offset_files(name: str, expected: tuple[int, str] | None) -> None:
    assert names.parse_offset_file(name) == expected
    if expected is not None:
        assert names.offset_file(*expected) == name


def test_the_longest_topic_can_be_set_aside() -> None:
    name = names.set_aside(TopicPartition("t" * 249, 12345), "0" * 32, names.DELETE_SUFFIX)
    assert len(name) == names.MAX_NAME_BYTES
    assert names.parse_partition_directory(name) is None
