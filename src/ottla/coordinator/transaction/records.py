"""The records of `__transaction_state`, in Kafka's format.

A key is the transactional id, behind its type 0; a value, behind its version, all
that is known of it; no value, and the id is forgotten. Version 1 is written, which
has producer ids before and after and the client's transaction version as tagged fields.
"""

from typing import NamedTuple

from ottla.coordinator.transaction.state import Transaction, TxnState
from ottla.model.errors import ProtocolError
from ottla.model.ids import TopicPartition
from ottla.wire.generated.records.transaction_log_key import TransactionLogKey
from ottla.wire.generated.records.transaction_log_value import (
    PartitionsSchema,
    TransactionLogValue,
)
from ottla.wire.prefixed import (
    decode_key,
    decode_versioned,
    encode_key,
    encode_versioned,
    read_prefix,
)

WRITTEN_VERSION = 1


class TransactionStored(NamedTuple):
    """What is known of a transactional id now, or (None) that it is forgotten."""

    transactional_id: str
    transaction: Transaction | None


def encode(record: TransactionStored) -> tuple[bytes, bytes | None]:
    """Return key and value as they stand in the log."""
    key = encode_key(TransactionLogKey(transactional_id=record.transactional_id))
    known = record.transaction
    if known is None:
        return key, None
    topics: dict[str, list[int]] = {}
    for topic, partition in known.partitions:
        topics.setdefault(topic, []).append(partition)
    value = TransactionLogValue(
        producer_id=known.producer_id,
        previous_producer_id=known.previous_producer_id,
        next_producer_id=known.next_producer_id,
        producer_epoch=known.producer_epoch,
        transaction_timeout_ms=known.timeout_ms,
        transaction_status=known.state,
        transaction_partitions=None
        if known.state is TxnState.EMPTY
        else [
            PartitionsSchema(topic=topic, partition_ids=sorted(topics[topic]))
            for topic in sorted(topics)
        ],
        transaction_last_update_timestamp_ms=known.update_ms,
        transaction_start_timestamp_ms=known.start_ms,
        client_transaction_version=known.version,
    )
    return key, encode_versioned(value, WRITTEN_VERSION)


def decode(key: bytes, value: bytes | None) -> TransactionStored | None:
    """Return the record, or None for a type not known here.

    Raises:
        ProtocolError: the bytes are malformed, or no such state exists.
    """
    if read_prefix(key) != TransactionLogKey.RECORD_TYPE:
        return None
    transactional_id = decode_key(TransactionLogKey, key).transactional_id
    if value is None:
        return TransactionStored(transactional_id, None)
    stored = decode_versioned(TransactionLogValue, value)
    try:
        state = TxnState(stored.transaction_status)
    except ValueError:
        raise ProtocolError(f"no transaction state {stored.transaction_status}") from None
    if state in (TxnState.DEAD, TxnState.PREPARE_EPOCH_FENCE):
        raise ProtocolError(f"state {state.name} is never written")
    partitions = frozenset(
        TopicPartition(topic.topic, number)
        for topic in stored.transaction_partitions or ()
        for number in topic.partition_ids
    )
    transaction = Transaction(
        transactional_id,
        stored.producer_id,
        stored.producer_epoch,
        stored.transaction_timeout_ms,
        state,
        partitions,
        stored.transaction_last_update_timestamp_ms,
        stored.transaction_start_timestamp_ms,
        stored.client_transaction_version,
        stored.previous_producer_id,
        stored.next_producer_id,
    )
    return TransactionStored(transactional_id, transaction)
