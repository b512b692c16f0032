"""A log directory's own files, against the partitions beside them."""

from collections.abc import Iterator, Mapping

from ottla.model.ids import Offset, TopicPartition, Uuid
from ottla.storage import checkpoints, clean_stop, names, offset_checkpoints
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk
from ottla.storage.verify.findings import Checked, Finding, Kind


def log_bytes(disk: Disk, path: str) -> int:
    """Return how many bytes of `.log` files a partition's directory has, for a progress bar."""
    return sum(
        disk.size(f"{path}/{name}")
        for name in disk.list(path)
        if (parsed := names.parse_offset_file(name)) is not None and parsed[1] == names.LOG
    )


def partitions_in(disk: Disk, root: str) -> dict[TopicPartition, str]:
    """Return the live partitions' directories of a log directory, in order."""
    found = {
        partition: f"{root}/{name}"
        for name in disk.list(root)
        if (partition := names.parse_partition_directory(name)) is not None
        and disk.is_directory(f"{root}/{name}")
    }
    return dict(sorted(found.items()))


def verify_directory(
    disk: Disk, root: str, checked: Mapping[TopicPartition, Checked]
) -> Iterator[Finding]:
    """Yield what is wrong with the files beside the partitions.

    Args:
        checked: every partition of the directory, verified.
    """
    yield from _meta_properties(disk, f"{root}/{checkpoints.META_PROPERTIES}")
    for name, what in (
        (checkpoints.RECOVERY_POINT, "flushed up to"),
        (checkpoints.HIGH_WATERMARK, "committed up to"),
        (checkpoints.LOG_START, "deleted up to"),
        (checkpoints.CLEANER, "compacted up to"),
    ):
        if not offset_checkpoints.yet_to_be_written(disk, root, name):
            yield from _offset_checkpoint(disk, f"{root}/{name}", what, checked)
        yield from _ids_of_checkpoint(disk, f"{root}/{checkpoints.IDS_OF}{name}")
    yield from _clean_stop(disk, root, checked)


def _meta_properties(disk: Disk, path: str) -> Iterator[Finding]:
    try:
        properties = checkpoints.parse_properties(disk.read(path))
    except FileNotFoundError:
        yield Finding(Kind.IDENTITY, path, None, "is missing: whose directory is this?")
        return
    except CheckpointError as error:
        yield Finding(Kind.IDENTITY, path, None, str(error))
        return
    for key, valid in (("cluster.id", str.isascii), ("node.id", str.isdecimal)):
        if not properties.get(key) or not valid(properties[key]):
            yield Finding(Kind.IDENTITY, path, None, f"has no usable {key}")


def _offset_checkpoint(
    disk: Disk, path: str, what: str, checked: Mapping[TopicPartition, Checked]
) -> Iterator[Finding]:
    try:
        offsets = checkpoints.parse_offsets(disk.read(path))
    except FileNotFoundError:
        return  # a broker that died young wrote none; the start does without
    except CheckpointError as error:
        yield Finding(Kind.CHECKPOINT, path, None, str(error))
        return
    for partition, offset in offsets.items():
        known = checked.get(partition)
        if known is None or known.end_offset is None:
            continue
        if not 0 <= offset <= known.end_offset:
            problem = f"{_name(partition)} is {what} {offset}, but ends at {known.end_offset}"
            yield Finding(Kind.CHECKPOINT, path, None, problem)


def _ids_of_checkpoint(disk: Disk, path: str) -> Iterator[Finding]:
    try:
        checkpoints.parse_topic_ids(disk.read(path))
    except FileNotFoundError:
        return  # Kafka has none
    except CheckpointError as error:
        yield Finding(Kind.CHECKPOINT, path, None, str(error))


def _clean_stop(
    disk: Disk, root: str, checked: Mapping[TopicPartition, Checked]
) -> Iterator[Finding]:
    path = f"{root}/{clean_stop.FILE}"
    try:
        nonce = checkpoints.parse_clean_shutdown(disk.read(f"{root}/{checkpoints.CLEAN_SHUTDOWN}"))
        _, stopped = clean_stop.parse_clean_stop(disk.read(path), nonce)
    except FileNotFoundError:
        return
    except CheckpointError as error:
        yield Finding(Kind.CHECKPOINT, path, None, str(error))
        return
    marks = (
        (checkpoints.RECOVERY_POINT, {p: log.summary.log_end_offset for p, log in stopped.items()}),
        (checkpoints.HIGH_WATERMARK, {p: log.high_watermark for p, log in stopped.items()}),
    )
    for partition, log in stopped.items():
        known = checked.get(partition)
        end = log.summary.log_end_offset
        if known is not None and known.end_offset not in (None, end):
            problem = f"{_name(partition)} ended at {end}, now at {known.end_offset}"
            yield Finding(Kind.CHECKPOINT, path, None, problem)
        metadata = f"{root}/{_name(partition)}/{names.PARTITION_METADATA}"
        if known is not None and _topic_id(disk, metadata) not in (None, log.topic_id):
            yield Finding(Kind.METADATA, metadata, None, "has another topic id than at the stop")
    for name, offsets in marks:
        if _parsed(disk, f"{root}/{name}") not in (None, offsets):
            problem = "is not what the clean stop left"
            yield Finding(Kind.CHECKPOINT, f"{root}/{name}", None, problem)


def _topic_id(disk: Disk, path: str) -> Uuid | None:
    try:
        return checkpoints.parse_partition_metadata(disk.read(path))
    except (FileNotFoundError, CheckpointError):
        return None


def _parsed(disk: Disk, path: str) -> dict[TopicPartition, Offset] | None:
    try:
        return checkpoints.parse_offsets(disk.read(path))
    except CheckpointError:
        return None  # told of already
    except FileNotFoundError:
        return {}


def stopped_cleanly(disk: Disk, root: str) -> bool:
    return disk.exists(f"{root}/{checkpoints.CLEAN_SHUTDOWN}")


def checkpointed(disk: Disk, root: str, name: str, partition: TopicPartition) -> Offset:
    """Return what a log directory's checkpoint says of a partition, 0 where it says nothing."""
    try:
        return checkpoints.parse_offsets(disk.read(f"{root}/{name}")).get(partition, 0)
    except (FileNotFoundError, CheckpointError):
        return 0


def compacted_below(disk: Disk, root: str, partition: TopicPartition, path: str) -> Offset:
    """Return the offset below which a log may have holes, 0 if it was never compacted.

    The cleaner's checkpoint has it from its first compaction on, but says how far that
    came only at its end, and a broker may die before. What is appended to has no holes.
    """
    try:
        known = checkpoints.parse_offsets(disk.read(f"{root}/{checkpoints.CLEANER}"))
        ids_path = f"{root}/{checkpoints.IDS_OF}{checkpoints.CLEANER}"
        ids = checkpoints.parse_topic_ids(disk.read(ids_path)) if disk.exists(ids_path) else None
    except (FileNotFoundError, CheckpointError):
        return 0
    if partition not in known:
        return 0
    if ids is not None:
        topic_id = _topic_id(disk, f"{path}/{names.PARTITION_METADATA}")
        if topic_id is not None and partition in ids and ids[partition] != topic_id:
            return 0  # of another topic, which had that name
    bases = [found[0] for name in disk.list(path) if (found := _log_file(name))]
    return max(known[partition], *bases, 0)


def _log_file(name: str) -> tuple[Offset, str] | None:
    found = names.parse_offset_file(name)
    return found if found is not None and found[1] == names.LOG else None


def _name(partition: TopicPartition) -> str:
    return names.partition_directory(partition)
