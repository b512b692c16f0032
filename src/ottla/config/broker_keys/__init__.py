"""Broker settings: every one Kafka 4.3.1 has that means something outside a JVM and a KRaft quorum."""

from ottla.config.broker_keys.cluster import CLUSTER_KEYS
from ottla.config.broker_keys.groups import GROUP_KEYS
from ottla.config.broker_keys.log import LOG_KEYS
from ottla.config.broker_keys.network import NETWORK_KEYS
from ottla.config.broker_keys.security import SECURITY_KEYS
from ottla.config.broker_keys.tiered import TIERED_KEYS
from ottla.config.broker_keys.transactions import TRANSACTION_KEYS
from ottla.config.key import table

BROKER_KEYS = table(
    NETWORK_KEYS,
    CLUSTER_KEYS,
    LOG_KEYS,
    GROUP_KEYS,
    TRANSACTION_KEYS,
    SECURITY_KEYS,
    TIERED_KEYS,
)

__all__ = ["BROKER_KEYS"]
