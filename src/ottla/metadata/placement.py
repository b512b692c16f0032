"""Which brokers hold a new partition (pure)."""

from collections.abc import Mapping, Sequence

from ottla.metadata.image import BrokerImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId


def place(
    brokers: Mapping[BrokerId, BrokerImage],
    partitions: int,
    replication_factor: int,
    *,
    first_partition: int,
    start: int = 0,
) -> list[list[BrokerId]]:
    """Replicas of each new partition, the leader first.

    Leaders go round robin over the brokers, from the broker `start` on; the other replicas of the
    partitions that one broker leads go to different ones, and to other racks as long as there are
    any.

    Raises:
        ApiError: INVALID_REPLICATION_FACTOR, there are fewer brokers than replicas asked for.
    """
    usable = _by_alternating_racks([b for b in brokers.values() if b.is_usable])
    if replication_factor > len(usable):
        raise ApiError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {replication_factor} time(s): The target "
            f"replication factor of {replication_factor} cannot be reached because only "
            f"{len(usable)} broker(s) are registered or some brokers have all their log "
            "directories cordoned.",
        )
    return [
        _replicas(usable, start + first_partition + number, replication_factor)
        for number in range(partitions)
    ]


def _by_alternating_racks(brokers: Sequence[BrokerImage]) -> list[BrokerImage]:
    """One broker of each rack, then the next of each, as long as there are any."""
    racks: dict[str | None, list[BrokerImage]] = {}
    for broker in sorted(brokers, key=lambda broker: broker.broker_id):
        racks.setdefault(broker.rack, []).append(broker)
    rounds = max(map(len, racks.values()), default=0)
    in_order = sorted(racks, key=lambda rack: (rack is not None, rack or ""))
    return [racks[rack][n] for n in range(rounds) for rack in in_order if n < len(racks[rack])]


def _replicas(usable: Sequence[BrokerImage], position: int, factor: int) -> list[BrokerId]:
    count = len(usable)
    leader = position % count
    rest = count - 1
    # The second replica of a broker's n-th partition is not where that of its n-1-th was.
    shift = position // count
    others = [usable[(leader + 1 + (shift + n) % rest) % count] for n in range(rest)]
    chosen = [usable[leader]]
    while len(chosen) < factor:
        racks = {broker.rack for broker in chosen}
        elsewhere = [broker for broker in others if broker.rack not in racks]
        chosen.append((elsewhere or others)[0])
        others.remove(chosen[-1])
    return [broker.broker_id for broker in chosen]
