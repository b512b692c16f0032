"""The answer to a request that failed as a whole: with one error, or with one for each item."""

import logging
from collections.abc import Callable
from typing import Any

from ottla.handlers.context import Context
from ottla.model.errors import ApiError, ErrorCode, ProtocolError, StorageError
from ottla.wire.apis import response_class
from ottla.wire.message import Message

log = logging.getLogger("ottla.dispatch")


def per_item(
    request: Message, version: int, code: ErrorCode, message: str | None
) -> Message | None:
    """The response with `code` at every item of the request; None where there is no such."""
    name = type(request).__name__
    fill = _FILL.get(name)
    return None if fill is None else fill(request, version, code, message)


def _create_topics(request: Any, version: int, code: ErrorCode, message: str | None) -> Message:
    from ottla.wire.generated.create_topics import CreatableTopicResult, CreateTopicsResponse

    return CreateTopicsResponse(
        topics=[
            CreatableTopicResult(name=topic.name, error_code=code, error_message=message)
            for topic in request.topics
        ]
    )


def _create_partitions(request: Any, version: int, code: ErrorCode, message: str | None) -> Message:
    from ottla.wire.generated.create_partitions import (
        CreatePartitionsResponse,
        CreatePartitionsTopicResult,
    )

    return CreatePartitionsResponse(
        results=[
            CreatePartitionsTopicResult(name=topic.name, error_code=code, error_message=message)
            for topic in request.topics
        ]
    )


def _alter_configs(request: Any, version: int, code: ErrorCode, message: str | None) -> Message:
    from ottla.wire.generated.alter_configs import (
        AlterConfigsResourceResponse,
        AlterConfigsResponse,
    )

    return AlterConfigsResponse(
        responses=[
            AlterConfigsResourceResponse(
                resource_type=one.resource_type,
                resource_name=one.resource_name,
                error_code=code,
                error_message=message,
            )
            for one in request.resources
        ]
    )


def _incremental_alter_configs(
    request: Any, version: int, code: ErrorCode, message: str | None
) -> Message:
    from ottla.wire.generated.incremental_alter_configs import (
        AlterConfigsResourceResponse,
        IncrementalAlterConfigsResponse,
    )

    return IncrementalAlterConfigsResponse(
        responses=[
            AlterConfigsResourceResponse(
                resource_type=one.resource_type,
                resource_name=one.resource_name,
                error_code=code,
                error_message=message,
            )
            for one in request.resources
        ]
    )


def _delete_topics(request: Any, version: int, code: ErrorCode, message: str | None) -> Message:
    from ottla.wire.generated.delete_topics import DeletableTopicResult, DeleteTopicsResponse

    asked = (
        [(topic.name, topic.topic_id) for topic in request.topics]
        if version >= 6
        else [(name, bytes(16)) for name in request.topic_names]
    )
    return DeleteTopicsResponse(
        responses=[
            DeletableTopicResult(
                name=name, topic_id=topic_id, error_code=code, error_message=message
            )
            for name, topic_id in asked
        ]
    )


def _metadata(request: Any, version: int, code: ErrorCode, message: str | None) -> Message:
    from ottla.wire.generated.metadata import MetadataResponse, MetadataResponseTopic

    return MetadataResponse(
        topics=[
            MetadataResponseTopic(
                error_code=code,
                name=topic.name if topic.name is not None or version >= 12 else "",
                topic_id=topic.topic_id,
            )
            for topic in request.topics or []
        ]
    )


def _produce(request: Any, version: int, code: ErrorCode, message: str | None) -> Message | None:
    if request.acks == 0:
        return None  # who wants no answer learns by losing the connection
    from ottla.wire.generated.produce import (
        PartitionProduceResponse,
        ProduceResponse,
        TopicProduceResponse,
    )

    return ProduceResponse(
        responses=[
            TopicProduceResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    PartitionProduceResponse(
                        index=data.index, error_code=code, error_message=message, base_offset=-1
                    )
                    for data in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )


def _list_offsets(request: Any, version: int, code: ErrorCode, message: str | None) -> Message:
    from ottla.wire.generated.list_offsets import (
        ListOffsetsPartitionResponse,
        ListOffsetsResponse,
        ListOffsetsTopicResponse,
    )

    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[
                    ListOffsetsPartitionResponse(
                        partition_index=row.partition_index, error_code=code
                    )
                    for row in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


_FILL: dict[str, Callable[[Any, int, ErrorCode, str | None], Message | None]] = {
    "AlterConfigsRequest": _alter_configs,
    "IncrementalAlterConfigsRequest": _incremental_alter_configs,
    "CreateTopicsRequest": _create_topics,
    "CreatePartitionsRequest": _create_partitions,
    "DeleteTopicsRequest": _delete_topics,
    "MetadataRequest": _metadata,
    "ProduceRequest": _produce,
    "ListOffsetsRequest": _list_offsets,
}


def failure(context: Context, request: Message, error: Exception) -> Message:
    """The answer to a request whose handler raised.

    Raises:
        ProtocolError: the response has no place for an error, so the connection closes.
    """
    if isinstance(error, ApiError):
        code, message = error.code, error.message
    elif isinstance(error, StorageError):
        code, message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
    else:
        log.exception("%s from %s failed", type(request).__name__, context.client.host)
        code, message = ErrorCode.UNKNOWN_SERVER_ERROR, None
    return error_response(context.api.key, context.api_version, request, code, message)


def error_response(
    api_key: int, version: int, request: Message, code: ErrorCode, message: str | None
) -> Message:
    """A response that carries `code` for the whole request, or for each thing it asked about."""
    response: Any = response_class(api_key)()
    if _has_field(response, "error_code", version):
        response.error_code = code
        if _has_field(response, "error_message", version):
            response.error_message = message
        return response  # type: ignore[no-any-return]
    filled = per_item(request, version, code, message)
    if filled is None:
        raise ProtocolError(f"{type(request).__name__} failed: {code.name}")
    return filled


def _has_field(response: Any, name: str, version: int) -> bool:
    return any(row[0] == name and row[2] <= version <= row[3] for row in response.FIELDS)
