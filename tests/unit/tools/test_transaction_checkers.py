"""Each checker of transactions sees what it is for, in the smallest history that has it."""

from dataclasses import replace

import pytest
from tools.simulation.history import Outcome
from tools.simulation.transactions.checkers import (
    CHECKERS,
    aborted_reads,
    circular_reads,
    ends,
    half_ended,
    hanging,
    intermediate_reads,
    late_requests,
    offsets_apart,
    torn,
    violations,
    zombies,
)
from tools.simulation.transactions.history import (
    Attempt,
    Decision,
    Initiated,
    Late,
    Marker,
    Moved,
    Placed,
    Seen,
    Stable,
    TransactionHistory,
    Wrote,
)

OK, UNKNOWN = Outcome.OK, Outcome.UNKNOWN


def attempt(name: str, epoch: int, at: float, *partitions: int, commits: bool = True) -> Attempt:
    """A transaction with one record in each of these partitions, ended at `at + 1`."""
    made = Attempt(name, name[0], (7, epoch), 3.0, 0.1, at)
    for number, partition in enumerate(partitions):
        value = f"{name}:{number}".encode()
        made.wrote.append(Wrote(value, partition, at, at + 0.1, OK))
    made.commits, made.ends, made.end, made.outcome = commits, at + 0.9, at + 1, OK
    return made


def history(*attempts: Attempt) -> TransactionHistory:
    """All is as it should be: records in place one behind the other, markers, readers."""
    made = TransactionHistory()
    made.initiated.append(Initiated("a", (7, 0), 0.0, 0.1))
    made.states["a"] = "CompleteCommit"
    for each in attempts:
        made.attempts.append(each)
        marker = (7, each.producer[1] + 1)
        places = sorted({wrote.partition for wrote in each.wrote})
        for wrote in each.wrote:
            log = made.placed.setdefault(wrote.partition, [])
            log.append(
                Placed(next_offset(made, wrote.partition), wrote.value, (7, 0), each.commits)
            )
        for place in places:
            markers = made.markers.setdefault(("t", place), [])
            markers.append(Marker(next_offset(made, place), marker, bool(each.commits)))
        partitions = frozenset(("t", place) for place in places)
        made.decisions.append(Decision("a", marker, bool(each.commits), partitions))
    for place in made.placed:
        made.seen.append(seen(made, place))
        made.stable[place] = Stable(next_offset(made, place), next_offset(made, place), 50.0)
    return made


def next_offset(made: TransactionHistory, place: int) -> int:
    return len(made.placed.get(place, ())) + len(made.markers.get(("t", place), ()))


def seen(made: TransactionHistory, place: int, start: float = 40.0) -> Seen:
    """A reader gets all that counts."""
    end = next_offset(made, place)
    records = tuple((p.offset, p.value) for p in made.placed[place] if p.fate)
    return Seen("reader", place, 0, end, records, end, start)


def two() -> TransactionHistory:
    first, second = attempt("a.0.1", 0, 1.0, 0, 1), attempt("a.0.2", 1, 3.0, 0, 1, commits=False)
    return history(first, second)


def refate(made: TransactionHistory, place: int, index: int, fate: bool | None) -> None:
    made.placed[place][index] = made.placed[place][index]._replace(fate=fate)


def test_a_life_without_faults_is_fine() -> None:
    assert violations(two()) == []


def test_a_transaction_that_counts_in_one_partition_alone_is_torn() -> None:
    made = two()
    refate(made, 1, 0, False)
    assert list(torn(made))
    refate(made, 0, 0, False)
    assert not list(torn(made))
    assert list(ends(made))  # it was answered as committed


def test_a_record_that_is_there_twice_is_torn() -> None:
    made = two()
    made.placed[1].append(made.placed[1][0])
    assert list(torn(made))


@pytest.mark.parametrize("asked", [False, None])
def test_what_nobody_asked_to_commit_must_not_count(asked: bool | None) -> None:
    made = two()
    for place in (0, 1):
        refate(made, place, 1, True)
    made.attempts[1].commits = asked
    assert list(ends(made))
    made.attempts[1].commits, made.attempts[1].outcome = True, UNKNOWN
    assert not list(ends(made))


