"""ApiVersions: what is implemented, and the feature levels (KIP-35, KIP-511, KIP-584)."""

import re

from ottla.handlers.context import Context
from ottla.handlers.registry import ours
from ottla.metadata.features import SUPPORTED, finalized
from ottla.model.errors import ErrorCode
from ottla.wire.generated.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

PRODUCE = 0
OTTLA = "ottla"
"""The software name of our own client."""

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def api_versions(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    if context.api_version >= 3:
        name, version = request.client_software_name, request.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST)
        context.client.software = (name, version)
    served = context.broker.supported
    if context.client.software[0] == OTTLA:
        served = [*served, *ours()]
    return ApiVersionsResponse(
        api_keys=[_version(*row) for row in served],
        supported_features=[
            SupportedFeatureKey(name=name, min_version=low, max_version=high)
            for name, (low, high) in SUPPORTED.items()
            # Before v4 a lowest level of 0 may not be said (KAFKA-17011).
            if low > 0 or context.api_version >= 4
        ],
        finalized_features_epoch=context.broker.image.revision,
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in finalized(context.broker.image.features).items()
            if level > 0
        ],
    )


def unsupported_version(supported: tuple[int, int]) -> ApiVersionsResponse:
    """The v0 answer to a version we do not know, with the range to try again within."""
    low, high = supported
    return ApiVersionsResponse(
        error_code=ErrorCode.UNSUPPORTED_VERSION,
        api_keys=[ApiVersion(api_key=18, min_version=low, max_version=high)],
    )


def _version(key: int, low: int, high: int) -> ApiVersion:
    # librdkafka takes a broker without Produce v0 for one without idempotence (KAFKA-18659).
    return ApiVersion(api_key=key, min_version=0 if key == PRODUCE else low, max_version=high)
