"""Feature levels of a cluster: what is finalized, what every broker supports, and changing it."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.model.errors import ApiError, ErrorCode

FIRST_WITH_FEATURES = 3


class Kind(IntEnum):
    """Of an update (`FeatureUpdate.UpgradeType`)."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


class Feature(NamedTuple):
    name: str
    level: int
    """What is finalized; 0: it is off."""
    low: int
    high: int
    """What every broker that lives supports; nothing if `low` is above."""


async def features(view: ClusterView) -> list[Feature]:
    """Every feature that some broker supports, by name.

    Raises:
        PeerError: a broker that lives does not answer.
        ApiError: UNSUPPORTED_VERSION, there is one that knows no features.
    """
    await view.refresh()
    answers = [await _ask(view, broker.broker_id) for broker in view.cluster.brokers]
    # Who knows a feature says what is finalized of it; who is behind says it wrong.
    answers.sort(key=lambda answer: int(answer.finalized_features_epoch))
    levels: dict[str, int] = {}
    ranges = []
    for answer in answers:
        said = {row.name: row.max_version_level for row in answer.finalized_features}
        supported = {
            row.name: (row.min_version, row.max_version) for row in answer.supported_features
        }
        levels |= {name: said.get(name, 0) for name in {*supported, *said}}
        ranges.append(supported)
    found = []
    for name in sorted(levels):
        each_has = [each.get(name, (0, 0)) for each in ranges]
        low, high = max(low for low, _ in each_has), min(high for _, high in each_has)
        found.append(Feature(name, levels[name], low, high))
    return found


async def _ask(view: ClusterView, broker_id: int) -> Any:
    from ottla import __version__
    from ottla.wire.generated.api_versions import ApiVersionsRequest

    link = await view.link(broker_id)
    version = link.version_of(ApiVersionsRequest)
    if version < FIRST_WITH_FEATURES:
        raise ApiError(ErrorCode.UNSUPPORTED_VERSION, f"broker {broker_id} knows no features")
    answer = await link.request(
        ApiVersionsRequest(client_software_name="ottla", client_software_version=__version__),
        version=version,
        timeout_ms=view.request_timeout_ms,
    )
    check(answer.error_code, about=f"features of broker {broker_id}")
    return answer


async def update_features(
    view: ClusterView, levels: Mapping[str, int], kind: Kind, *, dry_run: bool
) -> None:
    """Finalize levels, all or none.

    Raises:
        ApiError: INVALID_UPDATE_VERSION and the like; its message names the feature.
    """
    from ottla.wire.generated.update_features import FeatureUpdateKey, UpdateFeaturesRequest

    rows = [
        FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=int(kind))
        for name, level in levels.items()
    ]
    request = UpdateFeaturesRequest(
        feature_updates=rows, validate_only=dry_run, timeout_ms=view.request_timeout_ms
    )
    answer = await view.send(request)
    check(answer.error_code, answer.error_message)
    for row in answer.results:
        check(row.error_code, row.error_message)
