"""Whatever is flipped, cut, emptied or lost in a log directory is found."""

from collections.abc import Callable, Iterator

import pytest
from tests.unit.storage.parts import ROOT, CountingRandomness, append, batch
from tests.unit.storage.test_goldens import GOLDENS

from ottla.model.ids import TopicPartition
from ottla.record.batch import read_header
from ottla.record.control import build_end_txn_marker
from ottla.storage import checkpoints, names, offline, offset_checkpoints, verify
from ottla.storage.disk import RealDisk
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.producer_state import AppendOrigin
from ottla.storage.verify import Finding, Kind

PARTITION = TopicPartition("rides", 0)
FOLDER = f"{ROOT}/rides-0"
CONFIG = LogConfig(segment_bytes=500, index_interval_bytes=100, retention_ms=-1)


def start(disk: MemoryDisk, config: LogConfig = CONFIG) -> Logs:
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: config, 0)
    return logs


def fill(log: Log) -> None:
    """Three segments, two epochs, a producer, and a transaction that is aborted."""
    sequence = 0
    for at in range(12):
        epoch = at // 6
        if at % 3 == 2:
            data = batch(1, timestamp=1000 + at, producer_id=7, producer_epoch=0)
            data = batch(
                2, timestamp=1000 + at, producer_id=7, producer_epoch=0, base_sequence=sequence
            )
            sequence += 2
        elif at % 4 == 0:
            data = batch(
                1,
                timestamp=1000 + at,
                producer_id=9,
                producer_epoch=1,
                base_sequence=at // 4,
                transactional=True,
            )
        else:
            data = batch(1 + at % 2, timestamp=1000 + at)
        append(log, data, epoch=epoch)
        if at in (4, 8):
            marker = build_end_txn_marker(
                committed=at == 8,
                coordinator_epoch=2,
                timestamp=1000 + at,
                producer_id=9,
                producer_epoch=1,
            )
            header = read_header(marker)
            log.append(bytearray(marker), header, epoch, 0, AppendOrigin.COORDINATOR)


@pytest.fixture
def disk() -> MemoryDisk:
    """A log directory that was stopped cleanly."""
    return stopped_directory()


def stopped_directory() -> MemoryDisk:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)
    fill(log)
    log.high_watermark = log.log_end_offset
    logs.close()
    return disk


def findings(disk: MemoryDisk) -> list[Finding]:
    found: list[Finding] = []
    offline.verify_target(disk, offline.target_of(disk, ROOT), found.append)
    return found


def files(disk: MemoryDisk, *suffixes: str) -> list[str]:
    return [
        path for path in disk.files if path.startswith(f"{FOLDER}/") and path.endswith(suffixes)
    ]


