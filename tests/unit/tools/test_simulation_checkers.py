"""Each checker sees what it is for, in the smallest history that has it, and forgives what it must."""

from tools.simulation.checkers import (
    CHECKERS,
    above_high_watermark,
    commits,
    deletions,
    duplicates,
    flushed,
    forbidden,
    high_watermark,
    lost_writes,
    order,
    overtaken,
    phantoms,
    two_values,
    unreadable,
    violations,
)
from tools.simulation.history import (
    Committed,
    Deleted,
    Fetched,
    Final,
    History,
    Loss,
    Outcome,
    Overtaken,
    Produced,
    Refused,
    Stored,
)


def world(*values: bytes, start: int = 0) -> History:
    """A history of partition 0 that ends with these values in the log, all acknowledged."""
    history = History()
    log = [Stored(start + at, value, 1) for at, value in enumerate(values)]
    history.final = Final({0: log}, {0: start}, {0: start + len(values)})
    for stored in log:
        history.produced.append(ack(stored.value, stored.offset))
    return history


def ack(
    value: bytes, offset: int, at: float = 1.0, outcome: Outcome = Outcome.OK, why: str = ""
) -> Produced:
    return Produced("p", True, 0, (value,), at, at + 0.1, outcome, offset, why)


def read(offset: int, value: bytes, high: int, at: float = 2.0, low: int = 0) -> Fetched:
    return Fetched("r", 0, offset, ((offset, value),), high, low, at, at + 0.1)


def test_a_life_without_faults_is_fine() -> None:
    history = world(b"p-0", b"p-1")
    history.fetched += [read(0, b"p-0", 2), read(1, b"p-1", 2)]
    assert violations(history, CHECKERS) == []


def test_an_acknowledged_record_that_is_gone_is_lost_unless_it_was_unflushed_or_deleted() -> None:
    history = world(b"p-0")
    history.produced.append(ack(b"p-1", 1))
    assert list(lost_writes(history))
    history.losses.append(Loss(5.0, 0, 1, 1))
    assert not list(lost_writes(history))
    assert not list(lost_writes(world(b"p-5", start=5)))
    history = world(b"p-5", start=5)
    history.produced.append(ack(b"p-1", 1))
    assert not list(lost_writes(history))
    assert list(deletions(history))
    history.deleted.append(Deleted(0, 5, 1.0, 1.0))
    assert not list(deletions(history))


def test_a_loss_below_what_was_flushed_is_no_forgivable_one() -> None:
    history = world(b"p-0")
    history.losses.append(Loss(5.0, 0, 1, 2))
    assert list(flushed(history))


def test_two_values_at_an_offset_are_seen_unless_the_first_was_lost() -> None:
    history = world(b"p-1")
    history.produced.clear()
    history.fetched.append(read(0, b"p-0", 1))
    assert list(two_values(history))
    history.losses.append(Loss(5.0, 0, 0, 0))
    assert not list(two_values(history))


def test_a_value_at_two_offsets_is_a_duplicate() -> None:
    assert list(duplicates(world(b"p-0", b"p-0")))
    history = world(b"p-0", b"p-1")
    history.produced.append(ack(b"p-0", 1))
    assert list(duplicates(history))


def test_values_out_of_order_are_seen() -> None:
    assert list(order(world(b"p-1", b"p-0")))
    assert not list(order(world(b"p-0", b"p-2")))


def test_what_must_be_refused_may_not_be_accepted() -> None:
    history = world(b"p-0")
    history.produced.append(ack(b"bad", 1, why="a wrong checksum"))
    assert list(forbidden(history))


def test_a_first_batch_is_overtaken_only_by_one_of_its_own_producer() -> None:
    history = world(b"p-1")
    history.overtaken.append(Overtaken(0, 1, b"p-0"))
    assert not list(overtaken(history))
    history.overtaken.append(Overtaken(0, 2, b"q-0"))
    assert list(overtaken(history))
    history.deleted.append(Deleted(0, 4, 1.0, 1.0))
    assert not list(overtaken(history))


def test_phantoms_were_never_sent_or_refused_or_do_not_stay() -> None:
    for value, outcome in ((b"p-9", None), (b"p-1", Outcome.FAIL), (b"p-1", Outcome.UNKNOWN)):
        history = world(b"p-0")
        if outcome is not None:
            history.produced.append(ack(value, -1, outcome=outcome))
        history.fetched.append(read(1, value, 2))
        assert list(phantoms(history)), (value, outcome)


def test_the_high_watermark_may_go_back_only_with_a_loss() -> None:
    history = world(b"p-0")
    history.fetched += [read(0, b"p-0", 5, at=2.0), read(0, b"p-0", 4, at=3.0)]
    history.final.log_end[0] = 5
    assert list(high_watermark(history))
    history.losses.append(Loss(2.5, 0, 4, 0))
    assert not list(high_watermark(history))
    # Two that were on their way at once may arrive in either order.
    history = world(b"p-0")
    history.final.log_end[0] = 5
    history.fetched += [read(0, b"p-0", 5, at=2.0), read(0, b"p-0", 4, at=2.05)]
    assert not list(high_watermark(history))


def test_the_log_start_may_go_back_only_with_a_death() -> None:
    history = world(b"p-0")
    history.fetched += [read(0, b"p-0", 1, at=2.0, low=3), read(0, b"p-0", 1, at=3.0)]
    assert list(high_watermark(history))
    history.deaths.append(2.5)
    assert not list(high_watermark(history))


def test_records_at_the_high_watermark_are_too_early() -> None:
    history = world(b"p-0")
    history.fetched.append(read(1, b"p-1", 1))
    assert list(above_high_watermark(history))


def test_holes_and_refusals_are_unreadable_unless_deleted() -> None:
    history = world(b"p-0")
    history.refused.append(Refused("r", 0, 3, "out of range", 2.0, 2.1))
    assert list(unreadable(history))
    history.deleted.append(Deleted(0, 4, 1.0, 1.0))
    assert not list(unreadable(history))
    history.fetched.append(Fetched("r", 0, 4, ((5, b"x"),), 9, 0, 2.0, 2.1))
    assert list(unreadable(history))


def test_the_committed_offset_is_the_last_or_one_that_may_have_followed() -> None:
    history = world(b"p-0")
    for offset, outcome in ((3, Outcome.OK), (5, Outcome.OK), (7, Outcome.UNKNOWN)):
        history.committed.append(Committed("g", 0, offset, float(offset), offset + 0.1, outcome))
    for there, fine in ((5, True), (7, True), (3, False), (-1, False)):
        history.final.committed = {("g", 0): there}
        assert bool(list(commits(history))) is not fine
