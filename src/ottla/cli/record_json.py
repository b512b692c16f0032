"""Records as JSON, one object a line: what `consume` prints and `produce` reads.

    {"topic": "rides", "partition": 0, "offset": 5, "timestamp": 1767225600000,
     "key": "car-1", "headers": [{"key": "source", "value": "app"}], "value": "..."}

Bytes that are not UTF-8 come as base64 under `key_base64` or `value_base64`.
A missing or null key or value is null; `headers` is left out when there are none.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ottla.model.ids import TopicPartition
from ottla.record.records import Record, RecordHeader

PLACE = frozenset({"topic", "partition", "offset", "timestamp"})
FIELDS = PLACE | {"key", "key_base64", "value", "value_base64", "headers"}

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


class InputRecord(NamedTuple):
    """A record to produce; None leaves topic, partition and timestamp to the command."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[RecordHeader, ...] = ()
    topic: str | None = None
    partition: int | None = None
    timestamp: int | None = None


def record_json(partition: TopicPartition, record: Record) -> str:
    fields: dict[str, Any] = {
        "topic": partition.topic,
        "partition": partition.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
    }
    _put(fields, "key", record.key)
    if record.headers:
        headers = fields["headers"] = []
        for name, value in record.headers:
            header: dict[str, Any] = {"key": name}
            _put(header, "value", value)
            headers.append(header)
    _put(fields, "value", record.value)
    return _encode(fields)


def _put(fields: dict[str, Any], name: str, value: bytes | None) -> None:
    if value is None:
        fields[name] = None
        return
    try:
        fields[name] = value.decode()
    except UnicodeDecodeError:
        fields[f"{name}_base64"] = base64.b64encode(value).decode("ascii")


def looks_like_record(line: bytes) -> bool:
    """Whether a line is one that `consume` printed: nothing else has all these fields."""
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        fields = json.loads(line)
    except ValueError:
        return False
    return isinstance(fields, dict) and PLACE <= fields.keys() <= FIELDS


def parse_record(line: bytes) -> InputRecord:
    """Read one line.

    A key or value that is JSON but no string is written as compact JSON.

    Raises:
        ValueError: it is not an object of the fields above.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    unknown = fields.keys() - FIELDS
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}; known are {', '.join(sorted(FIELDS))}")
    headers = fields.get("headers") or []
    if not isinstance(headers, list) or not all(isinstance(each, dict) for each in headers):
        raise ValueError('headers are a list of {"key": ..., "value": ...}')
    return InputRecord(
        _take(fields, "key"),
        _take(fields, "value"),
        tuple((str(header.get("key", "")), _take(header, "value")) for header in headers),
        fields.get("topic"),
        _integer(fields, "partition"),
        _integer(fields, "timestamp"),
    )


def _take(fields: Mapping[str, Any], name: str) -> bytes | None:
    encoded = fields.get(f"{name}_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{name}_base64 is not base64") from None
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _integer(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"{name} is no integer")
    return value
