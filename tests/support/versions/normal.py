"""Answers as plain values, without what differs from run to run and from broker to broker.

Structs become dicts of the fields that the version has, APIs and features one dict. Hosts, ports, ids,
sessions, producer ids and the time of the run become words; records become one
line for each batch.
"""

import re
import time
from typing import Any

from ottla.model.ids import ZERO_UUID, uuid_text
from ottla.record.batch import batches
from ottla.wire.generated.api_versions import (
    ApiVersion,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)
from ottla.wire.message import Struct
from ottla.wire.source import fields_of

DROPPED = frozenset({"throttle_time_ms"})
SIZES = frozenset({"total_bytes", "usable_bytes"})
RECENT_MS = 3_600_000
"""A timestamp this near is the time of the run."""

_WINDOW = re.compile(r"within \[\d+, \d+\]")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_KAFKA_UUID = re.compile(r"[\w-]{22}")


KEYED = (ApiVersion, SupportedFeatureKey, FinalizedFeatureKey)
"""Structs of which an answer has a list that is really a mapping."""


def _keyed(row: Any) -> tuple[str | int, str]:
    """An API or a feature, and its lowest and highest version."""
    if isinstance(row, ApiVersion):
        return row.api_key, f"{row.min_version}-{row.max_version}"
    if isinstance(row, SupportedFeatureKey):
        return row.name, f"{row.min_version}-{row.max_version}"
    return row.name, f"{row.min_version_level}-{row.max_version_level}"


class Numbered:
    """Words for values in the order they were first seen: S1, S2, ..."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._seen: dict[Any, str] = {}

    def __call__(self, value: Any) -> str:
        return self._seen.setdefault(value, f"{self._word}{len(self._seen) + 1}")


class Masks:
    """What the values of one conversation are called."""

    def __init__(self, port: int, topics: dict[bytes, str]) -> None:
        self.port = port
        self.topics = topics
        self.epochs: dict[int, str] = {}
        """Leader epochs that have a name, where a broker was restarted."""
        self._sessions = Numbered("SESSION")
        self._members = Numbered("MEMBER")

    def normal(self, value: Any, version: int, name: str = "") -> Any:
        """Return `value`, an answer or a field of this name, as JSON can hold it."""
        if isinstance(value, Struct):
            return {
                field.name: self.normal(getattr(value, field.name), version, field.name)
                for field in fields_of(type(value))
                if field.in_version(version) and field.name not in DROPPED
            }
        if isinstance(value, list) and value and isinstance(value[0], KEYED):
            return {str(row[0]): row[1] for row in map(_keyed, value)}
        if isinstance(value, list):
            return [self.normal(item, version, name) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return self._number(int(value), name)
        if isinstance(value, str):
            return self._text(value, name)
        if name == "records":
            return [self._batch(row) for row in batches(value)]
        if len(value) == 16 and name == "topic_id":
            return self.topic(bytes(value))
        return bytes(value).hex()

    def topic(self, topic_id: bytes) -> str:
        if topic_id == ZERO_UUID:
            return "NO ID"
        return f"ID of {self.topics[topic_id]}" if topic_id in self.topics else "UNKNOWN ID"

    def _number(self, value: int, name: str) -> Any:
        if name == "port" and value == self.port:
            return "PORT"
        if name == "session_id" and value > 0:
            return self._sessions(value)
        if name == "producer_id" and value >= 0:
            return "PRODUCER"
        if name in SIZES and value > 0:
            return "BYTES"
        if name == "finalized_features_epoch" and value >= 0:
            return "EPOCH"
        if name in ("epoch", "leader_epoch") and value in self.epochs:
            return self.epochs[value]
        if abs(value - time.time() * 1000) < RECENT_MS:
            return "NOW"
        return value

    def _text(self, value: str, name: str) -> str:
        if name == "host":
            return "HOST" if value == "127.0.0.1" else value
        if name == "log_dir":
            return "DIRECTORY"
        if name == "cluster_id":
            return "CLUSTER"
        if name == "member_id" and _KAFKA_UUID.fullmatch(value):
            return self._members(value)
        value = _WINDOW.sub("within [FROM, TO]", value)
        for topic_id, topic in self.topics.items():
            text = uuid_text(topic_id)
            if text in value:
                value = value.replace(text, f"ID of {topic}")
        return _UUID.sub(lambda match: self._members(match[0]), value)

    def _batch(self, row: Any) -> str:
        header = row
        stamped = self._number(header.max_timestamp, "")
        crc = "" if stamped == "NOW" else f" crc {header.crc & 0xFFFFFFFF:08x}"
        epoch = self.epochs.get(header.leader_epoch, header.leader_epoch)
        last = header.base_offset + header.last_offset_delta
        return f"{header.base_offset}-{last} epoch {epoch} {header.size} bytes until {stamped}{crc}"
