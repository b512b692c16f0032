"""The records of `__transaction_state` come back as they were written; what cannot be is refused."""

import pytest

from ottla.coordinator.transaction.records import TransactionStored, decode, encode
from ottla.coordinator.transaction.state import Transaction, TxnState
from ottla.model.errors import ProtocolError
from ottla.model.ids import TopicPartition

OPEN = Transaction(
    "t",
    7,
    3,
    60_000,
    TxnState.ONGOING,
    frozenset({TopicPartition("b", 1), TopicPartition("a", 0), TopicPartition("b", 0)}),
    update_ms=20,
    start_ms=10,
    version=2,
    previous_producer_id=6,
    next_producer_id=8,
)


@pytest.mark.parametrize(
    "transaction",
    [OPEN, OPEN._replace(state=TxnState.EMPTY, partitions=frozenset()), None],
)
def test_what_is_written_is_read(transaction: Transaction | None) -> None:
    record = TransactionStored("t", transaction)
    assert decode(*encode(record)) == record


def test_bytes_are_those_of_the_format() -> None:
    key, value = encode(
        TransactionStored(
            "t", OPEN._replace(partitions=frozenset({TopicPartition("a", 0)}), version=0)
        )
    )
    assert key == b"\0\0" + b"\0\1t"
    assert value is not None
    assert value[:2] == b"\0\1"  # version
    assert value[2:10] == (7).to_bytes(8, "big")
    assert value[10:12] == (3).to_bytes(2, "big")
    assert value[12:16] == (60_000).to_bytes(4, "big")
    assert value[16:17] == b"\1"  # Ongoing


def test_types_not_known_are_passed_over_and_broken_ones_refused() -> None:
    key, value = encode(TransactionStored("t", OPEN))
    assert value is not None
    assert decode(b"\0\x09" + key[2:], value) is None
    with pytest.raises(ProtocolError):
        decode(key, value[:16] + b"\x63" + value[17:])
    with pytest.raises(ProtocolError):
        decode(key, value[:12])
