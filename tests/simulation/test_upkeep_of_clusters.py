"""Retention in clusters under faults, from a seed; and brokers that delete too much are caught.

`make proof` runs many more; `python -m tools.simulation SEED --world cluster-upkeep` runs one
again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tools.simulation.cluster.upkeep import (
    Begins,
    UpkeepHistory,
    retained,
    run,
    uncommitted,
)
from tools.simulation.history import Deleted, Outcome, Produced

from ottla.replica import following
from ottla.replica.partition import Partition
from ottla.storage import expiry
from ottla.storage.retention import expired_count

SEEDS = 5
LOOKS = 12


def caught_by(checker: str) -> bool:
    """Whether `checker` says something of one of the first seeds."""
    return any(
        line.startswith(f"{checker}:")
        for seed in range(LOOKS)
        for line in run(seed, traced=False).violations
    )


def test_what_clients_saw_keeps_every_promise_while_logs_are_shortened() -> None:
    for seed in range(SEEDS):
        ran = run(seed, traced=False)
        assert not ran.violations, f"--world cluster-upkeep {seed}: {ran.violations}"
        assert isinstance(ran.history, UpkeepHistory)
        assert ran.history.begins


def test_a_seed_is_the_same_life_every_time() -> None:
    assert run(3).digest == run(3).digest


@pytest.mark.parametrize("seed", [1138, 1383])
def test_retention_on_a_full_disk_leaves_no_hole(seed: int) -> None:
    assert not run(seed, traced=False).violations


def test_retention_of_all_but_the_last_segment_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(segments: Sequence[Any], *, high_watermark: int, **others: Any) -> int:
        return sum(segment.base_offset <= high_watermark for segment in segments[1:])

    monkeypatch.setattr(expiry, "expired_count", count)
    assert caught_by("retained")


def test_a_follower_that_deletes_beyond_the_start_of_its_leader_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learn = following.learn

    def further(partition: Partition, high_watermark: int, log_start_offset: int) -> None:
        learn(partition, high_watermark, log_start_offset + 2)

    monkeypatch.setattr(following, "learn", further)
    assert caught_by("retained")


def test_retention_of_what_is_not_committed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(segments: Sequence[Any], **known: Any) -> int:
        return expired_count(segments, **{**known, "high_watermark": known["log_end_offset"]})

    monkeypatch.setattr(expiry, "expired_count", count)
    assert caught_by("uncommitted")


MOVED = Begins(10.0, 0, 1, 5, 5, 400, False, 0, 8)


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        pytest.param({}, 0, id="enough is left"),
        pytest.param({"size": 200}, 1, id="too little is left"),
        pytest.param({"size": 200, "is_cut": True}, 0, id="its end was cut meanwhile"),
        pytest.param({"segment": 3}, 1, id="within a segment"),
        pytest.param({"start": 4, "segment": 3}, 0, id="as far as was asked"),
    ],
)
def test_the_checker_knows_why_a_log_may_begin_later(
    changes: dict[str, Any], complaints: int
) -> None:
    begins = [MOVED._replace(**changes)]
    history = UpkeepHistory(keep_bytes=300, begins=begins, deleted=[Deleted(0, 4, 1.0, 1.0)])
    assert len(list(retained(history))) == complaints


@pytest.mark.parametrize(
    ("sent_at", "ahead_ms", "complaints"), [(7, 0, 0), (9, 0, 1), (9, 2000, 0)]
)
def test_the_checker_knows_the_age_of_records(
    sent_at: float, ahead_ms: int, complaints: int
) -> None:
    ack = Produced("p", True, 0, (b"p-0",), sent_at, sent_at, Outcome.OK, 4)
    begins = [MOVED._replace(ahead_ms=ahead_ms)]
    history = UpkeepHistory(keep_ms=2_000, begins=begins, produced=[ack])
    assert len(list(retained(history))) == complaints


def same_look() -> Iterator[Begins]:
    """A follower is looked at before the leader from which it has the start."""
    yield MOVED._replace(broker=1, segment=0)
    yield MOVED._replace(broker=2)


def test_a_start_may_come_from_another_replica() -> None:
    assert not list(retained(UpkeepHistory(keep_bytes=300, begins=list(same_look()))))


def test_what_is_not_committed_must_stay() -> None:
    assert not list(uncommitted(UpkeepHistory(begins=[MOVED])))
    assert list(uncommitted(UpkeepHistory(begins=[MOVED._replace(committed=4)])))
