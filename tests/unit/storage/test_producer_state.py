import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import ApiError, ErrorCode
from ottla.record.batch import TRANSACTIONAL_FLAG
from ottla.record.control import EndTxnMarker
from ottla.storage.producer_state import AppendOrigin, ProducerStates

MAX = 2**31 - 1


class Partition:
    """Appends batches to a state, one offset a record."""

    def __init__(self) -> None:
        self.states = ProducerStates()
        self.end = 0

    def send(
        self,
        sequence: int,
        count: int = 1,
        *,
        producer: int = 1,
        epoch: int = 0,
        transactional: bool = False,
        origin: AppendOrigin = AppendOrigin.CLIENT,
    ) -> int:
        """Return the base offset, of the first time if it is a duplicate."""
        attributes = TRANSACTIONAL_FLAG if transactional else 0
        earlier = self.states.check(producer, epoch, sequence, count - 1, attributes, origin)
        if earlier is not None:
            return earlier.base_offset
        base = self.end
        self.states.apply(producer, epoch, sequence, count - 1, attributes, base, 1000 + base)
        self.end += count
        return base

    def refused(self, sequence: int, count: int = 1, epoch: int = 0) -> ErrorCode:
        with pytest.raises(ApiError) as error:
            self.send(sequence, count, epoch=epoch)
        return error.value.code

    def end_transaction(self, *, committed: bool, producer: int = 1, epoch: int = 0) -> object:
        marker = EndTxnMarker(committed, 0)
        aborted = self.states.apply_marker(producer, epoch, marker, self.end, 5000)
        self.end += 1
        return aborted


def test_batches_in_sequence_are_taken_and_gaps_refused() -> None:
    partition = Partition()
    assert partition.send(0, 3) == 0
    assert partition.send(3, 2) == 3
    assert partition.refused(6) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert partition.refused(4) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_what_follows_a_batch_that_found_no_room_finds_none_until_that_has_come() -> None:
    partition = Partition()
    assert partition.send(0, 3) == 0
    partition.states.found_no_room(1, 0, 3)
    assert partition.refused(5) is ErrorCode.KAFKA_STORAGE_ERROR
    assert partition.send(0, 3) == 0
    assert partition.send(3, 2) == 3
    assert partition.refused(6) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert partition.send(5) == 5


@pytest.mark.parametrize("epoch", [0, 1])
def test_what_follows_the_first_batch_of_all_or_of_an_epoch_waits_for_room_too(epoch: int) -> None:
    partition = Partition()
    if epoch:
        assert partition.send(0) == 0
    partition.states.found_no_room(1, epoch, 0)
    assert partition.refused(1, epoch=epoch) is ErrorCode.KAFKA_STORAGE_ERROR
    assert partition.send(0, epoch=epoch) == epoch
    assert partition.send(1, epoch=epoch) == epoch + 1
    assert partition.states.expire(10**9, 1) == 1
    assert partition.send(7, epoch=epoch) == epoch + 2, "it is not waited for any more"


def test_what_follows_a_batch_that_was_refused_for_now_is_refused_for_the_same_reason() -> None:
    partition = Partition()
    few = ErrorCode.NOT_ENOUGH_REPLICAS
    partition.states.refused(1, 0, 0, few)
    assert partition.refused(3) is few, "the first of all comes first"
    assert partition.send(0, 3) == 0
    for sequence in (3, 5, 6):
        partition.states.refused(1, 0, sequence, few)
    assert partition.refused(5) is few
    assert partition.refused(6) is few
    assert partition.send(3, 2) == 3
    assert partition.refused(6) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    partition.states.refused(1, 1, 0, few)
    assert partition.refused(1, epoch=1) is few
    assert partition.send(0, epoch=1) == 5
    assert partition.send(1, epoch=1) == 6


def test_one_of_the_last_five_is_answered_with_its_first_offset() -> None:
    partition = Partition()
    for at in range(7):
        partition.send(2 * at, 2)
    for at in range(2, 7):
        assert partition.send(2 * at, 2) == 2 * at
    assert partition.refused(2, 2) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert partition.refused(12, 1) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_sequences_wrap() -> None:
    partition = Partition()
    partition.send(MAX - 1, 4)
    assert partition.send(2, 1) == 4
    assert partition.send(MAX - 1, 4) == 0


