"""Committed offsets of the groups of one shard, and when they expire (KIP-211).

Offsets committed in a transaction are *pending* until its end is known: not
fetched, and `require_stable` (KIP-447) refuses the partition meanwhile. A
commit outside a transaction that stands later in the log outlives an earlier
one whose transaction ends after it.

Everything here is changed by `apply` and `apply_marker` alone.
"""

from collections.abc import Iterator

from ottla.coordinator.group.kinds import Group
from ottla.coordinator.group.records import NO_TIMESTAMP, CommittedOffset, OffsetStored
from ottla.model.ids import NO_PRODUCER_ID, Offset, PartitionId, ProducerId, TopicName

Partitions = dict[PartitionId, CommittedOffset]
Topics = dict[TopicName, Partitions]


class Offsets:
    """What was committed, by group, topic and partition."""

    __slots__ = ("_by_group", "_open", "_pending")

    def __init__(self) -> None:
        self._by_group: dict[str, Topics] = {}
        self._pending: dict[ProducerId, dict[str, Topics]] = {}
        self._open: dict[str, dict[ProducerId, None]] = {}
        """The producers with an open transaction that committed for a group."""

    def of_group(self, group_id: str) -> Topics:
        """Everything committed by a group; not to be changed."""
        return self._by_group.get(group_id, {})

    def get(
        self, group_id: str, topic: TopicName, partition: PartitionId
    ) -> CommittedOffset | None:
        return self._by_group.get(group_id, {}).get(topic, {}).get(partition)

    def is_pending(self, group_id: str, topic: TopicName, partition: PartitionId) -> bool:
        """Does an open transaction commit for this partition?"""
        for producer_id in self._open.get(group_id, ()):
            if partition in self._pending[producer_id].get(group_id, {}).get(topic, {}):
                return True
        return False

    def exists(self, group_id: str, topic: TopicName, partition: PartitionId) -> bool:
        """Committed or pending: is there something to delete?"""
        return self.get(group_id, topic, partition) is not None or self.is_pending(
            group_id, topic, partition
        )

    def partitions(self, group_id: str) -> Iterator[tuple[TopicName, PartitionId]]:
        """All partitions with a committed or pending offset, each once."""
        seen: dict[tuple[TopicName, PartitionId], None] = {}
        for topic, partitions in self.of_group(group_id).items():
            for partition in partitions:
                seen[topic, partition] = None
        for producer_id in self._open.get(group_id, ()):
            for topic, partitions in self._pending[producer_id].get(group_id, {}).items():
                for partition in partitions:
                    seen[topic, partition] = None
        return iter(seen)

    def groups_with_topics(self, topics: set[TopicName]) -> Iterator[OffsetStored]:
        """A tombstone for every offset of these topics, in any group."""
        groups = dict.fromkeys([*self._by_group, *self._open])
        for group_id in groups:
            for topic, partition in self.partitions(group_id):
                if topic in topics:
                    yield OffsetStored(group_id, topic, partition, None)

    def expired(
        self, group_id: str, group: Group, now_ms: int, retention_ms: int
    ) -> tuple[list[OffsetStored], bool]:
        """Return tombstones for what has expired, and whether nothing is left then."""
        topics = self._by_group.get(group_id)
        if not topics:
            return [], group_id not in self._open
        since_ms = group.offsets_expire_from()
        if since_ms is None:
            return [], False
        tombstones = []
        all_expired = True
        for topic, partitions in topics.items():
            if group.is_subscribed_to(topic):
                all_expired = False
                continue
            for partition, committed in partitions.items():
                if _is_expired(committed, since_ms, now_ms, retention_ms) and not self.is_pending(
                    group_id, topic, partition
                ):
                    tombstones.append(OffsetStored(group_id, topic, partition, None))
                else:
                    all_expired = False
        return tombstones, all_expired and group_id not in self._open

    def apply(self, record: OffsetStored, offset: Offset, producer_id: ProducerId) -> None:
        """Replay one record; `producer_id` is -1 outside a transaction."""
        group_id, topic, partition, committed = record
        if committed is None:
            self._delete(group_id, topic, partition)
            return
        committed = committed._replace(record_offset=offset)
        if producer_id == NO_PRODUCER_ID:
            self._put(self._by_group, group_id, topic, partition, committed)
        else:
            pending = self._pending.setdefault(producer_id, {})
            self._put(pending, group_id, topic, partition, committed)
            self._open.setdefault(group_id, {})[producer_id] = None

    def apply_marker(self, producer_id: ProducerId, committed: bool) -> None:
        """The producer's transaction ended: its offsets count now, or never did."""
        pending = self._pending.pop(producer_id, None)
        if pending is None:
            return
        for group_id, topics in pending.items():
            producers = self._open.get(group_id)
            if producers is not None:
                producers.pop(producer_id, None)
                if not producers:
                    del self._open[group_id]
            if not committed:
                continue
            for topic, partitions in topics.items():
                for partition, offset in partitions.items():
                    current = self.get(group_id, topic, partition)
                    if current is None or offset.record_offset > current.record_offset:
                        self._put(self._by_group, group_id, topic, partition, offset)

    @staticmethod
    def _put(
        groups: dict[str, Topics],
        group_id: str,
        topic: TopicName,
        partition: PartitionId,
        committed: CommittedOffset,
    ) -> None:
        topics = groups.get(group_id)
        if topics is None:
            topics = groups[group_id] = {}
        partitions = topics.get(topic)
        if partitions is None:
            partitions = topics[topic] = {}
        partitions[partition] = committed

    def _delete(self, group_id: str, topic: TopicName, partition: PartitionId) -> None:
        _remove(self._by_group, group_id, topic, partition)
        for producer_id in self._open.get(group_id, ()):
            _remove(self._pending[producer_id], group_id, topic, partition)


def _is_expired(committed: CommittedOffset, since_ms: int, now_ms: int, retention_ms: int) -> bool:
    if committed.expire_timestamp_ms != NO_TIMESTAMP:
        return now_ms >= committed.expire_timestamp_ms
    base_ms = committed.commit_timestamp_ms if since_ms == NO_TIMESTAMP else since_ms
    return now_ms - base_ms >= retention_ms


def _remove(
    groups: dict[str, Topics], group_id: str, topic: TopicName, partition: PartitionId
) -> None:
    """Remove one offset, and the dicts that are empty then."""
    topics = groups.get(group_id)
    if topics is None:
        return
    partitions = topics.get(topic)
    if partitions is None:
        return
    partitions.pop(partition, None)
    if not partitions:
        del topics[topic]
        if not topics:
            del groups[group_id]
