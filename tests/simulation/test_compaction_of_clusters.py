"""Compaction in clusters under faults, from a seed; and brokers that compact wrongly are caught.

`make proof` runs many more; `python -m tools.simulation SEED --world cluster-compacted` runs one
again.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tools.simulation.cluster.compacted import (
    CompactedHistory,
    Seen,
    Written,
    duplicates,
    left,
    run,
    stale,
    two_records,
)
from tools.simulation.cluster.machine import Machine
from tools.simulation.history import Outcome

from ottla.storage.compaction import job, rules, survey
from ottla.storage.compaction.choice import candidate
from ottla.storage.compaction.key_map import KeyMap

SEEDS = 5
LOOKS = 12


def caught_by(checker: str) -> bool:
    """Whether `checker` says something of one of the first seeds."""
    return any(
        line.startswith(f"{checker}:")
        for seed in range(LOOKS)
        for line in run(seed, traced=False).violations
    )


def test_what_clients_saw_keeps_every_promise_while_logs_are_compacted() -> None:
    for seed in range(SEEDS):
        ran = run(seed, traced=False)
        assert not ran.violations, f"--world cluster-compacted {seed}: {ran.violations}"
        assert isinstance(ran.history, CompactedHistory)
        assert ran.history.compactions > SEEDS
        assert ran.history.reads


def test_a_seed_is_the_same_life_every_time() -> None:
    assert run(3).digest == run(3).digest


def test_an_older_record_kept_for_the_last_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def older(found: Any, base_offset: int, keys: KeyMap, _: bool) -> Any:
        return [x for x in found if base_offset + x.offset_delta < keys.get(x.key)]

    monkeypatch.setattr(rules, "_wanted", older)
    assert caught_by("stale")


def test_compaction_of_what_is_not_committed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of_it(*known: Any, **others: Any) -> Any:
        return candidate(*known, **{**others, "stable_offset": others["log_end_offset"]})

    monkeypatch.setattr(survey, "candidate", all_of_it)
    assert any(run(seed, traced=False).violations for seed in range(60))


def test_tombstones_that_go_before_what_they_delete_are_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyed_records, wanted = job.keyed_records, rules._wanted

    def with_values(*known: Any) -> Any:
        return (record for record in keyed_records(*known) if record.has_value)

    monkeypatch.setattr(job, "keyed_records", with_values)
    monkeypatch.setattr(rules, "_wanted", lambda *known: wanted(*known[:-1], False))
    assert caught_by("stale")


def test_a_broker_that_waits_for_a_clock_that_was_set_back_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = Machine.__init__

    def one_clock(machine: Machine, *known: Any) -> None:
        begin(machine, *known)
        machine._steady_clock = machine.clock

    monkeypatch.setattr(Machine, "__init__", one_clock)
    assert caught_by("left")


OLD = Written(0, b"k", b"1", 0.0, 1.0, Outcome.OK, 3)
NEW = Written(0, b"k", b"2", 1.0, 2.0, Outcome.OK, 5)
GONE = Written(0, b"k", None, 1.0, 2.0, Outcome.OK, 5)
DOUBT = Written(0, b"k", b"3", 1.0, 9.0, Outcome.UNKNOWN, -1)


def seen(*records: tuple[int, bytes | None], at: float = 5.0) -> Seen:
    return Seen("r", 0, at, at, {offset: (b"k", value) for offset, value in records})


@pytest.mark.parametrize(
    ("checker", "written", "log", "keeps_tombstones", "complaints"),
    [
        pytest.param(stale, [OLD, NEW], seen((5, b"2")), True, 0, id="the last"),
        pytest.param(stale, [OLD, NEW], seen((3, b"1")), True, 1, id="one before"),
        pytest.param(stale, [OLD, NEW], seen((3, b"1"), at=1.5), True, 0, id="read before"),
        pytest.param(stale, [OLD, NEW], seen(), True, 1, id="none"),
        pytest.param(stale, [OLD, DOUBT], seen((4, b"3")), True, 0, id="one in doubt"),
        pytest.param(stale, [OLD, GONE], seen(), True, 0, id="deleted, and its tombstone gone"),
        pytest.param(stale, [OLD, GONE], seen((3, b"1")), True, 1, id="back again"),
        pytest.param(stale, [OLD, GONE], seen((3, b"1")), False, 0, id="behind for too long"),
        pytest.param(two_records, [OLD], seen((3, b"1")), True, 0, id="what was written"),
        pytest.param(two_records, [OLD, NEW], seen((3, b"2")), True, 1, id="another"),
        pytest.param(two_records, [OLD], seen((4, b"9")), True, 1, id="never sent"),
        pytest.param(duplicates, [], seen((3, b"1"), (4, b"1")), True, 1, id="twice"),
    ],
)
def test_the_checkers_see_each_fault(
    checker: Callable[[CompactedHistory], Any],
    written: list[Written],
    log: Seen,
    keeps_tombstones: bool,
    complaints: int,
) -> None:
    history = CompactedHistory(
        keeps_tombstones=keeps_tombstones, written=written, reads=[log], replicated=[]
    )
    assert len(list(checker(history))) == complaints


def test_a_log_that_is_not_compacted_is_seen() -> None:
    log = seen(*((offset, b"%d" % offset) for offset in range(8)))
    assert list(left(CompactedHistory(replicated=[log])))
    assert not list(left(CompactedHistory(replicated=[seen((1, b"1"))])))
