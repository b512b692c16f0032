"""What the small files of a partition's directory say, of a log that nobody has opened."""

from collections.abc import Callable

from ottla.model.ids import ProducerId, Uuid
from ottla.storage import checkpoints, names
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk
from ottla.storage.producer_snapshot import decode_snapshot


def topic_id(disk: Disk, path: str, problems: list[str]) -> Uuid | None:
    """The id of the log's topic; None, and a problem more, where its file does not say it."""
    file = f"{path}/{names.PARTITION_METADATA}"
    try:
        return checkpoints.parse_partition_metadata(disk.read(file))
    except (FileNotFoundError, CheckpointError) as error:
        problems.append(f"{file} does not say the topic's id: {error}")
        return None


def highest_producer_id(
    disk: Disk, path: str, unusable: Callable[[str, CheckpointError], object]
) -> ProducerId:
    """The highest in any producer snapshot, or -1; `unusable` hears of a file and what is wrong."""
    highest = -1
    for name in disk.list(path):
        if name.endswith(names.SNAPSHOT):
            file = f"{path}/{name}"
            try:
                entries = decode_snapshot(disk.read(file))
            except CheckpointError as error:
                unusable(file, error)
                continue
            highest = max([highest, *(entry.producer_id for entry in entries)])
    return highest
