"""Groups of both protocols under faults, from a seed; coordinators that are wrong are caught.

`make proof` runs many more; `python -m tools.simulation SEED --world groups` runs one again.
"""

import pytest
from tools.simulation.groups.checkers import CHECKERS
from tools.simulation.groups.run import run

from ottla.testing.broken import broken
from ottla.testing.broken_groups import SWITCHES

SEEDS = 30

SEEN_BY = {
    "give_everybody_the_same": "two_owners",
    "take_what_is_not_given_up": "overlaps",
    "let_replaced_members_go_on": "static_members",
    "commit_in_any_generation": "old_generations",
    "lose_a_commit_now_and_then": "offsets_lost",
}
SHARED = {"flushed", "liveness", "unexpected"}
"""Checkers of every world."""


def test_every_switch_has_its_checker_and_every_checker_its_switch() -> None:
    assert SEEN_BY.keys() == {switch.__name__ for switch in SWITCHES}
    assert {*SEEN_BY.values()} | SHARED == CHECKERS.keys()


def test_what_clients_saw_keeps_every_promise() -> None:
    for seed in range(SEEDS):
        ran = run(seed)
        assert not ran.violations, f"--world groups {seed}: {ran.violations}"
        assert ran.operations > 20


@pytest.mark.parametrize("switch", SEEN_BY)
def test_a_broker_broken_on_purpose_is_caught(switch: str) -> None:
    for seed in range(SEEDS):
        with broken(switch):
            ran = run(seed)
        if any(line.startswith(f"{SEEN_BY[switch]}:") for line in ran.violations):
            return
    pytest.fail(f"{SEEN_BY[switch]} saw nothing of {switch} in {SEEDS} seeds")


def test_a_seed_is_the_same_life_every_time() -> None:
    digests = [run(seed).digest for seed in range(4)]
    assert [run(seed).digest for seed in reversed(range(4))] == digests[::-1]
