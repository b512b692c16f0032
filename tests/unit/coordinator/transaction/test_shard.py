"""The state machine of transactions: commands and time in, records and answers out."""

import pytest
from tests.support.transaction_world import P0, P1, TXN, TransactionWorld

from ottla.coordinator.transaction.state import (
    BEFORE,
    FENCED_EPOCH,
    LAST_EPOCH,
    TxnState,
)


def ended(world: TransactionWorld, *, commit: bool = True, version: int = 2) -> tuple[int, int]:
    """Open a transaction as the current producer, end and complete it; who it is then."""
    producer = (world.known.producer_id, world.known.producer_epoch)
    assert world.add(producer, version=version) is True
    after = world.end(producer, commit, version)
    world.complete()
    return after


def test_a_transaction_of_version_2_from_begin_to_end() -> None:
    world = TransactionWorld()
    assert world.init() == (100, 0)
    assert world.add((100, 0), P0) is True
    assert world.add((100, 0), P1) is True
    assert (world.state, world.known.partitions) == ("Ongoing", {P0, P1})
    assert world.end((100, 0)) == (100, 1)
    assert world.state == "PrepareCommit"
    assert [prepared.partitions for prepared in world.prepared] == [{P0, P1}]
    assert world.prepared[0].producer_epoch == 1  # so the markers' epoch is above the records'
    world.complete()
    assert (world.state, world.known.partitions) == ("CompleteCommit", frozenset())


def test_the_older_protocol_keeps_its_epoch() -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0), version=1)
    assert world.end((100, 0), version=1) == (100, 0)
    assert world.end((100, 0), version=1) == "CONCURRENT_TRANSACTIONS"
    assert world.end((100, 0), False, version=1) == "INVALID_TXN_STATE"
    world.complete()
    assert world.end((100, 0), version=1) == (100, 0)  # sent again
    assert world.end((100, 0), False, version=1) == "INVALID_TXN_STATE"
    assert world.add((100, 0), version=1) is True


@pytest.mark.parametrize("commit", [True, False])
def test_an_end_sent_again_is_answered_as_the_first(commit: bool) -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0))
    assert world.end((100, 0), commit) == (100, 1)
    assert world.end((100, 0), commit) == "CONCURRENT_TRANSACTIONS"
    assert world.end((100, 0), not commit) == "INVALID_TXN_STATE"
    world.complete()
    records = len(world.log)
    assert world.end((100, 0), commit) == (100, 1)
    assert world.end((100, 0), not commit) == "INVALID_TXN_STATE"
    assert len(world.log) == records


def test_what_comes_late_does_not_touch_the_next_transaction() -> None:
    """KAFKA-17754: delayed EndTxn and AddPartitions of the transaction before."""
    world = TransactionWorld()
    world.init()
    after = ended(world)
    assert after == (100, 1)
    assert world.add(after, P1) is True
    records = len(world.log)
    for commit in (True, False):
        assert world.end((100, 0), commit) == "PRODUCER_FENCED"
    assert world.add((100, 0), P0) == "PRODUCER_FENCED"
    assert world.check((100, 0)) == "PRODUCER_FENCED"
    assert (world.state, world.known.partitions, len(world.log)) == ("Ongoing", {P1}, records)


def test_a_foreign_producer_id_may_not_resume_whatever_its_epoch() -> None:
    world = TransactionWorld()
    world.init()
    ended(world)
    known = world.known
    assert (known.producer_id, known.producer_epoch) == (100, 1)
    for epoch in (0, 1, 2):
        assert world.init((99, epoch)) == "PRODUCER_FENCED"
    assert world.known == known


