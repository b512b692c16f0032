"""Identifiers, by the names the protocol gives them.

They are aliases, not classes: an offset is added to and compared on every
request, and a wrapper would cost more than the addition.
"""

from binascii import a2b_base64, b2a_base64
from typing import NamedTuple, TypeAlias

Offset: TypeAlias = int
"""Numbers a record of a partition; the first is 0."""

PartitionId: TypeAlias = int
BrokerId: TypeAlias = int
LeaderEpoch: TypeAlias = int
"""Raised at each election of a partition; -1 where there is none."""

ProducerId: TypeAlias = int
ProducerEpoch: TypeAlias = int
TopicName: TypeAlias = str

Uuid: TypeAlias = bytes
"""16 bytes, as on the wire. Topic ids and directory ids are these."""

ZERO_UUID: Uuid = bytes(16)
NO_LEADER_EPOCH: LeaderEpoch = -1
NO_PRODUCER_ID: ProducerId = -1
NO_BROKER: BrokerId = -1


class TopicPartition(NamedTuple):
    """One partition, by its topic's name."""

    topic: TopicName
    partition: PartitionId

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


# Straight to binascii: every key of a partition has one, and base64 takes six times as long.


def uuid_text(uuid: Uuid) -> str:
    """The 22 characters Kafka writes a uuid with: base64url without padding."""
    return b2a_base64(uuid, newline=False).translate(_TO_URL)[:22].decode()


def uuid_from_text(text: str) -> Uuid:
    """Raise ValueError unless `text` is 22 characters of base64url."""
    if len(text) != 22:
        raise ValueError(f"a uuid has 22 characters, not {len(text)}: {text!r}")
    return a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"==", strict_mode=True)
