"""What brokers' data directories hold, as values: what metadata can be made from when its store is lost.

A directory has logs, which know their topic's id, their epochs and how far they go, and a copy
of the metadata as its broker followed it last.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ottla.model.ids import BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId, TopicName, Uuid


class MetadataCopy(NamedTuple):
    """The store's keys that outlive brokers, as one broker knew them."""

    cluster_id: str
    generation: int
    """How often the metadata had been rebuilt."""
    identity: str
    """Of the store it is from; empty where stores have none."""
    revision: int
    decisions: int
    """How often the controllers had decided anything: what else raises revisions does not count."""
    keys: Mapping[str, bytes]
    revisions: Mapping[str, int]
    """Of partitions' keys: at which revision each was put."""

    @property
    def rank(self) -> tuple[int, int, int]:
        """Of two copies the one with the higher rank is newer."""
        return self.generation, self.decisions, self.revision


class HeldLog(NamedTuple):
    """A partition's log in a data directory."""

    topic: TopicName
    partition: PartitionId
    topic_id: Uuid | None
    """None: its file is lost."""
    last_epoch: LeaderEpoch
    """In which its last record was written, or which began behind it; -1: none."""
    highest_epoch: LeaderEpoch
    """The highest that is mentioned anywhere."""
    log_start_offset: Offset
    log_end_offset: Offset
    """As recovery would leave it."""
    high_watermark: Offset
    """As it was written down last: everything below was committed."""

    @property
    def reach(self) -> tuple[LeaderEpoch, Offset]:
        """Of two logs the one that reaches further has all that the other has of what is committed."""
        return self.last_epoch, self.log_end_offset


class Holdings(NamedTuple):
    """One data directory."""

    path: str
    cluster_id: str
    node_id: BrokerId
    directory_id: Uuid
    boot_id: str
    """Of the machine when a broker had the directory last."""
    stopped_cleanly: bool
    highest_producer_id: ProducerId
    """In any log; -1: none."""
    logs: tuple[HeldLog, ...]
    copy: MetadataCopy | None
    problems: tuple[str, ...]
    """What could not be read, and what was done about it."""
