"""Share groups under faults, from a seed; brokers that are wrong with them are caught.

`make proof` runs many more; `python -m tools.simulation SEED --world shares` runs one again.
"""

import pytest
from tools.simulation.shares.checkers import CHECKERS
from tools.simulation.shares.run import run

from ottla.testing.broken import broken
from ottla.testing.broken_shares import SWITCHES

SEEDS = 25

SEEN_BY = {
    "take_a_word_without_storing_it": "delivered_again",
    "give_what_another_holds": "two_holders",
    "take_anybodys_word": "strangers",
    "count_no_deliveries": "delivery_counts",
    "begin_where_the_log_ends": "undelivered",
    "give_up_what_is_released": "forgotten",
}
SHARED = {"flushed", "liveness", "unexpected"}
"""Checkers of every world."""


def test_every_switch_has_its_checker_and_every_checker_its_switch() -> None:
    assert SEEN_BY.keys() == {switch.__name__ for switch in SWITCHES}
    assert {*SEEN_BY.values()} | SHARED == CHECKERS.keys()


def test_what_clients_saw_keeps_every_promise() -> None:
    for seed in range(SEEDS):
        ran = run(seed)
        assert not ran.violations, f"--world shares {seed}: {ran.violations}"
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
