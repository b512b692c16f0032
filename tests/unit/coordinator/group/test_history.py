"""What is remembered of a group's rebalances."""

from ottla.coordinator.group.history import MAX_CAUSES, MAX_REBALANCES, Cause, History, Why


def test_a_rebalance_keeps_its_first_causes_and_counts_the_others() -> None:
    history = History()
    history.begin(3, Cause(10, Why.JOINED, "a", client_id="app", reason="started"))
    for number in range(MAX_CAUSES + 5):
        history.add(Cause(11, Why.LEFT, f"m{number}"))
    history.joined(4, 2, 20)
    history.stable(30)
    history.stable(40)
    (rebalance,) = history.rebalances
    assert rebalance.causes[0].reason == "started"
    assert len(rebalance.causes) == MAX_CAUSES
    assert rebalance.more_causes == 6
    assert (rebalance.from_generation, rebalance.generation) == (3, 4)
    assert (rebalance.started_at_ms, rebalance.joined_at_ms, rebalance.stable_at_ms) == (10, 20, 30)


def test_only_the_last_rebalances_are_kept() -> None:
    history = History()
    for generation in range(MAX_REBALANCES + 7):
        history.begin(generation, Cause(0, Why.JOINED, "a"))
    assert len(history.rebalances) == MAX_REBALANCES
    assert history.rebalances[0].from_generation == 7
    assert history.rebalances[-1].from_generation == MAX_REBALANCES + 6


def test_what_happens_before_any_rebalance_is_not_remembered() -> None:
    history = History()
    history.add(Cause(0, Why.LEFT, "a"))
    history.joined(1, 1, 1)
    history.stable(1)
    assert not history.rebalances
