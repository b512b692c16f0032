"""Members of share groups in clusters under faults, from a seed; brokers that are wrong are caught.

`make proof` runs many more; `python -m tools.simulation SEED --world cluster-shares` runs one
again.
"""

import pytest
from tests.simulation.test_shares import SEEN_BY
from tools.simulation.cluster.shared import OF_MEMBERS, SharedHistory, run

from ottla.testing.broken import broken

SEEDS = 10
LOOKS = 30


def test_what_members_saw_keeps_every_promise() -> None:
    elections = 0
    for seed in range(SEEDS):
        ran = run(seed, traced=False)
        assert not ran.violations, f"--world cluster-shares {seed}: {ran.violations}"
        assert isinstance(ran.history, SharedHistory)
        assert ran.history.delivered
        assert ran.history.said
        elections += len(ran.history.elections)
    assert elections > SEEDS


def test_a_seed_is_the_same_life_every_time() -> None:
    assert run(3).digest == run(3).digest


def test_every_checker_has_a_broken_broker() -> None:
    assert {*SEEN_BY.values()} == OF_MEMBERS.keys()


@pytest.mark.parametrize("switch", SEEN_BY)
def test_a_broker_broken_on_purpose_is_caught(switch: str) -> None:
    for seed in range(LOOKS):
        with broken(switch):
            ran = run(seed, traced=False)
        if any(line.startswith(f"{SEEN_BY[switch]}:") for line in ran.violations):
            return
    pytest.fail(f"{SEEN_BY[switch]} saw nothing of {switch} in {LOOKS} seeds")


@pytest.mark.parametrize(
    ("switch", "checker"),
    [
        ("acknowledge_before_replication", "undelivered"),
        ("elect_anybody", "undelivered"),
        ("lead_for_ever", "undelivered"),
    ],
)
def test_members_see_that_a_cluster_is_broken(switch: str, checker: str) -> None:
    for seed in range(LOOKS):
        with broken(switch):
            ran = run(seed, traced=False)
        if any(line.startswith(f"{checker}:") for line in ran.violations):
            return
    pytest.fail(f"{checker} saw nothing of {switch} in {LOOKS} seeds")
