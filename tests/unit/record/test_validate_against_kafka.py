"""Ours answers every shape of a produce request as the real Kafka did, or a reason is here."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tools.probes.produce_shapes import Shape, shapes

from ottla.model.errors import ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import (
    BatchHeader,
    read_header,
    set_log_append_time,
    verify_crc,
)
from ottla.record.records import Record, read_records
from ottla.record.validate import (
    UNLIMITED_MS,
    ProducedBatch,
    ProduceRules,
    RejectedBatchError,
    validate_produced,
)

GOLDEN = Path(__file__).parents[2] / "goldens/record/produce_outcomes.json"
KEPT = json.loads(GOLDEN.read_text())
NOW_MS: int = KEPT["now_ms"]
SHAPES = {name: shape for name, shape in shapes().items() if shape.elsewhere is None}

INSIDE = "the walk looks at lengths only, not inside an uncompressed record"
HEADER = "the header's timestamps are believed while they are within bounds"
BEHIND = "bytes behind the compressed data are refused; some clients could not read them"
LENGTH = "Kafka does not look at the lengths of compressed records, but consumers do"

_INSIDE = [
    "length 7 of 7 with one byte too many",
    "key length 100",
    "value length 100",
    "headers count -1",
    "headers count 1 without one",
    "headers count 2147483647",
    "header key null",
]
_LENGTHS = ["length 5 of 6", "length 7 of 6", "length 2147483647", "length -2147483648"]
_REFUSED = ErrorCode.INVALID_RECORD

#: Name of the shape -> (with what we refuse it, or None: we take it; why).
DIFFERENCES: dict[str, tuple[ErrorCode | None, str]] = {
    "null": (_REFUSED, "Kafka never answers"),
    **{
        f"{codec}record {name}": (None, INSIDE)
        for name in _INSIDE
        for codec in ("", "GZIP ", "LZ4 ")
    },
    "record timestamp delta in eleven bytes": (None, INSIDE),
    "record offset delta in six bytes": (None, INSIDE),
    **{
        f"{codec} record {name}": (_REFUSED, LENGTH)
        for name in _LENGTHS
        for codec in ("GZIP", "LZ4")
    },
    "record ones": (_REFUSED, "Kafka fails on the varint"),
    "record length in six bytes": (_REFUSED, "Kafka fails on the varint"),
    **{
        f"{codec} {what} behind": (ErrorCode.UNKNOWN_SERVER_ERROR, BEHIND)
        for codec in ("GZIP", "LZ4")
        for what in ("garbage", "zeros")
    },
    "LZ4 two streams": (ErrorCode.UNKNOWN_SERVER_ERROR, "Kafka drops the second, then miscounts"),
    "lz4 content checksum wrong": (ErrorCode.UNKNOWN_SERVER_ERROR, "Kafka does not check it"),
    "max timestamp too low": (None, HEADER),
    "max timestamp too high": (None, HEADER),
    "max timestamp hides a record two hours ahead": (None, HEADER),
}


def rules_of(shape: Shape) -> ProduceRules:
    configs = shape.configs
    codec = configs.get("compression.type", "producer")
    return ProduceRules(
        max_message_bytes=int(configs.get("max.message.bytes", 1_048_588)),
        compacted="compact" in configs.get("cleanup.policy", ""),
        timestamp_type=TimestampType(configs.get("message.timestamp.type") == "LogAppendTime"),
        timestamp_before_max_ms=int(configs.get("message.timestamp.before.max.ms", UNLIMITED_MS)),
        target={"producer": None, "uncompressed": CompressionType.NONE}.get(codec)
        if codec in ("producer", "uncompressed")
        else CompressionType[codec.upper()],
    )


def ask(name: str) -> ProducedBatch | RejectedBatchError:
    shape = SHAPES[name]
    try:
        return validate_produced(
            shape.build(NOW_MS),
            rules_of(shape),
            partition=TopicPartition("TOPIC", 0),
            api_version=shape.version,
            now_ms=NOW_MS,
        )
    except RejectedBatchError as error:
        return error


def plain_facts(batch: bytes) -> tuple[BatchHeader, list[Record]]:
    """A batch but for what its codec made of it and what the log stamps."""
    assert verify_crc(batch)
    header = read_header(batch)
    return header._replace(batch_length=0, crc=0, leader_epoch=0), list(read_records(batch))


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in DIFFERENCES])
def test_the_answer_is_kafkas(name: str) -> None:
    theirs: dict[str, Any] = KEPT["outcomes"][name]
    ours = ask(name)
    if isinstance(ours, RejectedBatchError):
        assert int(ours.code) == theirs["error_code"], str(ours)
        if "error_message" in theirs:
            assert ours.message == theirs["error_message"]
            found = [
                [i, re.sub(r"within \[-?\d+, -?\d+\]", "within [FROM, TO]", message)]
                for i, message in ours.record_errors
            ]
            assert found == theirs["record_errors"]
        return
    assert theirs["error_code"] == 0
    sent = SHAPES[name].build(NOW_MS)
    assert sent is not None
    if theirs["stored"] == "as sent":
        assert ours.batch == sent[: len(sent) - theirs["bytes_left_out"]]
        return
    batch = bytearray(ours.batch)
    kept = bytes.fromhex(theirs["stored"])
    if theirs["has_append_time"]:
        set_log_append_time(batch, 0, read_header(kept).max_timestamp)
    assert plain_facts(bytes(batch)) == plain_facts(kept)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_known_difference_is_still_one(name: str) -> None:
    expected, why = DIFFERENCES[name]
    theirs = KEPT["outcomes"][name]
    ours = ask(name)
    code = ours.code if isinstance(ours, RejectedBatchError) else None
    assert code == expected, why
    if code is not None:
        assert theirs.get("error_code") != int(code), "it is none any more"
    elif theirs["error_code"] == 0:
        assert isinstance(ours, ProducedBatch)
        assert theirs["stored"] == "as sent" or bytes(ours.batch).hex() != theirs["stored"]


def test_every_shape_was_put_to_kafka() -> None:
    assert set(KEPT["outcomes"]) == set(shapes())
