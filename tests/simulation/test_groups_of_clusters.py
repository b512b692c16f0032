"""Members of groups in clusters under faults, from a seed; coordinators that are wrong are caught.

`make proof` runs many more; `python -m tools.simulation SEED --world cluster-groups` runs one
again.
"""

from typing import Any

import pytest
from tests.simulation.test_groups import SEEN_BY
from tools.simulation.cluster.grouped import OF_MEMBERS, GroupedHistory, run

from ottla.coordinator.group import commits
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.records import OffsetStored
from ottla.testing.broken import broken

SEEDS = 5
LOOKS = 30


def test_what_members_saw_keeps_every_promise() -> None:
    for seed in range(SEEDS):
        ran = run(seed, traced=False)
        assert not ran.violations, f"--world cluster-groups {seed}: {ran.violations}"
        assert isinstance(ran.history, GroupedHistory)
        members = ran.history.members
        assert members.held
        assert members.kept
        assert members.told
        assert ran.history.dealt


def test_a_seed_is_the_same_life_every_time() -> None:
    assert run(3).digest == run(3).digest


def test_every_checker_has_a_broken_coordinator() -> None:
    assert {*SEEN_BY.values()} == OF_MEMBERS.keys()


@pytest.mark.parametrize("switch", SEEN_BY)
def test_a_coordinator_broken_on_purpose_is_caught(switch: str) -> None:
    for seed in range(LOOKS):
        with broken(switch):
            ran = run(seed, traced=False)
        if any(line.startswith(f"{SEEN_BY[switch]}:") for line in ran.violations):
            return
    pytest.fail(f"{SEEN_BY[switch]} saw nothing of {switch} in {LOOKS} seeds")


def test_commits_beyond_what_was_read_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real_commit = commits.commit

    def commit(*arguments: Any) -> Out:
        """As the broker's, of the offset after the next."""
        out = real_commit(*arguments)
        out.records = [
            record._replace(committed=record.committed._replace(offset=record.committed.offset + 1))
            if isinstance(record, OffsetStored) and record.committed is not None
            else record
            for record in out.records
        ]
        return out

    monkeypatch.setattr(commits, "commit", commit)
    assert any(
        line.startswith("dealt:")
        for seed in range(LOOKS)
        for line in run(seed, traced=False).violations
    )


@pytest.mark.parametrize(
    ("switch", "checker"),
    [
        ("acknowledge_before_replication", "dealt"),
        ("acknowledge_before_replication", "offsets_lost"),
        ("lead_for_ever", "offsets_lost"),
        ("elect_anybody", "two_owners"),
    ],
)
def test_members_see_that_a_cluster_is_broken(switch: str, checker: str) -> None:
    for seed in range(LOOKS):
        with broken(switch):
            ran = run(seed, traced=False)
        if any(line.startswith(f"{checker}:") for line in ran.violations):
            return
    pytest.fail(f"{checker} saw nothing of {switch} in {LOOKS} seeds")
