"""DescribeQuorum, UpdateFeatures, UnregisterBroker: the cluster as a whole."""

from typing import Any

from ottla.handlers.context import Context
from ottla.metadata import changes, features
from ottla.metadata.controller import Writes
from ottla.metadata.features import FeatureUpdate
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.names import CLUSTER_METADATA
from ottla.wire.generated.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    Listener,
    Node,
    PartitionDataResponse,
    ReplicaState,
    TopicDataResponse,
)
from ottla.wire.generated.unregister_broker import (
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
)
from ottla.wire.generated.update_features import (
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

FIRST_WITH_TIMES = 1
FIRST_WITH_NODES = 2
FIRST_WITH_UPGRADE_TYPE = 1
FIRST_WITHOUT_RESULTS = 2


# The quorum


async def describe_quorum(
    context: Context, request: DescribeQuorumRequest
) -> DescribeQuorumResponse:
    """Tell who keeps the metadata; only the one partition of `__cluster_metadata` has a quorum."""
    asked = [
        (topic.topic_name, [row.partition_index for row in topic.partitions])
        for topic in request.topics
    ]
    if asked == [(CLUSTER_METADATA, [0])]:
        return await _quorum(context)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return DescribeQuorumResponse(
        topics=[
            TopicDataResponse(
                topic_name=name,
                partitions=[
                    PartitionDataResponse(
                        partition_index=number,
                        error_code=unknown,
                        error_message="This server does not host this topic-partition.",
                    )
                    for number in numbers
                ],
            )
            for name, numbers in asked
        ]
    )


async def _quorum(context: Context) -> DescribeQuorumResponse:
    broker = context.broker
    image = broker.image
    try:
        quorum = await broker.quorum()
    except PeerError as error:
        raise ApiError(ErrorCode.REQUEST_TIMED_OUT, str(error)) from error
    now_ms = broker.clock.now_ms() if context.api_version >= FIRST_WITH_TIMES else -1

    def state(replica_id: int, seen: bool) -> ReplicaState:
        return ReplicaState(
            replica_id=replica_id,
            log_end_offset=image.revision if seen else -1,
            last_fetch_timestamp=now_ms if seen else -1,
            last_caught_up_timestamp=now_ms if seen else -1,
        )

    watching = () if quorum.is_here else sorted(image.brokers)
    return DescribeQuorumResponse(
        topics=[
            TopicDataResponse(
                topic_name=CLUSTER_METADATA,
                partitions=[
                    PartitionDataResponse(
                        error_message="",
                        leader_id=quorum.leader,
                        leader_epoch=quorum.term,
                        high_watermark=image.revision,
                        current_voters=[
                            state(each.member_id, each.is_reached) for each in quorum.members
                        ],
                        observers=[state(broker_id, True) for broker_id in watching],
                    )
                ],
            )
        ],
        nodes=[
            Node(
                node_id=each.member_id,
                listeners=[
                    Listener(name=each.listener, host=each.host, port=each.port),
                ],
            )
            for each in quorum.members
        ]
        if context.api_version >= FIRST_WITH_NODES
        else [],
    )


# Features


async def update_features(
    context: Context, request: UpdateFeaturesRequest
) -> UpdateFeaturesResponse:
    """Finalize levels, all or none."""
    versioned = context.api_version >= FIRST_WITH_UPGRADE_TYPE
    updates = [
        FeatureUpdate(
            row.feature,
            row.max_version_level,
            row.upgrade_type if versioned else features.UPGRADE,
        )
        for row in request.feature_updates
    ]
    validate_only = versioned and request.validate_only
    controller = context.broker.broker_id

    def decide(image: Image) -> tuple[Writes, Any]:
        registered = {each.broker_id: each.features for each in image.known_brokers.values()}
        levels = features.update(image.features, updates, controller, registered)
        features.refuse_to_forget(
            levels, (state for topic in image.topics.values() for state in topic.partitions)
        )
        if validate_only or levels == features.finalized(image.features):
            return Writes(), None
        return Writes((changes.features_key(levels),)), None

    await context.broker.control.change(decide)
    response = UpdateFeaturesResponse(error_message=None)
    if context.api_version < FIRST_WITHOUT_RESULTS:
        response.results = [
            UpdatableFeatureResult(feature=update.feature, error_message="NONE")
            for update in updates
        ]
    return response


# Brokers


async def unregister_broker(
    context: Context, request: UnregisterBrokerRequest
) -> UnregisterBrokerResponse:
    """Forget a broker that is gone; its replicas stay assigned to it until they are moved."""
    broker_id = request.broker_id

    def decide(image: Image) -> tuple[Writes, Any]:
        if broker_id in image.brokers:
            # Kafka lets it, and such a broker lives on as a ghost; ours would come back.
            raise ApiError(ErrorCode.INVALID_REQUEST, f"Broker {broker_id} is alive: stop it first")
        if broker_id not in image.known_brokers:
            raise ApiError(
                ErrorCode.BROKER_ID_NOT_REGISTERED,
                f"Broker ID {broker_id} is not currently registered",
            )
        return Writes(deletes=(changes.known_broker_name(broker_id),)), None

    await context.broker.control.change(decide)
    return UnregisterBrokerResponse(error_message=None)
