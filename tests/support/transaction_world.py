"""A transaction shard with its log and its clock: what the runtime does around it, done at once."""

from typing import Any

from ottla.coordinator.outcome import Call, Outcome, Waiter
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.shard import Producer, ProducerIdNeededError, TransactionShard
from ottla.coordinator.transaction.state import Transaction
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition

TXN = "t"
P0, P1 = TopicPartition("out", 0), TopicPartition("out", 1)


class TransactionWorld:
    """Every call answers a value or the name of an error; `prepared` has what needs markers."""

    def __init__(self, **settings: int) -> None:
        self.settings = TransactionSettings(**settings)  # type: ignore[arg-type]
        self.now_ms = 1_000
        self.next_id = 100
        self.log: list[tuple[bytes, bytes | None]] = []
        self.refuse = False
        self.prepared: list[Transaction] = []
        self.shard = self._new_shard()
        self._carry_out(self.shard.loaded(self.now_ms))

    def _new_shard(self) -> TransactionShard:
        return TransactionShard(self.settings, self.prepared.append)

    @property
    def known(self) -> Transaction:
        return self.shard.transactions[TXN]

    @property
    def producer(self) -> Producer:
        return self.known.producer_id, self.known.producer_epoch

    @property
    def state(self) -> str:
        return self.known.state.label

    def _carry_out(self, outcome: Outcome[Any]) -> Any:
        if outcome.records and self.refuse:
            return "refused"
        for record in outcome.records:
            self.log.append(self.shard.encode(record))
            self.shard.apply(record, len(self.log), -1)
        answer = None
        for waiter, value in outcome.answers:
            if isinstance(waiter, Call):
                waiter.call()
            else:
                answer = value.code.name if isinstance(value, ApiError) else value
        return answer

    def _ask(self, decide: Any) -> Any:
        fresh = None
        while True:
            try:
                return self._carry_out(decide(fresh, Waiter()))
            except ProducerIdNeededError:
                fresh, self.next_id = self.next_id, self.next_id + 1
            except ApiError as error:
                return error.code.name

    def init(self, expected: Producer | None = None, timeout_ms: int = 60_000) -> Any:
        return self._ask(
            lambda fresh, waiter: self.shard.init(
                TXN, timeout_ms, expected, fresh, waiter, self.now_ms
            )
        )

    def add(self, producer: Producer, *partitions: TopicPartition, version: int = 2) -> Any:
        return self._ask(
            lambda fresh, waiter: self.shard.add(
                TXN, producer, partitions or (P0,), version, waiter, self.now_ms
            )
        )

    def check(self, producer: Producer, partition: TopicPartition = P0) -> str:
        try:
            self.shard.check(TXN, producer, partition)
        except ApiError as error:
            return error.code.name
        return ErrorCode.NONE.name

    def end(self, producer: Producer, commit: bool = True, version: int = 2) -> Any:
        return self._ask(
            lambda fresh, waiter: self.shard.end(
                TXN, producer, commit, version, fresh, waiter, self.now_ms
            )
        )

    def complete(self) -> Any:
        """The markers of the newest prepared transaction are written."""
        return self._carry_out(self.shard.complete(self.prepared[-1], self.now_ms))

    def advance(self, by_ms: int) -> None:
        """Let time pass, deadline by deadline."""
        end_ms = self.now_ms + by_ms
        while (when_ms := self.shard.next_deadline_ms()) is not None and when_ms <= end_ms:
            self.now_ms = max(self.now_ms, when_ms)
            outcome = self.shard.wake(self.now_ms)
            if outcome is not None:
                self._carry_out(outcome)
        self.now_ms = end_ms

    def restart(self) -> None:
        """A new shard, with the whole log applied."""
        self.prepared = []
        self.shard = self._new_shard()
        for offset, (key, value) in enumerate(self.log):
            record = self.shard.decode(key, value)
            assert record is not None
            self.shard.apply(record, offset, -1)
        self._carry_out(self.shard.loaded(self.now_ms))
