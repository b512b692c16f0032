"""A data directory, read for what it holds; nothing in it is changed.

How far a log goes is decided as recovery would: after a clean stop what that left written down
counts, otherwise the batches from the recovery point on are checked, and the first bad one ends it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ottla.model.holdings import HeldLog, Holdings, MetadataCopy
from ottla.model.ids import Offset, ProducerId, TopicPartition, Uuid, uuid_from_text
from ottla.storage import checkpoints, clean_stop, names, partition_files
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.clean_stop import StoppedLog
from ottla.storage.disk import Disk
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.metadata_copy import FILE, read_copy
from ottla.storage.partition_files import highest_producer_id
from ottla.storage.recovery.batches import checked
from ottla.storage.roots import BOOT_ID, LogsError

Progress = Callable[[str], None]


class _Stopped(NamedTuple):
    cleanly: bool
    highest_producer_id: ProducerId
    logs: Mapping[TopicPartition, StoppedLog]


class _Tail(NamedTuple):
    """What the checked batches of a log say."""

    end: Offset
    epoch: int
    producer_id: ProducerId


def read_holdings(disk: Disk, root: str, progress: Progress = lambda name: None) -> Holdings:
    """Read a log directory; `progress` hears of each partition.

    Raises:
        LogsError: it is none of a broker's.
        OSError: it cannot be read.
    """
    meta = _meta(disk, root)
    problems: list[str] = []
    stopped = _how_it_stopped(disk, root)
    copy = _copy(disk, root, problems)
    high_watermarks = _Offsets(disk, root, checkpoints.HIGH_WATERMARK, problems)
    starts = _Offsets(disk, root, checkpoints.LOG_START, problems)
    points = _Offsets(disk, root, checkpoints.RECOVERY_POINT, problems)
    highest = stopped.highest_producer_id

    def unusable(file: str, error: CheckpointError) -> None:
        problems.append(f"{file} is not used: {error}")

    logs = []
    for name in disk.list(root):
        path = f"{root}/{name}"
        partition = names.parse_partition_directory(name)
        if partition is None or not disk.is_directory(path):
            continue
        progress(name)
        topic_id = partition_files.topic_id(disk, path, problems)
        point = points.of(partition, topic_id)
        high_watermark = high_watermarks.of(partition, topic_id)
        epochs = _epochs(disk, path, problems)
        mentioned = epochs.latest
        known = stopped.logs.get(partition)
        if known is not None and known.topic_id == topic_id:
            start, end = known.summary.log_start_offset, known.summary.log_end_offset
            last = known.summary.latest_epoch
            high_watermark = max(high_watermark, known.high_watermark)
        else:
            bases = _bases(disk, path)
            start = max(starts.of(partition, topic_id), bases[0] if bases else 0)
            tail = _tail(disk, path, bases, max(point, start), problems)
            end, last = max(tail.end, start), tail.epoch
            highest = max(highest, tail.producer_id)
        highest = max(highest, highest_producer_id(disk, path, unusable))
        began = [epoch for epoch, offset in epochs if offset <= end]
        logs.append(
            HeldLog(
                partition.topic,
                partition.partition,
                topic_id,
                max([last, *began]),
                max(mentioned, last),
                start,
                end,
                high_watermark,
            )
        )
    return Holdings(
        root,
        meta.cluster_id,
        meta.node_id,
        meta.directory_id,
        _boot_id(disk, root),
        stopped.cleanly,
        highest,
        tuple(logs),
        copy,
        tuple(problems),
    )


class _Meta(NamedTuple):
    cluster_id: str
    node_id: int
    directory_id: Uuid


def _meta(disk: Disk, root: str) -> _Meta:
    path = f"{root}/{checkpoints.META_PROPERTIES}"
    try:
        properties = checkpoints.parse_properties(disk.read(path))
        return _Meta(
            properties["cluster.id"],
            int(properties["node.id"]),
            uuid_from_text(properties["directory.id"]),
        )
    except FileNotFoundError:
        raise LogsError(
            f"{root} is no broker's data directory: it has no {checkpoints.META_PROPERTIES}"
        ) from None
    except (CheckpointError, KeyError, ValueError) as error:
        raise LogsError(f"{path} lacks a usable {error}") from None


def _copy(disk: Disk, root: str, problems: list[str]) -> MetadataCopy | None:
    try:
        return read_copy(disk, root)
    except CheckpointError as error:
        problems.append(f"{root}/{FILE} is not used: {error}")
        return None


def _how_it_stopped(disk: Disk, root: str) -> _Stopped:
    try:
        nonce = checkpoints.parse_clean_shutdown(disk.read(f"{root}/{checkpoints.CLEAN_SHUTDOWN}"))
    except FileNotFoundError:
        return _Stopped(False, -1, {})
    try:
        highest, logs = clean_stop.parse_clean_stop(disk.read(f"{root}/{clean_stop.FILE}"), nonce)
    except (FileNotFoundError, CheckpointError):
        return _Stopped(True, -1, {})
    return _Stopped(True, highest, logs)


def _boot_id(disk: Disk, root: str) -> str:
    try:
        return disk.read(f"{root}/{BOOT_ID}").decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""


class _Offsets:
    """An offset checkpoint: what it says of a partition, if that is of the same topic."""

    def __init__(self, disk: Disk, root: str, name: str, problems: list[str]) -> None:
        self._offsets: Mapping[TopicPartition, Offset] = {}
        self._ids: Mapping[TopicPartition, Uuid] | None = None
        try:
            self._offsets = checkpoints.parse_offsets(disk.read(f"{root}/{name}"))
            ids = f"{root}/{checkpoints.IDS_OF}{name}"
            self._ids = checkpoints.parse_topic_ids(disk.read(ids))
        except FileNotFoundError:
            pass
        except CheckpointError as error:
            self._offsets = {}
            problems.append(f"{root}/{name} is not used: {error}")

    def of(self, partition: TopicPartition, topic_id: Uuid | None) -> Offset:
        if self._ids is not None and self._ids.get(partition) != topic_id:
            return 0
        return self._offsets.get(partition, 0)


def _epochs(disk: Disk, path: str, problems: list[str]) -> LeaderEpochs:
    file = f"{path}/{names.LEADER_EPOCH_CHECKPOINT}"
    try:
        return LeaderEpochs.parse(disk.read(file))
    except FileNotFoundError:
        pass
    except CheckpointError as error:
        problems.append(f"{file} is not used: {error}")
    return LeaderEpochs()


def _bases(disk: Disk, path: str) -> list[Offset]:
    found = map(names.parse_offset_file, disk.list(path))
    return sorted(each[0] for each in found if each is not None and each[1] == names.LOG)


def _tail(disk: Disk, path: str, bases: list[Offset], point: Offset, problems: list[str]) -> _Tail:
    """Check the batches from the segment on that has the recovery point."""
    first = max((n for n, base in enumerate(bases) if base <= point), default=0)
    tail = _Tail(bases[first] if bases else 0, -1, -1)
    for base in bases[first:]:
        tail = tail._replace(end=max(tail.end, base))
        file = disk.open(f"{path}/{names.offset_file(base, names.LOG)}")
        try:
            for header, why in checked(file.pread, 0, file.size()):
                if header is None or header.base_offset < tail.end:
                    why = why or f"a batch at offset {header and header.base_offset}"
                    problems.append(f"{path} ends at offset {tail.end}: {why}")
                    return tail
                tail = _Tail(
                    header.next_offset,
                    max(tail.epoch, header.leader_epoch),
                    max(tail.producer_id, header.producer_id),
                )
        finally:
            file.close()
    return tail