def test_who_ends_the_next_transaction_before_this_one_is_complete_comes_again() -> None:
    """It was told its next epoch with the decision: it wrote nothing in it, and aborts at once."""
    world = TransactionWorld()
    world.init()
    world.add((100, 0))
    assert world.end((100, 0)) == (100, 1)
    known = world.known
    assert world.end((100, 1), False) == "CONCURRENT_TRANSACTIONS"
    assert world.end((100, 2), False) == "PRODUCER_FENCED"
    assert world.known == known
    world.complete()
    assert world.end((100, 1), False) == (100, 2)


def test_foreign_and_forged_producers_change_nothing() -> None:
    world = TransactionWorld()
    assert world.end((1, 0)) == "INVALID_PRODUCER_ID_MAPPING"
    assert world.add((1, 0)) == "INVALID_PRODUCER_ID_MAPPING"
    world.init()
    world.add((100, 0))
    records = len(world.log)
    for forged in ((99, 0), (101, 0)):
        assert world.end(forged) == "INVALID_PRODUCER_ID_MAPPING"
        assert world.add(forged) == "INVALID_PRODUCER_ID_MAPPING"
    for forged in ((100, 1), (100, -1), (100, FENCED_EPOCH)):
        assert world.end(forged) == "PRODUCER_FENCED"
        assert world.add(forged) == "PRODUCER_FENCED"
    assert len(world.log) == records


def test_partitions_outside_the_transaction_are_told() -> None:
    world = TransactionWorld()
    world.init()
    assert world.check((100, 0)) == "TRANSACTION_ABORTABLE"
    world.add((100, 0), P0)
    assert world.check((100, 0), P0) == "NONE"
    assert world.check((100, 0), P1) == "TRANSACTION_ABORTABLE"
    world.end((100, 0))
    assert world.check((100, 1), P0) == "CONCURRENT_TRANSACTIONS"


def test_a_new_producer_aborts_what_the_one_before_had_open() -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0), version=1)
    assert world.init() == "CONCURRENT_TRANSACTIONS"
    assert world.state == "PrepareAbort"
    assert world.init() == "CONCURRENT_TRANSACTIONS"
    world.complete()
    assert world.init() == (100, 2)
    assert world.end((100, 0), version=1) == "PRODUCER_FENCED"


def test_a_producer_of_version_2_whose_transaction_was_aborted_may_go_on() -> None:
    """As of Kafka 4.3.1: it learns of the abort, never of a commit, and has the next epoch."""
    world = TransactionWorld()
    world.init(timeout_ms=5_000)
    world.add((100, 0))
    world.advance(5_000)
    assert world.end((100, 0), False) == "CONCURRENT_TRANSACTIONS"
    assert world.end((100, 0), True) == "INVALID_TXN_STATE"
    world.complete()
    assert world.end((100, 0), True) == "INVALID_TXN_STATE"
    assert world.end((100, 0), False) == (100, 1)
    assert world.add((100, 1)) is True


def test_a_producer_that_asks_for_its_epoch_after_an_abort_has_the_next() -> None:
    world = TransactionWorld()
    world.init(timeout_ms=5_000)
    world.add((100, 0), version=1)
    world.advance(5_000)
    world.complete()
    assert world.init(expected=(100, 0)) == (100, 1)


def test_who_was_fenced_by_another_is_out_once_that_one_is_there() -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0))
    world.init()
    world.complete()
    assert world.init() == (100, 2)
    assert world.end((100, 0), False) == "PRODUCER_FENCED"
    assert world.init(expected=(100, 0)) == "PRODUCER_FENCED"


def test_an_open_transaction_is_aborted_when_its_time_is_up() -> None:
    world = TransactionWorld()
    world.init(timeout_ms=5_000)
    world.add((100, 0))
    world.advance(4_999)
    assert world.state == "Ongoing"
    world.advance(1)
    assert world.state == "PrepareAbort"
    world.complete()
    assert world.state == "CompleteAbort"
    assert world.end((100, 0)) == "INVALID_TXN_STATE"