def test_an_unknown_producer_may_begin_anywhere() -> None:
    assert Partition().send(17) == 0


def test_a_new_epoch_begins_with_sequence_0() -> None:
    partition = Partition()
    partition.send(0)
    assert partition.refused(1, epoch=1) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    partition.send(0, epoch=1)
    assert partition.refused(1, epoch=0) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_coordinators_write_without_sequences() -> None:
    partition = Partition()
    for _ in range(3):
        partition.send(-1, origin=AppendOrigin.COORDINATOR, transactional=True)


def test_a_transaction_is_unstable_until_its_marker_is_replicated() -> None:
    partition = Partition()
    states = partition.states
    partition.send(0, 2)
    partition.send(0, producer=2, transactional=True)
    partition.send(0, producer=3, transactional=True)
    assert states.first_unstable_offset == 2
    assert partition.end_transaction(committed=True, producer=2) is None
    states.high_watermark_is(4)
    assert states.first_unstable_offset == 2
    states.high_watermark_is(5)
    assert states.first_unstable_offset == 3
    aborted = partition.end_transaction(committed=False, producer=3)
    assert aborted == (3, 3, 5, 6)
    states.high_watermark_is(6)
    assert states.first_unstable_offset is None
    assert not states.has_transactions


def test_no_plain_batch_within_a_transaction() -> None:
    partition = Partition()
    partition.send(0, transactional=True)
    assert partition.refused(1) is ErrorCode.INVALID_TXN_STATE


@pytest.mark.parametrize(
    ("epoch", "coordinator_epoch", "version", "code"),
    [
        (4, 7, 0, ErrorCode.INVALID_PRODUCER_EPOCH),
        (5, 7, 0, None),
        (5, 7, 2, ErrorCode.INVALID_PRODUCER_EPOCH),
        (6, 7, 2, None),
        (6, 6, 2, ErrorCode.TRANSACTION_COORDINATOR_FENCED),
    ],
)
def test_stale_markers_are_refused(
    epoch: int, coordinator_epoch: int, version: int, code: ErrorCode | None
) -> None:
    partition = Partition()
    states = partition.states
    states.apply_marker(1, 5, EndTxnMarker(True, 7), 0, 0)
    partition.send(0, epoch=5, transactional=True)
    try:
        states.check_marker(1, epoch, coordinator_epoch, version)
    except ApiError as error:
        assert error.code is code  # noqa: PT017
    else:
        assert code is None


def test_a_marker_sent_again_is_written_again() -> None:
    partition = Partition()
    partition.states.apply_marker(1, 5, EndTxnMarker(True, 7), 0, 0)
    partition.states.check_marker(1, 5, 7, 2)


def test_silent_producers_expire_unless_in_a_transaction() -> None:
    partition = Partition()
    partition.send(0, producer=1)
    partition.send(0, producer=2, transactional=True)
    assert partition.states.expire(1000 + 100, 100) == 1
    assert list(partition.states.producers) == [2]


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.booleans(), st.booleans()), max_size=25
    )
)
def test_a_snapshot_continues_every_sequence(
    sends: list[tuple[int, int, bool, bool]],
) -> None:
    partition = Partition()
    following: dict[int, int] = {}
    open_at: dict[int, int] = {}
    for producer, count, ends, transactional in sends:
        if producer in open_at and ends:
            partition.end_transaction(committed=transactional, producer=producer)
            del open_at[producer]
        in_transaction = transactional or producer in open_at
        base = partition.send(
            following.get(producer, 0), count, producer=producer, transactional=in_transaction
        )
        following[producer] = following.get(producer, 0) + count
        if in_transaction:
            open_at.setdefault(producer, base)
    loaded = Partition()
    loaded.end = partition.end
    loaded.states.load(partition.states.entries(), partition.end)
    assert loaded.states.entries() == partition.states.entries()
    assert loaded.states.first_unstable_offset == min(open_at.values(), default=None)
    for producer, sequence in following.items():
        again = loaded.send(sequence, producer=producer, transactional=producer in open_at)
        assert again == loaded.end - 1
