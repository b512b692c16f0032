"""The settings of the transaction coordinator."""

from dataclasses import dataclass


@dataclass(slots=True)
class TransactionSettings:
    """Kafka's settings, by their names with '_' for '.'."""

    transaction_max_timeout_ms: int = 900_000
    transaction_remove_expired_transaction_cleanup_interval_ms: int = 3_600_000
    transactional_id_expiration_ms: int = 604_800_000
    transaction_partition_verification_enable: bool = True
    add_partitions_to_txn_retry_backoff_ms: int = 20
    add_partitions_to_txn_retry_backoff_max_ms: int = 100
