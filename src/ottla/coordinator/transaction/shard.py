"""The transactional ids of one partition of `__transaction_state`.

Every decision is one record of one id, appended and applied before the next
command is looked at, so that there are no half-made transitions. Markers are
the shell's work: `prepared` is called when the decision to end a transaction is
committed, again after a while, and after loading, until `complete` says that all
of them are written.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.outcome import Call, Outcome, Waiter
from ottla.coordinator.transaction.records import TransactionStored, decode, encode
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import (
    AT_REST,
    COMPLETE,
    COMPLETE_ABORT,
    COMPLETE_COMMIT,
    EMPTY,
    FENCED_EPOCH,
    LAST_EPOCH,
    NO_EPOCH,
    ONGOING,
    PREPARE_ABORT,
    PREPARE_COMMIT,
    PREPARED,
    VERSION_2,
    Transaction,
)
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    NO_PRODUCER_ID,
    Offset,
    ProducerEpoch,
    ProducerId,
    TopicPartition,
)

Out = Outcome[TransactionStored]
Producer = tuple[ProducerId, ProducerEpoch]

MARKERS_AGAIN_MS = 1_000
"""How long after a prepared transaction's markers are tried again, the first time."""

MARKERS_AGAIN_MAX_MS = 8_000
"""The longest time between two tries; each is twice as long as the one before."""

EXPIRED_AT_ONCE = 500
_EXPIRY = ("expiry", "")


class ProducerIdNeededError(Exception):
    """Ask again with a producer id that nobody has."""


