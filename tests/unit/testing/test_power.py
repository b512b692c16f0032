import errno
from collections.abc import Callable

import pytest

from ottla.testing.power import Died, Failure, PowerDisk
from ottla.testing.randomness import SeededRandomness

PAGE = 16


def disk_of(seed: int) -> PowerDisk:
    """A disk with a durable directory."""
    disk = PowerDisk(SeededRandomness(seed), page_bytes=PAGE)
    disk.make_directory("/d")
    disk.sync_directory("/")
    return disk


def write(disk: PowerDisk, path: str, data: bytes, position: int = 0, sync: bool = False) -> None:
    file = disk.open(path, create=True)
    file.pwrite(data, position)
    if sync:
        file.sync()
    file.close()


def after_cuts(prepare: Callable[[PowerDisk], None]) -> set[tuple[tuple[str, bytes], ...]]:
    """All that a power cut leaves, over many seeds."""
    left = set()
    for seed in range(300):
        disk = disk_of(seed)
        prepare(disk)
        disk.power_cut()
        left.add(tuple(sorted((path, bytes(it.data)) for path, it in disk.files.items())))
    return left


def test_what_is_synced_with_its_name_stays() -> None:
    def prepare(disk: PowerDisk) -> None:
        write(disk, "/d/a", b"data", sync=True)
        disk.sync_directory("/d")

    assert after_cuts(prepare) == {(("/d/a", b"data"),)}


def test_a_name_that_is_not_synced_may_be_lost_though_its_data_was() -> None:
    left = after_cuts(lambda disk: write(disk, "/d/a", b"data", sync=True))
    assert left == {(), (("/d/a", b"data"),)}


def test_writes_are_lost_kept_torn_or_leave_holes() -> None:
    def prepare(disk: PowerDisk) -> None:
        write(disk, "/d/a", b"s" * PAGE, sync=True)
        disk.sync_directory("/d")
        write(disk, "/d/a", b"x" * 2 * PAGE, PAGE)

    left = {files[0][1] for files in after_cuts(prepare)}
    assert b"s" * PAGE in left
    assert b"s" * PAGE + b"x" * 2 * PAGE in left
    assert any(len(data) % PAGE for data in left), "torn"
    assert b"s" * PAGE + bytes(PAGE) + b"x" * PAGE in left, "a hole"
    assert all(data.startswith(b"s" * PAGE) for data in left), "what was synced stays"


def test_a_rename_is_done_or_not() -> None:
    def prepare(disk: PowerDisk) -> None:
        write(disk, "/d/a", b"old", sync=True)
        disk.sync_directory("/d")
        disk.write("/d/a", b"new", sync=False)

    left = after_cuts(prepare)
    assert {dict(files)["/d/a"] for files in left} >= {b"old", b"new", b""}
    assert all("/d/a" in dict(files) for files in left)


def test_a_replacement_that_is_synced_is_there() -> None:
    left = after_cuts(lambda disk: disk.write("/d/a", b"new", sync=True))
    assert left == {(("/d/a", b"new"),)}


def test_a_removal_may_be_undone_unless_the_directory_is_synced() -> None:
    def prepare(disk: PowerDisk) -> None:
        disk.write("/d/a", b"data", sync=True)
        disk.remove("/d/a")

    def prepare_synced(disk: PowerDisk) -> None:
        prepare(disk)
        disk.sync_directory("/d")

    assert after_cuts(prepare) == {(), (("/d/a", b"data"),)}
    assert after_cuts(prepare_synced) == {()}


def test_a_directory_takes_its_files_along() -> None:
    def prepare(disk: PowerDisk) -> None:
        disk.write("/d/a", b"data", sync=True)
        disk.rename("/d", "/e")

    assert after_cuts(prepare) == {(("/d/a", b"data"),), (("/e/a", b"data"),)}


def test_one_seed_has_one_outcome() -> None:
    def outcome() -> dict[str, bytes]:
        disk = disk_of(7)
        for number in range(5):
            write(disk, f"/d/{number}", b"x" * 40)
        disk.power_cut()
        return {path: bytes(it.data) for path, it in disk.files.items()}

    assert outcome() == outcome()


def test_the_process_dies_in_the_middle_and_does_nothing_more() -> None:
    sizes = set()
    for seed in range(50):
        disk = disk_of(seed)
        file = disk.open("/d/a", create=True)
        disk.dies_at = disk.operations + 1
        with pytest.raises(Died):
            file.pwrite(b"x" * 10, 0)
        with pytest.raises(Died):
            disk.rename("/d/a", "/d/b")
        disk.process_death()
        sizes.add(len(disk.read("/d/a")))
    assert sizes > {0, 10}


def test_a_full_disk_takes_a_part_and_heals() -> None:
    disk = disk_of(0)
    disk.capacity = 6
    file = disk.open("/d/a", create=True)
    with pytest.raises(OSError, match="No space") as caught:
        file.pwrite(b"0123456789", 0)
    assert caught.value.errno == errno.ENOSPC
    assert disk.read("/d/a") == b"012345"
    file.truncate(0)
    file.pwrite(b"0123", 0)
    assert disk.space("/d").usable_bytes == 2


def test_named_operations_fail_as_often_as_asked() -> None:
    disk = disk_of(0)
    disk.failures.append(Failure(errno.EIO, frozenset({"pwrite"}), ".log", spared=1, times=1))
    write(disk, "/d/a", b"other files are spared")
    write(disk, "/d/a.log", b"one")
    with pytest.raises(OSError, match="Input/output"):
        write(disk, "/d/a.log", b"two")
    write(disk, "/d/a.log", b"six")
    assert disk.read("/d/a.log") == b"six"


def test_what_a_failed_sync_lost_no_later_sync_brings_back() -> None:
    def prepare(disk: PowerDisk) -> None:
        disk.write("/d/a", b"", sync=True)
        file = disk.open("/d/a")
        file.pwrite(b"lost", 0)
        disk.failures.append(Failure(errno.EIO, frozenset({"sync"}), times=1))
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        file.sync()

    assert (("/d/a", b""),) in after_cuts(prepare)


def test_a_flipped_bit_survives_everything() -> None:
    disk = disk_of(0)
    disk.write("/d/a", b"\x00\x00", sync=True)
    disk.flip("/d/a", 9)
    disk.power_cut()
    assert disk.read("/d/a") == b"\x00\x02"