def test_a_time_out_that_cannot_be_written_is_tried_again() -> None:
    world = TransactionWorld()
    world.init(timeout_ms=5_000)
    world.add((100, 0))
    world.refuse = True
    world.advance(5_000)
    assert world.state == "Ongoing"
    world.refuse = False
    world.advance(1_000)
    assert world.state == "PrepareAbort"


def test_after_a_restart_prepared_transactions_are_ended() -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0), P0, P1)
    world.end((100, 0))
    before = world.known
    world.restart()
    assert world.known == before._replace(last_epoch=-1)
    assert [prepared.partitions for prepared in world.prepared] == [{P0, P1}]
    world.complete()
    assert world.state == "CompleteCommit"
    world.restart()
    assert world.state == "CompleteCommit"
    assert world.prepared == []


def test_after_a_restart_an_open_transaction_has_the_rest_of_its_time() -> None:
    world = TransactionWorld()
    world.init(timeout_ms=5_000)
    world.add((100, 0))
    world.advance(3_000)
    world.restart()
    world.advance(2_000)
    assert world.state == "PrepareAbort"


def test_markers_that_are_not_written_are_asked_for_again_after_longer_and_longer() -> None:
    world = TransactionWorld()
    world.init()
    asked: list[int] = []
    for _ in range(2):
        world.prepared.clear()
        world.add(world.producer)
        world.end(world.producer)
        for _ in range(30):
            if len(asked) < len(world.prepared):
                asked.append(world.now_ms - world.known.update_ms)
                world.shard.put_off(world.known, world.now_ms)
            world.advance(1_000)
        assert asked == [0, 1_000, 3_000, 7_000, 15_000, 23_000]
        asked.clear()
        world.complete()
        world.advance(20_000)
        assert len(world.prepared) == 6


def test_where_partitions_found_a_leader_markers_are_asked_for_at_once() -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0))
    world.end((100, 0))
    world.advance(500)
    assert len(world.prepared) == 1
    world.shard.again(TXN, world.now_ms)
    world.advance(0)
    assert len(world.prepared) == 2
    world.complete()
    world.shard.again(TXN, world.now_ms)
    world.shard.again("another", world.now_ms)
    world.advance(20_000)
    assert len(world.prepared) == 2


def test_markers_that_nobody_takes_are_asked_for_no_more() -> None:
    world = TransactionWorld()
    world.init()
    world.add((100, 0))
    world.end((100, 0))
    world.shard.give_up(world.prepared[-1])
    world.advance(20_000)
    assert len(world.prepared) == 1
    world.restart()
    assert len(world.prepared) == 1


def test_the_end_of_another_transaction_completes_nothing() -> None:
    world = TransactionWorld()
    world.init()
    ended(world)
    old = world.prepared[-1]
    world.add((100, 1))
    world.end((100, 1))
    world.prepared.append(old)
    world.complete()
    assert world.state == "PrepareCommit"


def at_epoch(epoch: int) -> TransactionWorld:
    world = TransactionWorld()
    world.init()
    world.shard.transactions[TXN] = world.known._replace(producer_epoch=epoch)
    return world


def test_when_the_epochs_are_used_up_the_end_gives_a_new_producer_id() -> None:
    world = at_epoch(LAST_EPOCH)
    last = (100, LAST_EPOCH)
    world.add(last)
    assert world.end(last) == (101, 0)
    assert world.known.producer_epoch == FENCED_EPOCH
    world.complete()
    assert (world.known.producer_id, world.known.producer_epoch) == (101, 0)
    assert world.end(last) == (101, 0)  # sent again
    assert world.add(last) == "INVALID_PRODUCER_ID_MAPPING"
    world.restart()
    assert world.end(last) == (101, 0)


def test_when_the_epochs_are_used_up_init_gives_a_new_producer_id() -> None:
    world = at_epoch(LAST_EPOCH)
    assert world.init() == (101, 0)
    world = at_epoch(LAST_EPOCH)
    assert world.init((100, LAST_EPOCH)) == (101, 0)
    assert world.init((100, LAST_EPOCH)) == (101, 0)  # sent again


