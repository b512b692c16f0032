"""All share partitions this broker leads, and what their groups' settings say of them."""

import re
from collections.abc import Iterable

from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.persister import Persister
from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.state import ShareLimits
from ottla.model.clock import Clock
from ottla.model.ids import Offset, Uuid
from ottla.model.isolation import IsolationLevel
from ottla.replica.partition import Partition
from ottla.storage.timestamps import offset_for_timestamp

_DURATION = re.compile(r"(?ia)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d*)?)S)?)?")


class SharePartitions:
    """Share partitions by key, made when first fetched from."""

    def __init__(self, persister: Persister, surroundings: Surroundings, clock: Clock) -> None:
        self._persister = persister
        self._surroundings = surroundings
        self._clock = clock
        self._partitions: dict[ShareKey, SharePartition] = {}

    def __len__(self) -> int:
        return len(self._partitions)

    async def get(self, group_id: str, replica: Partition) -> SharePartition:
        """The loaded share partition of a partition led here. Raises ApiError."""
        partition = self._made(group_id, replica)
        await partition.load()
        return partition

    def load_soon(self, group_id: str, replica: Partition) -> None:
        """Make it, and let it load; who asks next finds it, or how that failed."""
        self._made(group_id, replica).load_soon()

    def is_loaded(self, group_id: str, replica: Partition) -> bool:
        found = self._partitions.get(ShareKey(group_id, replica.topic_id, replica.partition))
        return found is not None and found.is_loaded

    def _made(self, group_id: str, replica: Partition) -> SharePartition:
        key = ShareKey(group_id, replica.topic_id, replica.partition)
        partition = self._partitions.get(key)
        if partition is None:
            partition = self._partitions[key] = SharePartition(
                key,
                replica,
                self._persister,
                self._clock,
                self.limits,
                self._first_offset,
                self._ended,
            )
        return partition

    def peek(self, group_id: str, topic_id: Uuid, partition: int) -> SharePartition | None:
        """The share partition, if it is there."""
        return self._partitions.get(ShareKey(group_id, topic_id, partition))

    def of_group(self, group_id: str) -> list[SharePartition]:
        """All of a group's that are here."""
        return [each for key, each in self._partitions.items() if key.group_id == group_id]

    def forget(self, group_id: str, topic_ids: Iterable[Uuid] | None = None) -> None:
        """What is stored of a group (of these topics) was written by somebody else: read it anew."""
        topics = None if topic_ids is None else set(topic_ids)
        for key, partition in list(self._partitions.items()):
            if key.group_id == group_id and (topics is None or key.topic_id in topics):
                partition.end()

    def close(self) -> None:
        for partition in list(self._partitions.values()):
            partition.end()

    def _ended(self, partition: SharePartition) -> None:
        if self._partitions.get(partition.key) is partition:
            del self._partitions[partition.key]

    # Settings

    def limits(self, group_id: str) -> ShareLimits:
        values = self._surroundings.group_values(group_id)
        number = self._surroundings.group_number
        return ShareLimits(
            number(group_id, "share.delivery.count.limit"),
            number(group_id, "share.partition.max.record.locks"),
            number(group_id, "share.record.lock.duration.ms"),
            bool(values["share.renew.acknowledge.enable"]),
        )

    def isolation(self, group_id: str) -> IsolationLevel:
        values = self._surroundings.group_values(group_id)
        if values["share.isolation.level"] == "read_committed":
            return IsolationLevel.READ_COMMITTED
        return IsolationLevel.READ_UNCOMMITTED

    def _first_offset(self, group_id: str, replica: Partition) -> Offset:
        """Where `share.auto.offset.reset` says a group begins."""
        reset = str(self._surroundings.group_values(group_id)["share.auto.offset.reset"])
        if reset == "earliest":
            return replica.log.log_start_offset
        if reset.startswith("by_duration:"):
            since_ms = self._clock.now_ms() - duration_ms(reset.partition(":")[2])
            found = offset_for_timestamp(replica.log, since_ms)
            if found is not None and found.offset < replica.high_watermark:
                return found.offset
        return replica.high_watermark


def duration_ms(text: str) -> int:
    """Milliseconds of an ISO-8601 duration of days to seconds, as `share.auto.offset.reset` has."""
    match = _DURATION.fullmatch(text)
    assert match is not None, text  # it was checked when it was set
    days, hours, minutes, seconds = match.groups()
    whole = int(days or 0) * 86_400 + int(hours or 0) * 3_600 + int(minutes or 0) * 60
    return whole * 1000 + int(float((seconds or "0").replace(",", ".")) * 1000)
