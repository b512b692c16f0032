"""InitProducerId, and where coordinators are."""

from ottla.handlers.context import Context
from ottla.handlers.topics import ensure_internal_topic
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import uuid_from_text
from ottla.model.isolation import CoordinatorType
from ottla.model.names import CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE
from ottla.wire.generated.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from ottla.wire.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

TOPICS = {
    CoordinatorType.GROUP: CONSUMER_OFFSETS,
    CoordinatorType.TRANSACTION: TRANSACTION_STATE,
}


async def init_producer_id(
    context: Context, request: InitProducerIdRequest
) -> InitProducerIdResponse:
    """Hand out a producer id; its epoch starts at 0 (KIP-98).

    A transactional id has its producer's next epoch, and what it had open is aborted.
    """
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        return _refused(ErrorCode.INVALID_REQUEST)
    if request.transactional_id is not None:
        return await _init_transactional(context, request, request.transactional_id)
    try:
        producer_id = await context.broker.producer_ids.next()
    except ApiError as error:
        return _refused(error.code)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)


async def _init_transactional(
    context: Context, request: InitProducerIdRequest, transactional_id: str
) -> InitProducerIdResponse:
    if not context.authorize("WRITE", "TRANSACTIONAL_ID", transactional_id):
        return _refused(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if not transactional_id:
        return _refused(ErrorCode.INVALID_REQUEST)
    if request.enable2_pc:
        # As Kafka where `transaction.two.phase.commit.enable` is off, which here it always is.
        return _refused(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if request.keep_prepared_txn:
        return _refused(ErrorCode.UNSUPPORTED_VERSION)
    expected = None
    if request.producer_id != -1:
        expected = (request.producer_id, request.producer_epoch)
    try:
        producer_id, epoch = await context.broker.transactions.init_producer_id(
            transactional_id, request.transaction_timeout_ms, expected
        )
    except ApiError as error:
        code = error.code
        if code is ErrorCode.PRODUCER_FENCED and context.api_version < FIRST_WITH_FENCED:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        return _refused(code)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=epoch)


FIRST_WITH_FENCED = 4
"""Before, clients know INVALID_PRODUCER_EPOCH only."""


def _refused(code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)


FIRST_WITH_SHARES = 6
"""Before, nobody asks for the keeper of a share partition's state."""


async def find_coordinator(
    context: Context, request: FindCoordinatorRequest
) -> FindCoordinatorResponse:
    keys = request.coordinator_keys if context.api_version >= 4 else [request.key]
    found = [await _find(context, request.key_type, key) for key in keys]
    if context.api_version >= 4:
        return FindCoordinatorResponse(coordinators=found)
    only = found[0]
    return FindCoordinatorResponse(
        error_code=only.error_code,
        # Versions 1 to 3 say success in words.
        error_message=only.error_message if only.error_code else ErrorCode.NONE.name,
        node_id=only.node_id,
        host=only.host,
        port=only.port,
    )


async def _find(context: Context, key_type: int, key: str) -> Coordinator:
    try:
        if key_type == CoordinatorType.SHARE:
            if context.api_version < FIRST_WITH_SHARES:
                raise ApiError(ErrorCode.INVALID_REQUEST, "")
            return await _find_share(context, key)
        if key_type not in TOPICS:
            raise ApiError(ErrorCode.INVALID_REQUEST, f"Unknown coordinator type {key_type}")
        name = TOPICS[CoordinatorType(key_type)]
        await ensure_internal_topic(context.broker, name)
        topic = context.broker.image.topics[name]
        if key_type == CoordinatorType.TRANSACTION:
            number = context.broker.transactions.partition_for(key)
        else:
            context.broker.groups.looked_for(key, context.connection_id)
            number = context.broker.groups.partition_for(key)
        leader = topic.partitions[number].leader
        if leader < 0:
            raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    except ApiError as error:
        return Coordinator(
            key=key,
            node_id=-1,
            host="",
            port=-1,
            error_code=error.code,
            error_message=error.message,
        )
    host, port = context.address_of(leader)
    return Coordinator(key=key, node_id=leader, host=host, port=port, error_message="")


async def _find_share(context: Context, key: str) -> Coordinator:
    """Who keeps the state of share partition "group:topic id:partition". Raises ApiError."""
    group_id, _, rest = key.rpartition(":")[0].rpartition(":")
    number = key.rpartition(":")[2]
    try:
        uuid_from_text(rest)
        good = bool(group_id) and number.isascii() and number.removeprefix("-").isdigit()
    except ValueError:
        good = False
    if not good:
        raise ApiError(ErrorCode.INVALID_REQUEST, "")
    await ensure_internal_topic(context.broker, SHARE_GROUP_STATE)
    topic = context.broker.image.topics[SHARE_GROUP_STATE]
    leader = topic.partitions[context.broker.shares.state.partition_for(key)].leader
    if leader < 0:
        raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    host, port = context.address_of(leader)
    return Coordinator(key=key, node_id=leader, host=host, port=port, error_message="")
