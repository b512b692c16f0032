"""`ottla log verify` and `ottla log repair` over files that Kafka wrote."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.storage.test_goldens import GOLDENS

from ottla.cli.log import log
from ottla.storage.checkpoints import LOCK
from ottla.storage.disk import RealDisk

SEGMENT = "00000000000000000037.log"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(log, [str(argument) for argument in arguments])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDENS / "small-0", tmp_path / "small-0"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_sound_directory_is_status_zero(small: Path) -> None:
    answer = run("verify", small)
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert answer.stderr == "nothing is wrong in 18957 bytes of 1 partitions\n"


def test_a_finding_is_a_line_and_status_one(small: Path) -> None:
    flip(small / SEGMENT, 70)
    answer = run("verify", small)
    assert answer.exit_code == 1
    assert answer.stdout == f"{small / SEGMENT}: position 0: a wrong checksum\n"
    (row,) = map(json.loads, run("verify", small, "--format", "json").stdout.splitlines())
    assert (row["path"], row["position"], row["kind"]) == (str(small / SEGMENT), 0, "batch")


def test_a_dry_run_says_what_would_be_lost(small: Path) -> None:
    flip(small / SEGMENT, 70)
    before = (small / SEGMENT).read_bytes()
    answer = run("repair", "--dry-run", small)
    assert answer.exit_code == 1
    assert "LOST: every record from offset 37 on" in answer.stdout
    assert (small / SEGMENT).read_bytes() == before


def test_a_repaired_directory_is_sound(small: Path) -> None:
    flip(small / SEGMENT, 7)
    (small / "00000000000000000000.index").unlink()
    answer = run("repair", small)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "base offset 36 becomes 37" in answer.stdout
    assert "LOST" not in answer.stdout
    assert run("verify", small).exit_code == 0


def test_a_directory_in_use_is_refused(small: Path) -> None:
    lock = RealDisk().lock(str(small.parent / LOCK))
    for command in ("verify", "repair"):
        answer = run(command, small)
        assert answer.exit_code == 1
        assert "in use by a broker: stop it first" in answer.stderr
    lock.release()
    assert run("verify", small).exit_code == 0


def test_anything_else_is_wrong_usage(tmp_path: Path) -> None:
    assert run("verify", tmp_path).exit_code == 2
    assert run("verify", tmp_path / "is-not-there").exit_code == 2
