"""A transactional id: its producer, the transaction it has open or had last, and its states.

    Empty ----> Ongoing ----> PrepareCommit ----> CompleteCommit
      ^            |  ^                                |
      |            v  +--------------------------------+
      |         PrepareAbort ----> CompleteAbort ------+
      +------------------------------------------------+

A *prepared* transaction is decided: nothing can change how it ends, markers go
to its partitions, and when all of them are written it is complete. Under
version 2 (KIP-890) the epoch rises when it is prepared, so that nothing sent
before belongs to the transaction that follows.
"""

from enum import IntEnum
from typing import NamedTuple

from ottla.model.ids import NO_PRODUCER_ID, ProducerEpoch, ProducerId, TopicPartition

NO_EPOCH: ProducerEpoch = -1
FENCED_EPOCH: ProducerEpoch = 32_767
"""No client is given it: it is kept for fencing the one before."""
LAST_EPOCH: ProducerEpoch = FENCED_EPOCH - 1

VERSION_2 = 2


class TxnState(IntEnum):
    """As `__transaction_state` numbers them."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7
    """Kafka's, in memory only; never written here."""

    @property
    def label(self) -> str:
        """As DescribeTransactions shows it."""
        return self.name.title().replace("_", "")


EMPTY = TxnState.EMPTY
ONGOING = TxnState.ONGOING
PREPARE_COMMIT = TxnState.PREPARE_COMMIT
PREPARE_ABORT = TxnState.PREPARE_ABORT
COMPLETE_COMMIT = TxnState.COMPLETE_COMMIT
COMPLETE_ABORT = TxnState.COMPLETE_ABORT
DEAD = TxnState.DEAD

COMPLETE = frozenset({COMPLETE_COMMIT, COMPLETE_ABORT})
PREPARED = frozenset({PREPARE_COMMIT, PREPARE_ABORT})
AT_REST = COMPLETE | {EMPTY}
"""Nothing is open: a new transaction may begin, the id may be forgotten."""

BEFORE: dict[TxnState, frozenset[TxnState]] = {
    EMPTY: AT_REST,
    ONGOING: AT_REST | {ONGOING},
    PREPARE_COMMIT: frozenset({ONGOING}),
    PREPARE_ABORT: AT_REST | {ONGOING},  # under version 2 one without partitions may be aborted
    COMPLETE_COMMIT: frozenset({PREPARE_COMMIT}),
    COMPLETE_ABORT: frozenset({PREPARE_ABORT}),
    DEAD: AT_REST,
}
"""From which states each may be reached."""


class Transaction(NamedTuple):
    """All that is known of a transactional id; a new one for each change."""

    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    timeout_ms: int
    state: TxnState
    partitions: frozenset[TopicPartition]
    """Those of the open transaction, none where no transaction is open."""
    update_ms: int
    start_ms: int = -1
    version: int = 0
    """The transaction version of the client that last opened or ended one."""
    previous_producer_id: ProducerId = NO_PRODUCER_ID
    next_producer_id: ProducerId = NO_PRODUCER_ID
    """Taken when the transaction is complete, since the epochs are used up."""
    last_epoch: ProducerEpoch = NO_EPOCH
    """The epoch before, by which an InitProducerId sent again is known; not kept in the log."""

    @property
    def is_exhausted(self) -> bool:
        return self.producer_epoch >= LAST_EPOCH

    @property
    def bumps(self) -> bool:
        """Whether each end of a transaction begins an epoch."""
        return self.version >= VERSION_2

    @property
    def commits(self) -> bool:
        return self.state in (PREPARE_COMMIT, COMPLETE_COMMIT)

    def moved(self, state: TxnState, now_ms: int, **changes: object) -> "Transaction":
        """In another state, which must be one that may follow."""
        assert self.state in BEFORE[state], (self.transactional_id, self.state, state)
        return self._replace(state=state, update_ms=now_ms, **changes)  # type: ignore[arg-type]
