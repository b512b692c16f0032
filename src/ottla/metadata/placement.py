"""Which brokers hold a new partition (pure)."""

from collections.abc import Mapping

from ottla.metadata.image import BrokerImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId


def place(
    brokers: Mapping[BrokerId, BrokerImage],
    partitions: int,
    replication_factor: int,
    *,
    first_partition: int,
) -> list[list[BrokerId]]:
    """Replicas of each new partition, the leader first, round robin over the brokers.

    Raises:
        ApiError: INVALID_REPLICATION_FACTOR, there are fewer brokers than replicas asked for.
    """
    usable = sorted(broker.broker_id for broker in brokers.values() if not broker.fenced)
    if replication_factor > len(usable):
        raise ApiError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {replication_factor} time(s): The target "
            f"replication factor of {replication_factor} cannot be reached because only "
            f"{len(usable)} broker(s) are registered or some brokers have all their log "
            "directories cordoned.",
        )
    return [
        [
            usable[(first_partition + number + replica) % len(usable)]
            for replica in range(replication_factor)
        ]
        for number in range(partitions)
    ]
