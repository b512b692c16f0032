"""`ottla log dump` over files that Kafka wrote."""

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result
from tests.unit.storage.test_goldens import GOLDENS

from ottla.cli.log import MAX_WARNINGS, log

SMALL = str(GOLDENS / "small-0")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(log, ["dump", *arguments])


def test_every_file_has_its_tables() -> None:
    answer = run(SMALL)
    assert answer.exit_code == 0
    assert answer.output.count("BASE-OFFSET") == answer.output.count(".log  (")
    assert "START-OFFSET" in answer.output
    assert answer.stderr == ""


def test_json_is_an_entry_a_line() -> None:
    entries = [json.loads(line) for line in run(SMALL, "--format", "json").output.splitlines()]
    batches = [entry for entry in entries if entry["kind"] == "batch"]
    assert sum(batch["records_count"] for batch in batches) == 124
    assert not [entry for entry in entries if entry["kind"] == "record"]


def test_records_are_those_of_consume() -> None:
    records = [json.loads(line) for line in run(SMALL, "-r").output.splitlines()]
    assert [record["offset"] for record in records] == list(range(124))
    assert {(record["topic"], record["partition"]) for record in records} == {("small", 0)}


def test_a_directory_of_partitions_is_dumped_whole(tmp_path: Path) -> None:
    for name in ("small-10", "small-9", "other.files"):
        shutil.copytree(SMALL, tmp_path / name)
    records = [json.loads(line) for line in run(str(tmp_path), "-r").output.splitlines()]
    assert [record["partition"] for record in records] == [9] * 124 + [10] * 124


def test_damage_is_status_one_and_said_in_words(tmp_path: Path) -> None:
    shutil.copytree(SMALL, tmp_path / "small-0")
    segment = tmp_path / "small-0" / "00000000000000000037.log"
    data = bytearray(segment.read_bytes())
    data[70] ^= 1
    segment.write_bytes(data)
    answer = run(str(tmp_path / "small-0"))
    assert answer.exit_code == 1
    assert f"ottla: {segment}: position 0: the checksum is wrong" in answer.stderr


def test_warnings_have_an_end(tmp_path: Path) -> None:
    shutil.copytree(SMALL, tmp_path / "small-0")
    index = tmp_path / "small-0" / "00000000000000000000.index"
    index.write_bytes(bytes(range(8)) * 1000)
    answer = run(str(index))
    assert answer.exit_code == 1
    assert len(answer.stderr.splitlines()) == MAX_WARNINGS + 1


def test_another_file_is_wrong_usage() -> None:
    assert run(__file__).exit_code == 2
    assert run("is-not-there").exit_code == 2
