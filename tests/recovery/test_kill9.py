"""kill -9 under load: every acknowledged record is there once, in order, at its offset."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.kafka import RealKafka
from tools.proof import kill9
from tools.proof.checker import counted, violations
from tools.subject import Ottla, Subject

CYCLES = int(os.environ.get("KILL9_CYCLES", "10"))


def started(folder: Path, environment: dict[str, str] | None = None) -> Subject:
    """The broker under test, running; INTEROP_AGAINST=kafka makes it the real Kafka."""
    subject: Subject
    if os.environ.get("INTEROP_AGAINST") == "kafka":
        subject = RealKafka(home=folder)
    else:
        subject = Ottla(folder / "data", environment=environment)
    subject.start()
    return subject


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past pytest: each cycle is part of what the run shows."""

    def printed(line: str) -> None:
        with capsys.disabled():
            print(line)

    return printed


def test_kill9_loses_nothing_acknowledged(tmp_path: Path, say: Callable[[str], None]) -> None:
    subject = started(tmp_path)
    try:
        outcome = kill9.run(subject, CYCLES, seed=1, say=say)
    finally:
        subject.kill9()
    assert outcome.violations == []
    assert all(cycle.requests_in_flight for cycle in outcome.cycles)
    assert outcome.acknowledged == outcome.read
    if os.environ.get("INTEROP_AGAINST") != "kafka":
        assert all(kill9.batches_by_codec(tmp_path / "data").values()), "a codec was not used"


@pytest.mark.skipif(os.environ.get("INTEROP_AGAINST") == "kafka", reason="a switch of ours")
def test_an_acknowledgement_before_the_write_is_caught(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    subject = started(tmp_path, {"OTTLA_BREAK": "ack_before_write"})
    try:
        outcome = kill9.run(subject, 20, seed=2, say=say, stop_when_caught=True)
    finally:
        subject.kill9()
    assert outcome.violations


RECORDS = {0: [(0, 10), (1, 11), (2, 12)]}


@pytest.mark.parametrize(
    ("acknowledged", "read", "complaint"),
    [
        ([(0, 1, 11)], {0: [(0, 10)]}, "lost: 0/11 acknowledged at 0@1, not there"),
        ([(0, 1, 11)], {0: [(0, 10), (1, 12)]}, "lost: 0/11 acknowledged at 0@1, there is 0/12"),
        ([], {0: [(0, 10), (1, 10)]}, "duplicate: 0/10 again at 0@1"),
        ([], {0: [(0, 11), (1, 10)]}, "order: 0/10 at 0@1 behind 0/11"),
        ([], {0: [(0, 10), (1, 11), (2, 10)]}, "duplicate: 0/10 again at 0@2"),
        ([], {0: [(0, 10), (2, 11)]}, "hole: partition 0 goes from 0 to 2"),
    ],
)
def test_the_checker_sees_each_fault(
    acknowledged: list[tuple[int, int, int]],
    read: dict[int, list[tuple[int, int]]],
    complaint: str,
) -> None:
    assert violations(acknowledged, read) == [complaint]
    assert counted(acknowledged, read) == {complaint.partition(":")[0]: 1}


def test_the_checker_accepts_what_is_right() -> None:
    assert violations([(0, 0, 10), (0, 2, 12)], RECORDS) == []