@pytest.mark.parametrize("version", [1, 2])
def test_a_producer_in_its_last_epoch_is_fenced(version: int) -> None:
    world = at_epoch(LAST_EPOCH)
    world.add((100, LAST_EPOCH), version=version)
    world.init()
    assert world.known.producer_epoch == FENCED_EPOCH
    world.complete()
    assert world.end((100, LAST_EPOCH), False) == "PRODUCER_FENCED"
    assert world.init((100, LAST_EPOCH)) == (101, 0)


def test_a_producer_goes_on_with_its_own_id_and_epoch() -> None:
    """KIP-360."""
    world = TransactionWorld()
    world.init()
    assert world.init((100, 0)) == (100, 1)
    assert world.init((100, 0)) == (100, 1)  # sent again
    assert world.init((100, 1)) == (100, 2)
    assert world.init((100, 0)) == "PRODUCER_FENCED"
    assert world.init((99, 0)) == "PRODUCER_FENCED"
    assert world.init() == (100, 3)
    assert world.init((100, 2)) == "PRODUCER_FENCED"


def test_version_2_may_abort_where_nothing_is_open() -> None:
    world = TransactionWorld()
    world.init()
    assert world.end((100, 0)) == "INVALID_TXN_STATE"
    assert world.end((100, 0), False, version=1) == "INVALID_TXN_STATE"
    assert world.end((100, 0), False) == (100, 1)
    world.complete()
    assert world.end((100, 1), False) == (100, 2)
    world.complete()
    assert world.end((100, 2), True) == "INVALID_TXN_STATE"


def test_an_id_not_used_for_long_is_forgotten() -> None:
    world = TransactionWorld(
        transactional_id_expiration_ms=10_000,
        transaction_remove_expired_transaction_cleanup_interval_ms=1_000,
    )
    world.init(timeout_ms=30_000)
    world.add((100, 0))
    world.advance(20_000)
    assert world.state == "Ongoing"
    world.end((100, 0))
    world.complete()
    world.advance(9_000)
    assert world.state == "CompleteCommit"
    world.advance(2_000)
    assert world.shard.transactions == {}
    world.restart()
    assert world.shard.transactions == {}


def test_only_the_listed_transitions_are_made() -> None:
    world = TransactionWorld()
    world.init()
    for before in TxnState:
        for after in BEFORE:
            transaction = world.known._replace(state=before)
            if before in BEFORE[after]:
                assert transaction.moved(after, 0).state is after
            else:
                with pytest.raises(AssertionError):
                    transaction.moved(after, 0)


def test_who_the_producer_will_be_waits_until_its_last_transaction_is_over() -> None:
    world = at_epoch(LAST_EPOCH)
    world.add((100, LAST_EPOCH))
    assert world.end((100, LAST_EPOCH)) == (101, 0)
    assert world.state == "PrepareCommit"
    assert world.add((101, 0)) == "CONCURRENT_TRANSACTIONS"
    assert world.check((101, 0)) == "CONCURRENT_TRANSACTIONS"
    assert world.end((101, 0)) == "CONCURRENT_TRANSACTIONS"
    assert world.init((101, 0)) == "CONCURRENT_TRANSACTIONS"
    world.complete()
    assert world.add((101, 0)) is True


def test_an_epoch_long_past_does_not_take_the_place_of_a_fenced_producer() -> None:
    world = at_epoch(LAST_EPOCH)
    world.add((100, LAST_EPOCH))
    assert world.init() == "CONCURRENT_TRANSACTIONS"  # its transaction is aborted over its head
    world.complete()
    assert world.known.producer_epoch == FENCED_EPOCH
    assert world.init((100, 5)) == "PRODUCER_FENCED"
    assert world.init((100, LAST_EPOCH)) == (101, 0)
    assert world.init((100, LAST_EPOCH)) == (101, 0)  # sent again
