"""Which states follow which, and how they are named."""

import pytest

from ottla.coordinator.transaction.state import (
    AT_REST,
    BEFORE,
    COMPLETE,
    LAST_EPOCH,
    PREPARED,
    Transaction,
    TxnState,
)
from ottla.model.ids import TopicPartition

WRITTEN = [state for state in TxnState if state.value <= TxnState.COMPLETE_ABORT]


def of(state: TxnState, **changes: object) -> Transaction:
    made = Transaction("t", 100, 0, 60_000, state, frozenset(), 1_000)
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", WRITTEN)
@pytest.mark.parametrize("after", WRITTEN)
def test_only_what_may_follow_follows(before: TxnState, after: TxnState) -> None:
    if before in BEFORE[after]:
        moved = of(before).moved(after, 2_000)
        assert (moved.state, moved.update_ms) == (after, 2_000)
    else:
        with pytest.raises(AssertionError):
            of(before).moved(after, 2_000)


@pytest.mark.parametrize("decided", sorted(PREPARED))
def test_nothing_but_its_completion_follows_a_decision(decided: TxnState) -> None:
    after = [state for state in WRITTEN if decided in BEFORE[state]]
    assert len(after) == 1
    assert after[0] in COMPLETE
    assert of(after[0]).commits == of(decided).commits


def test_every_state_leads_on_to_rest() -> None:
    for state in WRITTEN:
        reached = {state}
        for _ in WRITTEN:
            reached |= {after for after in WRITTEN if BEFORE[after] & reached}
        assert reached & AT_REST


def test_a_move_takes_changes_along_and_leaves_the_rest() -> None:
    before = of(TxnState.EMPTY, producer_epoch=3)
    places = frozenset({TopicPartition("out", 0)})
    after = before.moved(TxnState.ONGOING, 2_000, partitions=places, start_ms=2_000)
    assert after == before._replace(
        state=TxnState.ONGOING, update_ms=2_000, partitions=places, start_ms=2_000
    )
    assert before.state is TxnState.EMPTY


def test_the_labels_are_kafkas() -> None:
    labels = ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit"]
    assert [state.label for state in WRITTEN] == [*labels, "CompleteAbort"]


@pytest.mark.parametrize(("epoch", "exhausted"), [(LAST_EPOCH - 1, False), (LAST_EPOCH, True)])
def test_the_last_epoch_of_a_client_is_the_one_before_the_fence(
    epoch: int, exhausted: bool
) -> None:
    assert of(TxnState.EMPTY, producer_epoch=epoch).is_exhausted is exhausted


@pytest.mark.parametrize(("version", "bumps"), [(0, False), (1, False), (2, True)])
def test_each_end_begins_an_epoch_from_version_2_on(version: int, bumps: bool) -> None:
    assert of(TxnState.ONGOING, version=version).bumps is bumps
