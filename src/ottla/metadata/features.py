"""Feature levels (KIP-584, KIP-778, KIP-1022): what this build can do, and what the cluster agreed on.

A level is finalized by being kept in the store. While brokers of two builds run side by side it is
the older one's; raised, nobody goes back behind it without lowering it before. `ottla.version` gates
what Ottla itself writes for other brokers, or for a later start, to read:

    level  what a cluster does from then on
    1      what was there before levels were finalized
    2      controllers count what they decide (`COUNTS_DECISIONS`); a partition says whose log
           directory is offline (`LISTS_OFFLINE`)

What is new in such a format is written only from its level on, and what was written is still
understood, or passed over, below it: a level can be lowered while brokers run.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ottla.metadata.image import PartitionImage
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import BrokerId

METADATA_VERSION = "metadata.version"
OTTLA_VERSION = "ottla.version"

COUNTS_DECISIONS = LISTS_OFFLINE = NEWEST = 2

Ranges = Mapping[str, tuple[int, int]]
"""Lowest and highest level of each feature."""

EARLIER: Ranges = MappingProxyType(
    {
        "group.version": (0, 1),
        METADATA_VERSION: (7, 30),
        OTTLA_VERSION: (1, 1),
        "share.version": (0, 1),
        "streams.version": (0, 1),
        "transaction.version": (0, 2),
    }
)
"""Of builds that do not say what they support: they are gone, and this never changes."""

UNSET: Mapping[str, int] = MappingProxyType({name: high for name, (_, high) in EARLIER.items()})
"""Levels of a cluster that finalized none: such builds made it."""

SUPPORTED: Ranges = MappingProxyType({**EARLIER, OTTLA_VERSION: (1, NEWEST)})
"""What is really there in this build."""

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


class FeatureUpdate(NamedTuple):
    feature: str
    level: int
    upgrade_type: int


def finalized(stored: Mapping[str, int]) -> dict[str, int]:
    """The level of every feature, in the order of `SUPPORTED`; 0 where it is off.

    Features follow that are not known here.
    """
    known = {name: stored.get(name, UNSET.get(name, 0)) for name in SUPPORTED}
    return {**known, **stored}


def not_used(stored: Mapping[str, int]) -> str | None:
    """Which levels this build supports that are not finalized, in words; None if all are."""
    levels = finalized(stored)
    higher = [f"{name} {high}" for name, (_, high) in SUPPORTED.items() if levels[name] < high]
    return ", ".join(higher) or None


def newest() -> dict[str, int]:
    """The levels that a new cluster begins with."""
    return {name: high for name, (_, high) in SUPPORTED.items()}


def level(stored: Mapping[str, int], feature: str) -> int:
    return stored.get(feature, UNSET.get(feature, 0))


# Who supports what is finalized


def not_supported(stored: Mapping[str, int], ranges: Ranges) -> str | None:
    """What is finalized beyond what a build supports, said of the build; None if nothing is.

    Empty ranges are those of a build that does not say them.
    """
    ranges = ranges or EARLIER
    for name, finalized_level in finalized(stored).items():
        low, high = ranges.get(name, (0, 0))
        if finalized_level and not low <= finalized_level <= high:
            return f"supports {name} {low} to {high}, and {finalized_level} is finalized"
    return None


def refuse_unsupported(stored: Mapping[str, int], ranges: Ranges) -> None:
    """Raise StorageError if more is finalized than a build with these ranges supports."""
    problem = not_supported(stored, ranges)
    if problem is not None:
        raise StorageError(
            f"this build of Ottla {problem} in its cluster: start a build that supports it, or "
            "lower the level with such a build first (docs/upgrade.md)"
        )


# Finalizing


def refuse_to_forget(levels: Mapping[str, int], partitions: Iterable[PartitionImage]) -> None:
    """See that what partitions say can still be said at these levels.

    Raises:
        ApiError: INVALID_UPDATE_VERSION, a replica is listed as offline or doubtful: an older build
            forgets it with the next change, and may elect who lacks what was committed.
    """
    if level(levels, OTTLA_VERSION) >= LISTS_OFFLINE:
        return
    if any(state.offline_replicas or state.doubtful for state in partitions):
        raise ApiError(
            ErrorCode.INVALID_UPDATE_VERSION,
            f"{OTTLA_VERSION} cannot be below {LISTS_OFFLINE} while a replica is in an offline log "
            "directory, or was and is not in sync again: bring it back, or move the replica, first.",
        )


def update(
    stored: Mapping[str, int],
    updates: Sequence[FeatureUpdate],
    controller: BrokerId,
    registered: Mapping[BrokerId, Ranges],
) -> dict[str, int]:
    """The levels to be stored after all of the updates; `registered` are all brokers, dead or alive.

    Raises:
        ApiError: INVALID_UPDATE_VERSION for the first that cannot be; then none is done.
    """
    levels = finalized(stored)
    for wanted in updates:
        problem = _problem(levels.get(wanted.feature), wanted, controller, registered)
        if problem is not None:
            raise ApiError(
                ErrorCode.INVALID_UPDATE_VERSION,
                "The update failed for all features since the following feature had an error: "
                + problem,
            )
        levels[wanted.feature] = wanted.level
    return levels


def _problem(
    present: int | None,
    wanted: FeatureUpdate,
    controller: BrokerId,
    registered: Mapping[BrokerId, Ranges],
) -> str | None:
    """What is wrong with an update, in Kafka's words."""
    invalid = f"Invalid update version {wanted.level} for feature {wanted.feature}. "
    if wanted.upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        return invalid + "The controller does not support the given upgrade type."
    if wanted.level < 0:
        return invalid + "A feature version cannot be less than 0."
    supported = SUPPORTED.get(wanted.feature)
    if supported is None or present is None:
        if wanted.level:
            return invalid + f"Local controller {controller} does not support this feature."
        return invalid + f"Feature {wanted.feature} not found."
    low, high = supported
    if not low <= wanted.level <= high:
        return invalid + f"Local controller {controller} only supports versions {low}-{high}"
    for broker_id, ranges in registered.items():
        low, high = (ranges or EARLIER).get(wanted.feature, (0, 0))
        if wanted.level and not low <= wanted.level <= high:
            return invalid + f"Broker {broker_id} only supports versions {low}-{high}"
    if wanted.level > present and wanted.upgrade_type != UPGRADE:
        return invalid + "Can't downgrade to a newer version."
    if wanted.level >= present:
        return None
    if wanted.upgrade_type == UPGRADE:
        return (
            invalid + "Can't downgrade the version of this feature without setting the upgrade "
            "type to either safe or unsafe downgrade."
        )
    if wanted.feature == METADATA_VERSION:
        why = (
            "Refusing to perform the requested downgrade because it might delete metadata information."
            if wanted.upgrade_type == SAFE_DOWNGRADE
            else "Unsafe metadata downgrade is not supported in this version."
        )
        return f"Unsupported metadata.version downgrade from {present} to {wanted.level}. {why}"
    return None
