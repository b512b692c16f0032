"""What files and directories are called.

A partition's directory is `<topic>-<partition>`; files in it begin with the
first offset they are about, in 20 digits.
"""

import re

from ottla.model.ids import Offset, TopicPartition

LOG = ".log"
INDEX = ".index"
TIME_INDEX = ".timeindex"
TRANSACTION_INDEX = ".txnindex"
SNAPSHOT = ".snapshot"
DELETED = ".deleted"
CLEANED = ".cleaned"
SWAP = ".swap"

CUT = "ottla-cut.tmp"
"""A log is being cut; empty."""

DAMAGED = "ottla-damaged"
"""A log was cut at damage, and the other replicas' brokers do not know yet; empty."""

LEADER_EPOCH_CHECKPOINT = "leader-epoch-checkpoint"
PARTITION_METADATA = "partition.metadata"

DELETE_SUFFIX = "-delete"
FUTURE_SUFFIX = "-future"
STRAY_SUFFIX = "-stray"

MAX_NAME_BYTES = 255

_OFFSET_FILE = re.compile(r"(\d{20})(\.log|\.index|\.timeindex|\.txnindex|\.snapshot)\Z")
_SET_ASIDE = re.compile(r".+\.[0-9a-z]{32}-(?:delete|future|stray)\Z")


def offset_file(offset: Offset, suffix: str) -> str:
    return f"{offset:020d}{suffix}"


def parse_offset_file(name: str) -> tuple[Offset, str] | None:
    """Return (offset, suffix) of a live file, None for anything else."""
    match = _OFFSET_FILE.match(name)
    return (int(match[1]), match[2]) if match else None


def partition_directory(partition: TopicPartition) -> str:
    return f"{partition.topic}-{partition.partition}"


def parse_partition_directory(name: str) -> TopicPartition | None:
    """Return the partition, or None for a directory that is not a live one."""
    if _SET_ASIDE.match(name):
        return None
    topic, dash, number = name.rpartition("-")
    if not (dash and topic and number.isascii() and number.isdigit()):
        return None
    if len(number) > 10 or (number != "0" and number.startswith("0")):
        return None
    return TopicPartition(topic, int(number))


def set_aside(partition: TopicPartition, unique: str, suffix: str) -> str:
    """Name a directory taken out of service; `unique` is 32 hex digits.

    A long topic name is cut so that the whole fits a file name, as Kafka does.
    """
    tail = f"-{partition.partition}.{unique}{suffix}"
    return partition.topic[: MAX_NAME_BYTES - len(tail)] + tail


def parent(path: str) -> str:
    """Return the directory that a path is in."""
    above, slash, _ = path.rpartition("/")
    return above or slash or "."
