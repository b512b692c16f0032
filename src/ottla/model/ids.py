"""Identifiers, by the names the protocol gives them.

They are aliases, not classes: an offset is added to and compared on every
request, and a wrapper would cost more than the addition.
"""

import base64
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


def uuid_text(uuid: Uuid) -> str:
    """The 22 characters Kafka writes a uuid with: base64url without padding."""
    return base64.urlsafe_b64encode(uuid).decode("ascii").rstrip("=")


def uuid_from_text(text: str) -> Uuid:
    """Raise ValueError unless `text` is 22 characters of base64url."""
    if len(text) != 22:
        raise ValueError(f"a uuid has 22 characters, not {len(text)}: {text!r}")
    return base64.b64decode(text + "==", altchars=b"-_", validate=True)
