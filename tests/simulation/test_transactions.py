"""Transactions under faults, from a seed; and brokers that are wrong are caught by name.

`make proof` runs many more; `python -m tools.simulation SEED --world transactions` runs one again.
"""

import pytest
from tools.simulation.transactions.checkers import CHECKERS
from tools.simulation.transactions.run import run

from ottla.testing.broken import broken
from ottla.testing.broken_transactions import SWITCHES

SEEDS = 24

SEEN_BY = {
    "abort_in_one_partition": ("torn",),
    "commit_what_times_out": ("ends",),
    "forget_offsets_in_transactions": ("offsets_apart",),
    "serve_above_last_stable": ("aborted_reads", "circular_reads"),
    "name_committed_transactions_aborted": ("intermediate_reads",),
    "keep_the_epoch": ("zombies",),
    "end_for_any_epoch": ("late_requests",),
    "never_time_out": ("hanging",),
    "forget_markers_after_restart": ("half_ended",),
}
SHARED = {"flushed", "liveness", "files", "unexpected"}
"""Checkers of every world."""


def test_every_switch_has_its_checker_and_every_checker_its_switch() -> None:
    assert SEEN_BY.keys() == {switch.__name__ for switch in SWITCHES}
    assert {name for seen in SEEN_BY.values() for name in seen} | SHARED == CHECKERS.keys()


def test_what_clients_saw_keeps_every_promise() -> None:
    for seed in range(SEEDS):
        ran = run(seed)
        assert not ran.violations, f"--world transactions {seed}: {ran.violations}"
        assert ran.operations > 50


@pytest.mark.parametrize("switch", SEEN_BY)
def test_a_broker_broken_on_purpose_is_caught(switch: str) -> None:
    unseen = set(SEEN_BY[switch])
    for seed in range(SEEDS):
        with broken(switch):
            unseen -= {line.partition(":")[0] for line in run(seed).violations}
        if not unseen:
            return
    pytest.fail(f"{unseen} saw nothing of {switch} in {SEEDS} seeds")


def test_a_seed_is_the_same_life_every_time() -> None:
    digests = [run(seed).digest for seed in range(4)]
    assert [run(seed).digest for seed in reversed(range(4))] == digests[::-1]


def test_what_was_aborted_stays_aborted_through_two_power_cuts() -> None:
    """The second finds on disk what the recovery after the first made anew."""
    ran = run(111988)
    assert not ran.violations, ran.violations
