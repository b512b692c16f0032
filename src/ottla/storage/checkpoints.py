"""Small text files, written whole and atomically.

Checkpoints of a log directory (`recovery-point-offset-checkpoint`,
`log-start-offset-checkpoint`, `replication-offset-checkpoint`):

    0                        version
    <n>                      how many lines follow
    <topic> <partition> <offset>

`meta.properties`, `partition.metadata` and the marker of a clean stop are
described at their functions. Everything read here may have been torn by a
power cut: a file that does not parse raises `CheckpointError`, and the caller
decides what can be known without it.
"""

import json
from collections.abc import Iterable, Mapping

from ottla.model.ids import Offset, TopicPartition, Uuid, uuid_from_text, uuid_text

RECOVERY_POINT = "recovery-point-offset-checkpoint"
LOG_START = "log-start-offset-checkpoint"
HIGH_WATERMARK = "replication-offset-checkpoint"
CLEANER = "cleaner-offset-checkpoint"
IDS_OF = "ottla-ids-of-"
"""Begins the name of the file beside a checkpoint, which says whose offsets it has."""
META_PROPERTIES = "meta.properties"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
LOCK = ".lock"

VERSION = "0"


class CheckpointError(Exception):
    """A checkpoint file is not what it should be."""


def offsets_text(offsets: Mapping[TopicPartition, Offset]) -> bytes:
    lines = [f"{topic} {partition} {offset}" for (topic, partition), offset in offsets.items()]
    return _lines_text(lines)


def parse_offsets(data: bytes) -> dict[TopicPartition, Offset]:
    """Raise CheckpointError unless `data` is a whole offset checkpoint."""
    found: dict[TopicPartition, Offset] = {}
    for line in _parse_lines(data):
        try:
            topic, partition, offset = line.split(" ")
            found[TopicPartition(topic, int(partition))] = int(offset)
        except ValueError:
            raise CheckpointError(f"not `topic partition offset`: {line!r}") from None
    return found


def topic_ids_text(ids: Mapping[TopicPartition, Uuid]) -> bytes:
    """`ottla-ids-of-<checkpoint>`: whose offsets a checkpoint has, `topic partition id` a line.

    It names partitions, and a topic may be deleted and made anew: without this,
    a new one that was never checkpointed would get the old one's offsets. It is
    written after the checkpoint.
    """
    lines = [
        f"{topic} {partition} {uuid_text(topic_id)}" for (topic, partition), topic_id in ids.items()
    ]
    return _lines_text(lines)


def parse_topic_ids(data: bytes) -> dict[TopicPartition, Uuid]:
    """Raise CheckpointError unless `data` is whole."""
    found: dict[TopicPartition, Uuid] = {}
    for line in _parse_lines(data):
        try:
            topic, partition, text = line.split(" ")
            found[TopicPartition(topic, int(partition))] = uuid_from_text(text)
        except ValueError:
            raise CheckpointError(f"not `topic partition id`: {line!r}") from None
    return found


def pairs_text(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Write the shape of `leader-epoch-checkpoint`: two integers a line."""
    return _lines_text([f"{first} {second}" for first, second in pairs])


def parse_pairs(data: bytes) -> list[tuple[int, int]]:
    """Raise CheckpointError unless `data` is whole."""
    found = []
    for line in _parse_lines(data):
        try:
            first, second = line.split(" ")
            found.append((int(first), int(second)))
        except ValueError:
            raise CheckpointError(f"not two integers: {line!r}") from None
    return found


def _lines_text(lines: list[str]) -> bytes:
    return "\n".join([VERSION, str(len(lines)), *lines, ""]).encode()


def _parse_lines(data: bytes) -> list[str]:
    if not data.endswith(b"\n"):
        raise CheckpointError("its last line is cut off")  # a number cut off is a number
    try:
        version, count, *lines = data.decode().splitlines()
        expected = int(count)
    except ValueError as error:
        raise CheckpointError(f"no version and count: {error}") from None
    if version != VERSION:
        raise CheckpointError(f"version {version!r}, not {VERSION}")
    if len(lines) != expected:
        raise CheckpointError(f"{len(lines)} lines, not {expected}")
    return lines


def meta_properties_text(*, cluster_id: str, node_id: int, directory_id: Uuid) -> bytes:
    """`meta.properties`, version 1: whose directory this is."""
    return (
        "#\n"
        f"cluster.id={cluster_id}\n"
        f"directory.id={uuid_text(directory_id)}\n"
        f"node.id={node_id}\n"
        "version=1\n"
    ).encode()


def parse_properties(data: bytes) -> dict[str, str]:
    """Read `key=value` lines; `#` and `!` begin comments."""
    found = {}
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(str(error)) from None
    for line in text.splitlines():
        line = line.strip()
        if line and line[0] not in "#!":
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found


def partition_metadata_text(topic_id: Uuid) -> bytes:
    """`partition.metadata`: which topic of that name the directory belongs to."""
    return f"version: 0\ntopic_id: {uuid_text(topic_id)}".encode()


def parse_partition_metadata(data: bytes) -> Uuid:
    """Raise CheckpointError unless a topic id is there."""
    try:
        lines = dict(line.split(": ", 1) for line in data.decode().splitlines() if line)
        if lines["version"] != "0":
            raise CheckpointError(f"version {lines['version']!r}, not 0")
        return uuid_from_text(lines["topic_id"])
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"not a partition.metadata: {error}") from None


def clean_shutdown_text(broker_epoch: int) -> bytes:
    """`.kafka_cleanshutdown`: the marker of a clean stop; its presence is what counts."""
    return json.dumps({"version": 0, "brokerEpoch": broker_epoch}, separators=(",", ":")).encode()


def parse_clean_shutdown(data: bytes) -> int:
    """Return the broker epoch in the marker, -1 if none can be read."""
    try:
        return int(json.loads(data)["brokerEpoch"])
    except (ValueError, KeyError, TypeError):
        return -1
