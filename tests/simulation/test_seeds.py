"""Whole brokers, faults and clients from a seed: nothing promised is broken.

`make proof` runs many more; `python -m tools.simulation SEED` runs one again.
"""

import pytest
from tools.simulation.run import run

SEEDS = 150


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_what_clients_saw_keeps_every_promise(first: int) -> None:
    for seed in range(first, first + 10):
        ran = run(seed)
        assert not ran.violations, f"python -m tools.simulation {seed}: {ran.violations}"
        assert ran.operations > 50


def test_a_seed_is_the_same_life_every_time() -> None:
    digests = [run(seed).digest for seed in range(8)]
    assert [run(seed).digest for seed in reversed(range(8))] == digests[::-1]
    assert len(set(digests)) == len(digests)
