"""Which batches are aborted, and which markers are needless, batch by batch."""

from ottla.record.batch import BatchHeader, read_header
from ottla.record.builder import build_batch
from ottla.record.control import build_end_txn_marker
from ottla.record.records import Record
from ottla.storage.compaction.transactions import Transactions
from ottla.storage.transaction_index import AbortedTransaction


def data(offset: int, producer: int = 1, transactional: bool = True) -> tuple[BatchHeader, bytes]:
    batch = build_batch(
        [Record(key=b"k", value=b"v")],
        base_offset=offset,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        transactional=transactional,
    )
    return read_header(batch), batch


def marker(offset: int, committed: bool, producer: int = 1) -> tuple[BatchHeader, bytes]:
    batch = build_end_txn_marker(
        committed=committed,
        coordinator_epoch=0,
        timestamp=0,
        producer_id=producer,
        producer_epoch=0,
        base_offset=offset,
    )
    return read_header(batch), batch


def test_batches_of_an_aborted_transaction_may_go_and_its_marker_not_yet() -> None:
    kept: list[AbortedTransaction] = []
    aborted = AbortedTransaction(1, 10, 12, 13)
    transactions = Transactions([aborted], kept.append)
    assert not transactions.may_discard(*data(9, transactional=False))
    assert transactions.may_discard(*data(10))
    assert not transactions.may_discard(*data(11, producer=2))
    assert not transactions.may_discard(*marker(12, committed=False))
    assert kept == [aborted]


def test_a_marker_without_batches_may_go() -> None:
    kept: list[AbortedTransaction] = []
    transactions = Transactions([AbortedTransaction(1, 10, 12, 13)], kept.append)
    assert transactions.may_discard(*marker(12, committed=False))
    assert transactions.may_discard(*marker(13, committed=True, producer=2))
    assert kept == []


def test_a_commit_stays_with_its_batches() -> None:
    transactions = Transactions([])
    assert not transactions.may_discard(*data(10))
    assert not transactions.may_discard(*marker(11, committed=True))
    assert transactions.may_discard(*marker(12, committed=True))


def test_one_transaction_after_the_other() -> None:
    transactions = Transactions(
        [AbortedTransaction(1, 20, 21, 22), AbortedTransaction(1, 10, 11, 12)]
    )
    assert transactions.may_discard(*data(10))
    assert not transactions.may_discard(*marker(11, committed=False))
    assert not transactions.may_discard(*data(15))
    assert not transactions.may_discard(*marker(16, committed=True))
    assert transactions.may_discard(*data(20))
    assert not transactions.may_discard(*marker(21, committed=False))
