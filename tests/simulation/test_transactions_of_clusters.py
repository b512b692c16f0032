"""Transactions over clusters under faults, from a seed; and a broker that lets anybody in is caught.

`make proof` runs many more; `python -m tools.simulation SEED --world cluster-transactions` runs one
again.
"""

from collections import Counter

import pytest
from tools.simulation.cluster.transactional import (
    ABORTED,
    COMMITTED,
    UNKNOWN,
    TransactionalHistory,
    run,
    wrong,
)

from ottla.handlers.admission import Admission

SEEDS = 5


def test_transactions_are_there_whole_once_or_not_at_all() -> None:
    for seed in range(SEEDS):
        ran = run(seed, traced=False)
        assert not ran.violations, f"--world cluster-transactions {seed}: {ran.violations}"
        assert isinstance(ran.history, TransactionalHistory)
        assert ran.history.ends[COMMITTED] > ran.history.ends[ABORTED] > 0


def test_a_broker_that_asks_no_coordinator_elsewhere_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Admission, "_is_admitted", lambda *_: True)
    assert any(run(seed, traced=False).violations for seed in range(SEEDS))


@pytest.mark.parametrize(
    ("end", "read", "offset", "complaints"),
    [
        (COMMITTED, "ab", 0, 0),
        (COMMITTED, "aab", 0, 2),
        (COMMITTED, "a", 0, 2),
        (COMMITTED, "ab", -1, 1),
        (ABORTED, "", -1, 0),
        (ABORTED, "", 0, 1),
        (ABORTED, "a", -1, 1),
        (UNKNOWN, "", -1, 0),
        (UNKNOWN, "ab", 0, 0),
        (UNKNOWN, "a", -1, 1),
        (UNKNOWN, "ab", -1, 1),
    ],
)
def test_the_checker_sees_each_fault(end: str, read: str, offset: int, complaints: int) -> None:
    assert len(wrong([(end, ["a", "b"])], Counter(read), offset)) == complaints