def test_an_offset_stands_where_committed_transactions_left_it() -> None:
    made = two()
    made.attempts[0].moved = Moved("g", 0, 0, 3)
    made.attempts[1].moved = Moved("g", 0, 3, 5)
    made.offsets["g", 0] = 3
    assert not list(offsets_apart(made))
    for wrong in (0, 5):
        made.offsets["g", 0] = wrong
        assert list(offsets_apart(made))
    made.offsets["g", 0] = 5
    for before, fine in ((3, True), (2, False), (4, False)):
        refate(made, 0, 1, True)
        made.attempts[1].moved = Moved("g", 0, before, 5)
        assert bool(list(offsets_apart(made))) is not fine


def test_reading_what_was_aborted_is_seen() -> None:
    made = two()
    aborted = made.placed[0][1]
    assert aborted.fate is False
    stretch = made.seen[0]
    made.seen[0] = stretch._replace(records=(*stretch.records, (aborted.offset, aborted.value)))
    assert list(aborted_reads(made))


def test_leaving_out_what_counts_is_seen() -> None:
    made = two()
    made.seen[0] = made.seen[0]._replace(records=())
    assert list(intermediate_reads(made))
    made.seen[0] = made.seen[0]._replace(first=1)  # it began behind that record
    assert not list(intermediate_reads(made))


def test_two_transactions_that_read_each_other_are_seen() -> None:
    made = two()
    made.attempts[1].read.append(b"a.0.1:0")
    assert not list(circular_reads(made))
    made.attempts[0].read.append(b"a.0.2:1")
    assert list(circular_reads(made))


def test_who_was_taken_over_and_goes_on_is_a_zombie() -> None:
    made = two()
    made.initiated.append(Initiated("a", (7, 2), 2.5, 2.6))
    assert list(zombies(made))
    made.attempts[1].born = 2.55  # its own
    assert not list(zombies(made))
    made.initiated[-1] = Initiated("b", (7, 2), 2.5, 2.6)
    made.attempts[1].born = 0.1
    assert not list(zombies(made))


LATE = Late("batch", "a.0.1", "a", (7, 0), True, True, 0, 3.2, 3.3, 47)


@pytest.mark.parametrize("kind", ["batch", "partitions", "offsets", "offset commit"])
def test_what_is_late_must_be_refused(kind: str) -> None:
    made = two()
    made.late.append(LATE._replace(kind=kind))
    assert not list(late_requests(made))
    made.late.append(LATE._replace(kind=kind, code=0))
    assert list(late_requests(made))


@pytest.mark.parametrize("kind", ["end", "marker"])
def test_an_end_that_is_repeated_is_fine_until_the_next_transaction_is_open(kind: str) -> None:
    made = two()
    repeated = LATE._replace(kind=kind, code=0, start=2.1, end=2.2)
    made.late.append(repeated)
    assert not list(late_requests(made))
    made.late.append(repeated._replace(start=3.2, end=3.3))
    assert list(late_requests(made))
    made.late[-1] = repeated._replace(start=3.2, end=6.5)  # perhaps after its time-out
    assert not list(late_requests(made))


def test_an_end_that_is_repeated_otherwise_must_be_refused() -> None:
    made = two()
    made.late.append(LATE._replace(kind="end", code=0, commits=False, start=2.1, end=2.2))
    assert list(late_requests(made))


def test_a_record_of_a_late_batch_must_not_be_there() -> None:
    made = two()
    made.placed[0].append(Placed(9, b"late-a.0.1:1", (7, 0), None))
    assert list(late_requests(made))


def test_what_holds_readers_up_beyond_its_time_out_hangs() -> None:
    made = two()
    begins = made.placed[0][1].offset
    made.seen.append(made.seen[0]._replace(last_stable=begins, start=10.0))
    assert not list(hanging(made))  # 3 s after its start at 3, and then a few
    made.seen[-1] = made.seen[-1]._replace(start=11.5)
    assert list(hanging(made))
    made.healed = 20.0
    assert not list(hanging(made))
    made.stable[0] = Stable(begins, 9, 30.0)
    assert list(hanging(made))


def test_what_was_decided_has_its_markers() -> None:
    made = two()
    gone = made.markers["t", 1].pop()
    assert list(half_ended(made))
    made.markers["t", 1].append(gone._replace(commits=True))
    assert list(half_ended(made))
    made.markers["t", 1].append(gone)
    assert not list(half_ended(made))
    made.states["a"] = "PrepareCommit"
    assert list(half_ended(made))


def test_every_line_begins_with_its_checkers_name() -> None:
    made = two()
    made.attempts[1] = replace(made.attempts[1], commits=True)
    names = {line.partition(":")[0] for line in violations(made)}
    assert names
    assert names <= CHECKERS.keys()
