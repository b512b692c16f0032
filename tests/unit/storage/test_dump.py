import json
from pathlib import Path

import pytest
from tests.unit.storage.test_goldens import GOLDENS, golden_files

from ottla.storage.disk import RealDisk
from ottla.storage.dump import dump_file, dump_path, json_of
from ottla.storage.memory_disk import MemoryDisk


def rows(disk: MemoryDisk) -> list[dict[str, object]]:
    return [dict(row) for row in dump_path(disk, "/small-0")]


def memory() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directory("/small-0")
    for name, data in golden_files("small-0").items():
        disk.create(f"/small-0/{name}", data)
    return disk


def test_a_directory_of_kafka_is_dumped_without_a_problem() -> None:
    found = list(dump_path(RealDisk(), str(GOLDENS / "small-0")))
    assert [row for row in found if "problem" in row] == []
    assert [row["offset"] for row in found if row["kind"] == "record"] == list(range(124))
    kinds = {str(row["kind"]) for row in found}
    assert kinds == {
        "file", "batch", "record", "index_entry", "time_index_entry", "producer", "leader_epoch",
        "partition_metadata",
    }  # fmt: skip


def test_records_can_be_left_out() -> None:
    path = str(GOLDENS / "small-0")
    assert not [
        row for row in dump_path(RealDisk(), path, records=False) if row["kind"] == "record"
    ]


@pytest.mark.parametrize("suffix", [".log", ".index", ".timeindex", ".snapshot"])
def test_a_flipped_byte_is_a_problem(suffix: str) -> None:
    for position in (8, 15, 19):
        disk = memory()
        disk.files[f"/small-0/00000000000000000037{suffix}"].data[position] ^= 0x80
        assert [row for row in rows(disk) if "problem" in row], position


def test_every_row_is_json() -> None:
    for row in dump_path(RealDisk(), str(GOLDENS / "timed-0")):
        json.dumps(json_of(row))


def test_another_file_cannot_be_dumped(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("x")
    with pytest.raises(ValueError, match="not a file of a log directory"):
        list(dump_file(RealDisk(), str(other)))


def test_the_zeros_of_an_index_in_use_by_kafka_are_one_row() -> None:
    disk = memory()
    index = f"/small-0/{0:020}.index"
    whole = disk.read(index)
    kept = [row for row in rows(disk) if row["kind"] == "index_entry"]
    disk.remove(index)
    disk.create(index, whole + bytes(8 * 1000))
    found = rows(disk)
    assert [row for row in found if row["kind"] == "index_entry"] == kept
    assert [row["entries"] for row in found if row["kind"] == "unused"] == [1000]
    assert [row for row in found if "problem" in row] == []
