"""Which batches belong to aborted transactions, and which markers nobody needs any more.

Batches are shown in the order of the log. A marker may go once no batch of its
transaction is left, and even then only after its delete horizon.
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop

from ottla.model.errors import ApiError
from ottla.model.ids import Offset, ProducerId
from ottla.record.batch import CONTROL_FLAG, TRANSACTIONAL_FLAG, BatchHeader
from ottla.record.checksum import Buffer
from ottla.record.control import read_end_txn_marker
from ottla.record.records import read_records
from ottla.storage.transaction_index import AbortedTransaction


class _Aborted:
    __slots__ = ("seen", "transaction")

    def __init__(self, transaction: AbortedTransaction) -> None:
        self.transaction = transaction
        self.seen = False
        """A batch of it is still there."""


class Transactions:
    """The transactions of a log, one walk over its batches."""

    def __init__(
        self,
        aborted: Iterable[AbortedTransaction],
        keep: Callable[[AbortedTransaction], None] = lambda transaction: None,
    ) -> None:
        """`keep` hears of the aborted ones whose marker stays because of their batches."""
        self._next = [(t.first_offset, t.last_offset, t) for t in aborted]
        heapify(self._next)
        self._aborted: dict[ProducerId, _Aborted] = {}
        self._committed: dict[ProducerId, None] = {}
        self.keep = keep

    def may_discard(self, header: BatchHeader, batch: Buffer) -> bool:
        """Take the next batch; say whether all its records may go, whatever their keys."""
        self._begin_up_to(header.last_offset)
        if header.attributes & CONTROL_FLAG:
            return self._may_discard_marker(header, batch)
        if not header.attributes & TRANSACTIONAL_FLAG:
            return False
        aborted = self._aborted.get(header.producer_id)
        if aborted is None:
            self._committed[header.producer_id] = None
            return False
        aborted.seen = True
        return True

    def _begin_up_to(self, offset: Offset) -> None:
        waiting = self._next
        while waiting and waiting[0][0] <= offset:
            transaction = heappop(waiting)[2]
            self._aborted.setdefault(transaction.producer_id, _Aborted(transaction))

    def _may_discard_marker(self, header: BatchHeader, batch: Buffer) -> bool:
        if header.records_count == 0:
            return True  # emptied before: kept for its producer's epoch alone
        try:
            marker = next((read_end_txn_marker(record) for record in read_records(batch)), None)
        except ApiError:
            return False
        if marker is None:
            return False
        if marker.committed:
            if header.producer_id not in self._committed:
                return True
            del self._committed[header.producer_id]
            return False
        aborted = self._aborted.pop(header.producer_id, None)
        if aborted is None or not aborted.seen:
            return True
        self.keep(aborted.transaction)
        return False