def flipped(data: bytearray) -> Iterator[int]:
    """Flip every bit in turn."""
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        yield bit
        data[bit // 8] ^= 1 << bit % 8


def test_nothing_is_found_in_what_a_broker_left(disk: MemoryDisk) -> None:
    assert len(files(disk, ".log")) == 3
    assert files(disk, ".txnindex")
    assert findings(disk) == []


def test_nothing_is_found_in_what_kafka_left() -> None:
    for name in ("small-0", "timed-0"):
        found: list[Finding] = []
        checked = verify.verify_partition(RealDisk(), str(GOLDENS / name), found.append)
        assert (found, checked.end_offset) == ([], 124)


def test_a_checkpoint_that_kafka_has_yet_to_write_is_no_finding(disk: MemoryDisk) -> None:
    disk.write(f"{ROOT}/{checkpoints.CLEANER}", b"", sync=True)
    assert findings(disk) == []


def test_every_flipped_bit_of_a_segment_is_found(disk: MemoryDisk) -> None:
    count = 0
    for path in files(disk, ".log"):
        for bit in flipped(disk.files[path].data):
            found: list[Finding] = []
            verify.verify_partition(disk, FOLDER, found.append)
            assert found, (path, bit)
            count += 1
    assert count > 8_000


def test_a_flipped_leader_epoch_is_told_from_a_wrong_file(disk: MemoryDisk) -> None:
    path = files(disk, ".log")[1]
    disk.files[path].data[15] ^= 1
    (one,) = findings(disk)
    assert (one.kind, one.path, one.position) == (Kind.EPOCH, path, 0)
    disk.files[path].data[15] ^= 1
    file = f"{FOLDER}/{names.LEADER_EPOCH_CHECKPOINT}"
    disk.files[file].data[:] = checkpoints.pairs_text([(0, 0), (3, 5)])
    assert any(finding.kind is Kind.EPOCH_FILE for finding in findings(disk))


EXACT = (".index", ".timeindex", ".txnindex", ".snapshot")


@pytest.mark.parametrize("suffix", EXACT)
def test_every_flipped_bit_of_an_auxiliary_file_is_found(disk: MemoryDisk, suffix: str) -> None:
    paths = files(disk, suffix)
    assert any(disk.files[path].data for path in paths)
    for path in paths:
        for bit in flipped(disk.files[path].data):
            assert findings(disk), (path, bit)


def meaning(disk: MemoryDisk, path: str) -> object:
    """What a text file says; None where it says nothing."""
    data = bytes(disk.files[path].data)
    name = path.rpartition("/")[2]
    try:
        if name == names.LEADER_EPOCH_CHECKPOINT:
            return checkpoints.parse_pairs(data)
        if name == names.PARTITION_METADATA:
            return checkpoints.parse_partition_metadata(data)
        return checkpoints.parse_offsets(data)
    except checkpoints.CheckpointError:
        return None


@pytest.mark.parametrize(
    "path",
    [
        f"{FOLDER}/{names.LEADER_EPOCH_CHECKPOINT}",
        f"{FOLDER}/{names.PARTITION_METADATA}",
        f"{ROOT}/{checkpoints.RECOVERY_POINT}",
        f"{ROOT}/{checkpoints.HIGH_WATERMARK}",
    ],
)
def test_every_flipped_bit_of_a_text_file_is_found_or_changes_nothing(
    disk: MemoryDisk, path: str
) -> None:
    before = meaning(disk, path)
    for bit in flipped(disk.files[path].data):
        assert findings(disk) or meaning(disk, path) == before, (path, bit)


def short(data: bytearray) -> None:
    del data[-1:]


def emptied(data: bytearray) -> None:
    data.clear()


def zero_filled(data: bytearray) -> None:
    data[:] = bytes(len(data))


def garbled(data: bytearray) -> None:
    data[:] = b"\xa5" * len(data)


@pytest.mark.parametrize("damage", [short, emptied, zero_filled, garbled])
def test_every_damaged_file_is_found(disk: MemoryDisk, damage: Callable[[bytearray], None]) -> None:
    for path in list(disk.files):
        content = disk.files[path]
        name = path.rpartition("/")[2]
        if name in UNREAD or not content.data:
            continue
        before = bytes(content.data)
        damage(content.data)
        # A segment of some 10 batches may do without offset index entries.
        harmless = damage is emptied and path.endswith(".index")
        assert findings(disk) or harmless or _still(disk, path, before), (path, damage)
        content.data[:] = before


UNREAD = frozenset({checkpoints.LOCK, checkpoints.CLEAN_SHUTDOWN, "ottla-boot-id"})
"""The start reads these three, and takes doubt for an unclean stop."""


def _still(disk: MemoryDisk, path: str, before: bytes) -> bool:
    """A line's end is all that is missing."""
    return path.startswith(f"{ROOT}/") and bytes(disk.files[path].data) == before.rstrip(b"\n")


def test_every_missing_file_is_found(disk: MemoryDisk) -> None:
    unneeded = UNREAD | {"ottla-clean-stop", checkpoints.LOG_START}
    unneeded |= {f"{checkpoints.IDS_OF}{name}" for name in offset_checkpoints.ALL}
    for path in list(disk.files):
        if path.rpartition("/")[2] in unneeded:
            continue
        content = disk.files.pop(path)
        del disk.directories[path.rpartition("/")[0]][path.rpartition("/")[2]]
        assert findings(disk), path
        disk.files[path] = content
        disk.directories[path.rpartition("/")[0]][path.rpartition("/")[2]] = None


def test_what_compaction_left_out_is_no_finding(disk: MemoryDisk) -> None:
    """Below the cleaner's checkpoint, offsets need not follow each other."""
    path = files(disk, ".log")[0]
    data = disk.files[path].data
    first = read_header(data).size
    second = read_header(data, first).size
    del data[first : first + second]
    for suffix in (".index", ".timeindex"):
        disk.remove(path.removesuffix(".log") + suffix)

    def about_batches() -> list[Finding]:
        return [finding for finding in findings(disk) if finding.kind is Kind.BATCH]

    assert "what was between is missing" in about_batches()[0].problem
    text = checkpoints.offsets_text({PARTITION: 10})
    disk.write(f"{ROOT}/{checkpoints.CLEANER}", text, sync=True)
    assert about_batches() == []
    # The broker died before it wrote how far its first compaction came.
    text = checkpoints.offsets_text({PARTITION: 0})
    disk.write(f"{ROOT}/{checkpoints.CLEANER}", text, sync=True)
    assert about_batches() == []
    ids = checkpoints.topic_ids_text({PARTITION: b"o" * 16})
    disk.write(f"{ROOT}/{checkpoints.IDS_OF}{checkpoints.CLEANER}", ids, sync=True)
    assert about_batches(), "it was another topic that had been compacted"


def test_a_finding_is_one_line_with_file_and_position(disk: MemoryDisk) -> None:
    path = files(disk, ".log")[0]
    disk.files[path].data[70] ^= 1
    assert [str(finding) for finding in findings(disk)] == [f"{path}: position 0: a wrong checksum"]
