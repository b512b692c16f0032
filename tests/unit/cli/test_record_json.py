"""What `consume` prints, `produce` reads back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.cli.record_json import InputRecord, looks_like_record, parse_record, record_json
from ottla.model.ids import TopicPartition
from ottla.record.records import Record

PLACE = TopicPartition("rides", 3)
maybe_bytes = st.none() | st.binary(max_size=20) | st.text(max_size=20).map(str.encode)
names = st.text(max_size=10)


@given(
    maybe_bytes,
    maybe_bytes,
    st.lists(st.tuples(names, maybe_bytes), max_size=3),
    st.integers(0, 1 << 50),
)
def test_a_record_comes_back_as_it_was(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    timestamp: int,
) -> None:
    line = record_json(PLACE, Record(5, timestamp, key, value, tuple(headers))).encode()
    assert b"\n" not in line
    assert looks_like_record(line)
    assert parse_record(line) == InputRecord(key, value, tuple(headers), "rides", 3, timestamp)


def test_keys_are_stable() -> None:
    record = Record(5, 7, b"k", b"\xff", (("h", b"x"), ("n", None)))
    assert json.loads(record_json(PLACE, record)) == {
        "topic": "rides",
        "partition": 3,
        "offset": 5,
        "timestamp": 7,
        "key": "k",
        "headers": [{"key": "h", "value": "x"}, {"key": "n", "value": None}],
        "value_base64": "/w==",
    }


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"",
        b"{",
        b"[]",
        b"5",
        b'{"value": "x"}',
        b'{"topic": "t", "key": "k", "value": "v"}',
        b'{"topic":"t","partition":0,"offset":0,"timestamp":0,"value":"","speed":3}',
    ],
)
def test_other_lines_are_not_taken_for_records(line: bytes) -> None:
    assert not looks_like_record(line)


def test_a_value_that_is_json_is_written_as_compact_json() -> None:
    assert parse_record(b'{"value": {"a": [1, 2]}}').value == b'{"a":[1,2]}'
    assert parse_record(b'{"value": 5}').value == b"5"
    assert parse_record(b"{}") == InputRecord()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"5",
        b'{"vlaue": 1}',
        b'{"value_base64": "*"}',
        b'{"headers": 1}',
        b'{"partition": "0"}',
    ],
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_record(line)
