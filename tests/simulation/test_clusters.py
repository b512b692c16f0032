"""Clusters under faults, from a seed; and brokers that replicate wrongly are caught by name.

`make proof` runs many more; `python -m tools.simulation SEED --world cluster` runs one again.
"""

import asyncio

import pytest
from tools.proof.__main__ import SIMULATED
from tools.simulation.cluster.checkers import CHECKERS
from tools.simulation.cluster.run import run
from tools.simulation.worlds import WORLDS

from ottla.testing.broken import broken
from ottla.testing.broken_replication import SWITCHES
from ottla.testing.lives import Life
from ottla.testing.loop import VirtualLoop

SEEDS = 6

SEEN_BY = {
    "acknowledge_before_replication": ("lost_writes", 5),
    "ignore_epochs": ("replicas_differ", 80),
    "shrink_isr_without_the_store": ("eligible_lack", 3),
    "lead_for_ever": ("two_leaders", 5),
    "elect_anybody": ("unclean", 0),
    "truncate_to_high_watermark": ("lost_writes", 0),
    "join_with_anything": ("eligible_lack", 3),
    "catch_up_at_once": ("eligible_lack", 3),
    "trust_logs_after_power_cuts": ("eligible_lack", 42),
    "count_before_flush": ("eligible_lack", 60),
    "tell_ends_too_soon": ("ends_go_back", 7),
    "answer_before_it_is_written": ("topics", 0),
}
"""The checker, and the seed from which on it looks."""

LOOKS = 12
"""How many seeds it has."""


def test_every_switch_has_its_checker() -> None:
    assert SEEN_BY.keys() == {switch.__name__ for switch in SWITCHES}
    assert {name for name, _ in SEEN_BY.values()} <= CHECKERS.keys()


def test_what_clients_saw_keeps_every_promise() -> None:
    for seed in range(SEEDS):
        ran = run(seed, traced=False)
        assert not ran.violations, f"--world cluster {seed}: {ran.violations}"
        assert ran.operations > 50


@pytest.mark.parametrize("seed", [1718, 2119])
def test_all_that_die_before_a_new_topic_is_on_disk_lead_it_when_they_are_back(seed: int) -> None:
    assert not run(seed, traced=False).violations


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(4084, id="who left an ISR with all there is joins it again"),
        pytest.param(106, id="who alone has it leads again after a start on a full disk"),
        pytest.param(28118, id="who may be deposed does not say where a log ends"),
        pytest.param(24772, id="who hears late that it was removed is not in sync before"),
        pytest.param(28675, id="who dies as it registers is in doubt at its next start"),
        pytest.param(31744, id="who makes up for those not in sync is not removed"),
        pytest.param(74538, id="who dies after it cut what was damaged is still in doubt"),
        pytest.param(71118, id="what flips behind a stop in good order is not looked for"),
    ],
)
def test_what_once_was_wrong_stays_right(seed: int) -> None:
    assert not run(seed, traced=False).violations


@pytest.mark.parametrize("switch", SEEN_BY)
def test_a_broker_broken_on_purpose_is_caught(switch: str) -> None:
    checker, first = SEEN_BY[switch]
    for seed in range(first, first + LOOKS):
        with broken(switch):
            ran = run(seed, traced=False)
        if any(line.startswith(f"{checker}:") for line in ran.violations):
            return
    pytest.fail(f"{checker} saw nothing of {switch} in {LOOKS} seeds from {first} on")


def test_a_seed_is_the_same_life_every_time() -> None:
    assert run(5).digest == run(5).digest


def test_who_is_stopped_does_nothing_and_then_all_that_fell_due() -> None:
    done: list[tuple[str, float]] = []
    loop = VirtualLoop()
    life = Life(loop)

    async def work() -> None:
        for number in range(3):
            await asyncio.sleep(1)
            done.append((f"step {number}", loop.time()))

    async def main() -> None:
        working = loop.create_task(work(), context=life.context.copy())
        loop.call_later(1.5, life.stop)
        loop.call_later(10, life.go_on)
        await working

    loop.run_until_complete(main())
    loop.close()
    assert done == [("step 0", 1.0), ("step 1", 10.0), ("step 2", 11.0)]


def test_every_table_of_simulated_lives_has_a_world() -> None:
    assert set(SIMULATED.values()) <= WORLDS.keys()