class TransactionShard:
    """Implements `outcome.Shard` for transactional ids."""

    def __init__(
        self, settings: TransactionSettings, prepared: Callable[[Transaction], None]
    ) -> None:
        self._settings = settings
        self._prepared = prepared
        self._deadlines = Deadlines()
        self._expiring: Iterator[str] | None = None
        self._wait_ms: dict[str, int] = {}
        """How long a prepared transaction waits next for its markers to be tried again."""
        self.transactions: dict[str, Transaction] = {}

    # The replicated part

    def encode(self, record: TransactionStored) -> tuple[bytes, bytes | None]:
        return encode(record)

    def decode(self, key: bytes, value: bytes | None) -> TransactionStored | None:
        return decode(key, value)

    def apply(self, record: TransactionStored, offset: Offset, producer_id: ProducerId) -> None:
        """Take over what is known of an id now, and when it is to be looked at again."""
        transactional_id, transaction = record
        deadlines = self._deadlines
        if transaction is None:
            self.transactions.pop(transactional_id, None)
            deadlines.cancel(("timeout", transactional_id))
            deadlines.cancel(("markers", transactional_id))
            self._wait_ms.pop(transactional_id, None)
            return
        self.transactions[transactional_id] = transaction
        if transaction.state is ONGOING:
            when_ms = transaction.start_ms + transaction.timeout_ms
            deadlines.set(("timeout", transactional_id), when_ms)
        else:
            deadlines.cancel(("timeout", transactional_id))
        if transaction.state in PREPARED:
            when_ms = transaction.update_ms + MARKERS_AGAIN_MS
            deadlines.set(("markers", transactional_id), when_ms)
        else:
            deadlines.cancel(("markers", transactional_id))
        self._wait_ms.pop(transactional_id, None)

    def apply_marker(self, producer_id: ProducerId, committed: bool) -> None:
        """No transaction writes here."""

    # Loading, deadlines

    def loaded(self, now_ms: int) -> Out:
        """What was prepared before is ended now."""
        out = Out()
        for transaction in self.transactions.values():
            if transaction.state in PREPARED:
                self._end_later(out, transaction)
        self._set_expiry(now_ms)
        return out

    def unloaded(self) -> Sequence[Waiter]:
        return []

    def next_deadline_ms(self) -> int | None:
        return self._deadlines.next_ms()

    def wake(self, now_ms: int) -> Out | None:
        """Time-outs, markers that are late, ids to be forgotten."""
        key = self._deadlines.pop_due(now_ms)
        if key is None:
            return None
        if key == _EXPIRY:
            return self._expire(now_ms)
        assert isinstance(key, tuple)
        what, transactional_id = key
        transaction = self.transactions[transactional_id]
        if what == "timeout":
            self._deadlines.set(key, now_ms + MARKERS_AGAIN_MS)  # for when the append is refused
            return self._fence(transaction, now_ms)
        self._deadlines.set(key, now_ms + MARKERS_AGAIN_MS)
        out = Out()
        self._end_later(out, transaction)
        return out

    def put_off(self, prepared: Transaction, now_ms: int) -> Out:
        """Not all of its markers could be written: wait, each time twice as long."""
        transactional_id = prepared.transactional_id
        if self.transactions.get(transactional_id) == prepared:
            wait_ms = self._wait_ms.get(transactional_id, MARKERS_AGAIN_MS)
            self._wait_ms[transactional_id] = min(2 * wait_ms, MARKERS_AGAIN_MAX_MS)
            self._deadlines.set(("markers", transactional_id), now_ms + wait_ms)
        return Out()

    def give_up(self, prepared: Transaction) -> Out:
        """Where its markers belong somebody came later: try no more, until the log is loaded again."""
        if self.transactions.get(prepared.transactional_id) == prepared:
            self._deadlines.cancel(("markers", prepared.transactional_id))
        return Out()

    def again(self, transactional_id: str, now_ms: int) -> Out:
        """Partitions of a prepared transaction may take their markers now: do not wait longer."""
        transaction = self.transactions.get(transactional_id)
        if transaction is not None and transaction.state in PREPARED:
            self._deadlines.set(("markers", transactional_id), now_ms)
        return Out()

    def _end_later(self, out: Out, transaction: Transaction) -> None:
        out.answers.append((Call(lambda: self._prepared(transaction)), None))

    def _set_expiry(self, now_ms: int) -> None:
        interval_ms = self._settings.transaction_remove_expired_transaction_cleanup_interval_ms
        self._deadlines.set(_EXPIRY, now_ms + interval_ms)

    def _expire(self, now_ms: int) -> Out:
        """Forget ids that were not used for long: one slice of a round."""
        out = Out()
        if self._expiring is None:
            self._expiring = iter(list(self.transactions))
        for _ in range(EXPIRED_AT_ONCE):
            transactional_id = next(self._expiring, None)
            if transactional_id is None:
                self._expiring = None
                self._set_expiry(now_ms)
                return out
            transaction = self.transactions.get(transactional_id)
            if (
                transaction is not None
                and transaction.state in AT_REST
                and now_ms - transaction.update_ms >= self._settings.transactional_id_expiration_ms
            ):
                out.records.append(TransactionStored(transactional_id, None))
        self._deadlines.set(_EXPIRY, now_ms)
        return out

    # InitProducerId

    def init(
        self,
        transactional_id: str,
        timeout_ms: int,
        expected: Producer | None,
        fresh: ProducerId | None,
        waiter: Waiter,
        now_ms: int,
    ) -> Out:
        """Give the id's producer its next epoch; whatever the one before had open is aborted.

        `expected` is what the client believes to be (KIP-360). The answer is (producer id, epoch).

        Raises:
            ApiError: CONCURRENT_TRANSACTIONS, a transaction is about to end: try again;
                PRODUCER_FENCED, the client is not who it believes to be.
            ProducerIdNeededError: without `fresh`.
        """
        known = self.transactions.get(transactional_id)
        if known is None:
            known = Transaction(
                transactional_id,
                _given(fresh),
                NO_EPOCH,
                timeout_ms,
                EMPTY,
                frozenset(),
                now_ms,
            )
        if expected is not None and _is_next(known, expected):
            raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)
        if expected is not None and not _may_resume(known, expected):
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        if known.state in PREPARED:
            raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)
        if known.state is ONGOING:
            out = self._fence(known, now_ms)
            out.answers.append((waiter, ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)))
            return out
        if known.is_exhausted and (
            expected is None
            or expected[1] == known.producer_epoch
            or (known.producer_epoch == FENCED_EPOCH and expected[1] == LAST_EPOCH)
        ):
            after = known._replace(
                producer_id=_given(fresh),
                previous_producer_id=known.producer_id,
                producer_epoch=0,
                last_epoch=NO_EPOCH if expected is None else expected[1],
            )
        elif expected is None or known.producer_epoch in (NO_EPOCH, expected[1]):
            after = known._replace(
                producer_epoch=known.producer_epoch + 1,
                last_epoch=NO_EPOCH if expected is None else expected[1],
            )
        elif expected[1] == known.last_epoch:
            after = known  # sent again
        else:
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        after = after.moved(
            EMPTY, now_ms, timeout_ms=timeout_ms, partitions=frozenset(), start_ms=-1
        )
        answer = (after.producer_id, after.producer_epoch)
        return Out([TransactionStored(transactional_id, after)], [(waiter, answer)])

    def _fence(self, known: Transaction, now_ms: int) -> Out:
        """Abort an open transaction over its producer's head: its epoch is over.

        Its producer may learn so, and go on one epoch later, until another takes the id (KIP-588).
        """
        after = known.moved(
            PREPARE_ABORT,
            now_ms,
            producer_epoch=min(known.producer_epoch + 1, FENCED_EPOCH),
            last_epoch=known.producer_epoch,
        )
        out = Out([TransactionStored(known.transactional_id, after)])
        self._end_later(out, after)
        return out

    # Within a transaction

    def _of(self, transactional_id: str, producer: Producer) -> Transaction:
        """The id's transaction, if this is its producer."""
        known = self.transactions.get(transactional_id)
        if known is not None and _is_next(known, producer):
            raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)
        if known is None or known.producer_id != producer[0]:
            raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if known.producer_epoch != producer[1] or producer[1] > LAST_EPOCH:
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        if known.state in PREPARED:
            raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)
        return known

    def add(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: Collection[TopicPartition],
        version: int,
        waiter: Waiter,
        now_ms: int,
    ) -> Out:
        """Take partitions into the transaction, which begins with the first. Raises ApiError."""
        known = self._of(transactional_id, producer)
        if known.state is ONGOING and known.partitions.issuperset(partitions):
            return Out(answers=[(waiter, True)])
        after = known.moved(
            ONGOING,
            now_ms,
            partitions=known.partitions.union(partitions),
            start_ms=known.start_ms if known.state is ONGOING else now_ms,
            version=version,
        )
        return Out([TransactionStored(transactional_id, after)], [(waiter, True)])

    def check(self, transactional_id: str, producer: Producer, partition: TopicPartition) -> None:
        """Is a partition part of the producer's open transaction?

        Raises:
            ApiError: TRANSACTION_ABORTABLE, it is not; or as `add`.
        """
        known = self._of(transactional_id, producer)
        if known.state is not ONGOING or partition not in known.partitions:
            raise ApiError(ErrorCode.TRANSACTION_ABORTABLE)

    # The end

    def end(
        self,
        transactional_id: str,
        producer: Producer,
        commit: bool,
        version: int,
        fresh: ProducerId | None,
        waiter: Waiter,
        now_ms: int,
    ) -> Out:
        """EndTxn: decide how the transaction ends. The answer is the producer's (id, epoch) from now on.

        Raises:
            ApiError: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED: it is another's;
                CONCURRENT_TRANSACTIONS: decided so already, not complete; INVALID_TXN_STATE:
                decided otherwise, or nothing is open.
            ProducerIdNeededError: without `fresh`.
        """
        known = self.transactions.get(transactional_id)
        if known is None:
            raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if _is_next(known, producer):
            raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)
        is_retry = _is_retried_end(known, producer)
        if is_retry and known.state in COMPLETE and known.producer_epoch > LAST_EPOCH:
            raise ApiError(ErrorCode.PRODUCER_FENCED)  # over its head, and there is no epoch left
        if known.producer_id != producer[0] and not is_retry:
            raise ApiError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        is_current = producer[1] == known.producer_epoch <= LAST_EPOCH
        if known.bumps and known.state in PREPARED:
            is_current = False  # the epoch rose with the decision
        if not is_current and not (is_retry and known.state in PREPARED | COMPLETE):
            raise ApiError(ErrorCode.PRODUCER_FENCED)
        if known.state in PREPARED:
            raise ApiError(
                ErrorCode.CONCURRENT_TRANSACTIONS
                if known.commits == commit
                else ErrorCode.INVALID_TXN_STATE
            )
        if known.state in COMPLETE and (is_retry or not known.bumps):
            if known.commits != commit:
                raise ApiError(ErrorCode.INVALID_TXN_STATE)
            answer = (known.producer_id, known.producer_epoch)
            return Out(answers=[(waiter, answer)])
        if known.state is not ONGOING and (commit or version < VERSION_2):
            raise ApiError(ErrorCode.INVALID_TXN_STATE)
        return self._prepare(known, commit, version, fresh, waiter, now_ms)

    def _prepare(
        self,
        known: Transaction,
        commit: bool,
        version: int,
        fresh: ProducerId | None,
        waiter: Waiter,
        now_ms: int,
    ) -> Out:
        after = known.moved(
            PREPARE_COMMIT if commit else PREPARE_ABORT,
            now_ms,
            version=version,
            start_ms=known.start_ms if known.state is ONGOING else now_ms,
        )
        answer = (after.producer_id, after.producer_epoch)
        if version >= VERSION_2:
            if known.is_exhausted:
                after = after._replace(next_producer_id=_given(fresh))
            after = after._replace(
                producer_epoch=known.producer_epoch + 1, last_epoch=known.producer_epoch
            )
            if after.next_producer_id != NO_PRODUCER_ID:
                answer = (after.next_producer_id, 0)
            else:
                answer = (after.producer_id, after.producer_epoch)
        out = Out([TransactionStored(known.transactional_id, after)], [(waiter, answer)])
        self._end_later(out, after)
        return out

    def complete(self, prepared: Transaction, now_ms: int) -> Out:
        """All markers of a prepared transaction are written; of another than ours, nothing follows."""
        known = self.transactions.get(prepared.transactional_id)
        if known is None or known != prepared:
            return Out()
        after = known.moved(
            COMPLETE_COMMIT if known.state is PREPARE_COMMIT else COMPLETE_ABORT,
            now_ms,
            partitions=frozenset(),
        )
        if known.next_producer_id != NO_PRODUCER_ID:
            after = after._replace(
                producer_id=known.next_producer_id,
                producer_epoch=0,
                previous_producer_id=known.producer_id,
                next_producer_id=NO_PRODUCER_ID,
            )
        return Out([TransactionStored(known.transactional_id, after)])


def _given(fresh: ProducerId | None) -> ProducerId:
    if fresh is None:
        raise ProducerIdNeededError
    return fresh


def _is_next(known: Transaction, producer: Producer) -> bool:
    """Whether this is who the producer will be once its transaction is over: it was told so already."""
    if known.state not in PREPARED or not known.bumps:
        return False
    if known.next_producer_id != NO_PRODUCER_ID:
        return producer == (known.next_producer_id, 0)
    return producer == (known.producer_id, known.producer_epoch)


def _may_resume(known: Transaction, expected: Producer) -> bool:
    """Whether the client may be this producer (KIP-360); its epoch is looked at later."""
    return (
        known.producer_epoch == NO_EPOCH
        or known.producer_id == expected[0]
        or (known.previous_producer_id == expected[0] and expected[1] >= LAST_EPOCH)
    )


def _is_retried_end(known: Transaction, producer: Producer) -> bool:
    """Whether this EndTxn was answered before, and its producer does not know (KIP-890)."""
    if not known.bumps:
        return False
    producer_id, epoch = producer
    return (known.producer_id == producer_id and known.producer_epoch == epoch + 1) or (
        known.previous_producer_id == producer_id
        and epoch == LAST_EPOCH
        and known.producer_epoch == 0
    )
