"""Feature levels (KIP-584, KIP-778): what this broker can do, and what the cluster agreed on.

A level is finalized by being kept in the store; where none is, it is the highest that there is.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId

METADATA_VERSION = "metadata.version"

SUPPORTED: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "group.version": (0, 1),
        METADATA_VERSION: (7, 30),
        "share.version": (0, 1),
        "streams.version": (0, 1),
        "transaction.version": (0, 2),
    }
)
"""Lowest and highest level of what is really there."""

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


class FeatureUpdate(NamedTuple):
    feature: str
    level: int
    upgrade_type: int


def finalized(stored: Mapping[str, int]) -> dict[str, int]:
    """The level of every feature, in the order of `SUPPORTED`; 0 where it is off."""
    return {name: stored.get(name, high) for name, (_, high) in SUPPORTED.items()}


def update(
    stored: Mapping[str, int], updates: Sequence[FeatureUpdate], controller: BrokerId
) -> dict[str, int]:
    """The levels to be stored after all of the updates.

    Raises:
        ApiError: FEATURE_UPDATE_FAILED or INVALID_UPDATE_VERSION for the first that cannot be;
            then none is done.
    """
    levels = finalized(stored)
    for wanted in updates:
        problem = _problem(levels.get(wanted.feature), wanted, controller)
        if problem is not None:
            raise ApiError(
                ErrorCode.INVALID_UPDATE_VERSION,
                "The update failed for all features since the following feature had an error: "
                + problem,
            )
        levels[wanted.feature] = wanted.level
    return levels


def _problem(present: int | None, wanted: FeatureUpdate, controller: BrokerId) -> str | None:
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
