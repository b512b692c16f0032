"""What the small files of a log say that nobody has opened."""

import pytest

from ottla.storage import checkpoints, names
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.partition_files import highest_producer_id, topic_id
from ottla.storage.producer_snapshot import SnapshotEntry, encode_snapshot

PATH = "/data/t-0"
TOPIC_ID = bytes(range(16))
ENTRY = SnapshotEntry(7, 0, 0, 0, 0, 0, 0, -1)


@pytest.fixture
def disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directories(PATH)
    return disk


def test_the_topics_id_is_read_or_missed(disk: MemoryDisk) -> None:
    problems: list[str] = []
    assert topic_id(disk, PATH, problems) is None
    disk.write(f"{PATH}/{names.PARTITION_METADATA}", b"nonsense", sync=False)
    assert topic_id(disk, PATH, problems) is None
    assert len(problems) == 2
    text = checkpoints.partition_metadata_text(TOPIC_ID)
    disk.write(f"{PATH}/{names.PARTITION_METADATA}", text, sync=False)
    assert topic_id(disk, PATH, problems) == TOPIC_ID
    assert len(problems) == 2


def test_a_snapshot_that_is_garbled_is_told_of_and_passed_over(disk: MemoryDisk) -> None:
    told: list[str] = []
    assert highest_producer_id(disk, PATH, lambda file, error: told.append(file)) == -1
    disk.write(
        f"{PATH}/{names.offset_file(0, names.SNAPSHOT)}", encode_snapshot([ENTRY]), sync=False
    )
    garbled = f"{PATH}/{names.offset_file(5, names.SNAPSHOT)}"
    disk.write(garbled, b"nonsense", sync=False)
    assert highest_producer_id(disk, PATH, lambda file, error: told.append(file)) == 7
    assert told == [garbled]
