"""A repair restores what the log says, and says what nobody gets back."""

from collections.abc import Callable

import pytest
from tests.unit.storage.parts import ROOT, values
from tests.unit.storage.test_verify import (
    FOLDER,
    PARTITION,
    emptied,
    files,
    garbled,
    short,
    start,
    stopped_directory,
    zero_filled,
)

from ottla.record.batch import read_header
from ottla.storage import checkpoints, names, offline
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.repair import Action

UNIQUE = "0123456789abcdef" * 2
ASIDE = f"{ROOT}/rides-0.{UNIQUE}-stray"


@pytest.fixture
def disk() -> MemoryDisk:
    return stopped_directory()


def repaired(disk: MemoryDisk, *, dry_run: bool = False) -> tuple[list[Action], list[str]]:
    """Return the steps, and what is still wrong after them."""
    steps: list[Action] = []

    def do(action: Action) -> bool:
        steps.append(action)
        if action.run is None or dry_run:
            return False
        action.run()
        return True

    target = offline.target_of(disk, ROOT)
    left = offline.repair_target(disk, target, do, lambda: UNIQUE)
    return steps, [str(finding) for finding in left]


def held(disk: MemoryDisk) -> list[tuple[int, bytes | None]]:
    logs = start(disk)
    log = logs.get(PARTITION)
    assert log is not None
    found = values(log)
    logs.release()
    disk.process_death()
    return found


def contents(disk: MemoryDisk, *suffixes: str) -> dict[str, bytes]:
    return {path: bytes(disk.files[path].data) for path in files(disk, *suffixes)}


def test_there_is_nothing_to_do_where_nothing_is_wrong(disk: MemoryDisk) -> None:
    before = contents(disk, "")
    assert repaired(disk) == ([], [])
    assert contents(disk, "") == before


def test_a_header_outside_the_checksum_is_restored_bit_by_bit(disk: MemoryDisk) -> None:
    """Base offset, length, leader epoch and magic: bytes 0 to 16, nothing is lost."""
    before = contents(disk, ".log")
    for path, whole in before.items():
        position = 0
        while position < len(whole):
            for bit in range(17 * 8):
                data = disk.files[path].data
                data[position + bit // 8] ^= 1 << bit % 8
                steps, left = repaired(disk)
                assert (left, [step.loses for step in steps if step.loses]) == ([], [])
                assert contents(disk, ".log") == before, (path, position, bit)
            position += read_header(whole, position).size


def test_damage_under_the_checksum_cuts_the_log_and_keeps_what_is_cut(disk: MemoryDisk) -> None:
    whole = held(stopped_directory())
    path = files(disk, ".log")[1]
    data = disk.files[path].data
    second = read_header(data).size
    bad = read_header(data, second)
    data[second + 70] ^= 1
    tail = bytes(data[second:])
    later = bytes(disk.files[files(disk, ".log")[2]].data)
    steps, left = repaired(disk)
    assert left == []
    cut = next(step for step in steps if step.loses)
    assert f"every record from offset {bad.base_offset} on" in str(cut)
    assert ASIDE in str(cut)
    assert bytes(disk.files[f"{ASIDE}/{names.offset_file(bad.base_offset, '.log')}"].data) == tail
    assert later in [bytes(content.data) for name, content in disk.files.items() if ASIDE in name]
    assert held(disk) == [(at, value) for at, value in whole if at < bad.base_offset]


def test_a_dry_run_changes_nothing(disk: MemoryDisk) -> None:
    disk.files[files(disk, ".log")[1]].data[70] ^= 1
    disk.remove(files(disk, ".timeindex")[0])
    before = {path: bytes(content.data) for path, content in disk.files.items()}
    steps, left = repaired(disk, dry_run=True)
    assert any(step.loses for step in steps)
    assert left
    assert {path: bytes(content.data) for path, content in disk.files.items()} == before


MADE_ANEW = (".index", ".timeindex", ".txnindex", ".snapshot", names.LEADER_EPOCH_CHECKPOINT)


@pytest.mark.parametrize("damage", [short, emptied, zero_filled, garbled, None])
@pytest.mark.parametrize("suffix", MADE_ANEW)
def test_an_auxiliary_file_is_made_anew(
    disk: MemoryDisk, suffix: str, damage: Callable[[bytearray], None] | None
) -> None:
    original = stopped_directory()
    for path in files(disk, suffix):
        if damage is None:
            disk.remove(path)
        else:
            damage(disk.files[path].data)
    steps, left = repaired(disk)
    assert left == []
    assert not [step.loses for step in steps if step.loses]
    assert held(disk) == held(original)
    log = start(disk).get(PARTITION)
    expected = start(original).get(PARTITION)
    assert log is not None
    assert expected is not None
    assert list(log.leader_epochs) == list(expected.leader_epochs)
    assert log.producers.entries() == expected.producers.entries()
    end = log.log_end_offset
    assert log.aborted_transactions(0, end) == expected.aborted_transactions(0, end)


def test_checkpoints_are_put_in_bounds(disk: MemoryDisk) -> None:
    path = f"{ROOT}/{checkpoints.HIGH_WATERMARK}"
    disk.write(path, checkpoints.offsets_text({PARTITION: 9_999}), sync=True)
    garbled(disk.files[f"{ROOT}/{checkpoints.RECOVERY_POINT}"].data)
    _, left = repaired(disk)
    assert left == []
    log = start(disk).get(PARTITION)
    assert log is not None
    assert checkpoints.parse_offsets(disk.read(path)) == {PARTITION: log.log_end_offset}


def test_the_topic_id_is_what_the_clean_stop_says(disk: MemoryDisk) -> None:
    path = f"{FOLDER}/{names.PARTITION_METADATA}"
    garbled(disk.files[path].data)
    assert repaired(disk)[1] == []
    assert checkpoints.parse_partition_metadata(disk.read(path)) == b"t" * 16


def test_what_cannot_be_repaired_is_said(disk: MemoryDisk) -> None:
    disk.remove(f"{ROOT}/{checkpoints.META_PROPERTIES}")
    steps, left = repaired(disk)
    assert "not repaired" in str(steps[0])
    assert len(left) == 1


def test_no_checksum_is_made_anew(disk: MemoryDisk) -> None:
    """Whatever bit is flipped, every batch that a repair leaves is one that was there."""
    before = contents(disk, ".log")
    batches = set()
    for data in before.values():
        position = 0
        while position < len(data):
            size = read_header(data, position).size
            batches.add(data[position : position + size])
            position += size
    path = files(disk, ".log")[2]
    size = len(before[path])
    for bit in range(0, size * 8, 37):
        damaged = stopped_directory()
        damaged.files[path].data[bit // 8] ^= 1 << bit % 8
        _, left = repaired(damaged)
        assert left == []
        for data in contents(damaged, ".log").values():
            position = 0
            while position < len(data):
                length = read_header(data, position).size
                assert data[position : position + length] in batches
                position += length


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_hole_alone_is_no_reason_to_change_a_batch(
    disk: MemoryDisk, gone: int, known: bool
) -> None:
    """Compaction left it, and the broker died before it wrote how far that came."""
    path = files(disk, ".log")[0]
    data = disk.files[path].data
    start_at = read_header(data).size
    end_at = start_at
    for _ in range(gone):
        end_at += read_header(data, end_at).size
    del data[start_at:end_at]
    if known:
        text = checkpoints.offsets_text({PARTITION: 0})
        disk.write(f"{ROOT}/{checkpoints.CLEANER}", text, sync=True)
    before = contents(disk, ".log")
    _, left = repaired(disk)
    assert contents(disk, ".log") == before
    assert bool(left) != known
