"""AlterReplicaLogDirs, DescribeLogDirs: where the replicas lie, and where they should."""

import logging
from collections.abc import Coroutine
from typing import Any

from ottla.handlers.context import Context
from ottla.handlers.slices import answer
from ottla.metadata.controller import is_cordoned
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import Offset, TopicPartition
from ottla.model.steps import Steps
from ottla.replica.partition import Partition
from ottla.storage.log import Log
from ottla.wire.generated.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)
from ottla.wire.generated.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

log = logging.getLogger("ottla.log_dirs")


def describe_log_dirs(
    context: Context, request: DescribeLogDirsRequest
) -> DescribeLogDirsResponse | Coroutine[Any, Any, DescribeLogDirsResponse]:
    broker = context.broker
    count = len(broker.replicas) * len(broker.logs.directories)
    return answer(broker.transport_clock, count, _describe(context, request))


def _describe(context: Context, request: DescribeLogDirsRequest) -> Steps[DescribeLogDirsResponse]:
    wanted = None
    if request.topics is not None:
        wanted = {(t.topic, number) for t in request.topics for number in t.partitions}
    results = []
    cordoned = is_cordoned(context.broker.image, context.broker.broker_id)
    for directory in context.broker.logs.directories:
        result = DescribeLogDirsResult(log_dir=directory.path, is_cordoned=cordoned)
        results.append(result)
        if not directory.is_online:
            result.error_code = ErrorCode.KAFKA_STORAGE_ERROR
            continue
        try:
            space = directory.disk.space(directory.path)
        except OSError as error:
            log.warning("the space of %s is not known: %s", directory.path, error)
        else:
            result.total_bytes, result.usable_bytes = space.total_bytes, space.usable_bytes
            budget = directory.budget
            if budget is not None:
                result.total_bytes = min(space.total_bytes, budget.limit_bytes)
                result.usable_bytes = min(space.usable_bytes, max(0, budget.left_bytes))
        topics: dict[str, DescribeLogDirsTopic] = {}
        for replica in list(context.broker.replicas):
            yield
            if wanted is not None and (replica.topic, replica.partition) not in wanted:
                continue
            rows = []
            held = replica.log
            if held.directory is directory:
                rows.append(_row(replica, held, replica.high_watermark, is_future=False))
            future = context.broker.logs.futures.get(replica.name)
            if future is not None and future.directory is directory:
                rows.append(_row(replica, future, held.log_end_offset, is_future=True))
            if rows:
                topic = topics.setdefault(replica.topic, DescribeLogDirsTopic(name=replica.topic))
                topic.partitions += rows
        result.topics = list(topics.values())
    return DescribeLogDirsResponse(results=results)


def _row(
    replica: Partition, held: Log, wanted_end: Offset, *, is_future: bool
) -> DescribeLogDirsPartition:
    return DescribeLogDirsPartition(
        partition_index=replica.partition,
        partition_size=held.size_bytes,
        offset_lag=max(0, wanted_end - held.log_end_offset),
        is_future_key=is_future,
    )


def alter_replica_log_dirs(
    context: Context, request: AlterReplicaLogDirsRequest
) -> AlterReplicaLogDirsResponse:
    allowed = context.authorize("ALTER", "CLUSTER", "kafka-cluster")
    results: dict[str, AlterReplicaLogDirTopicResult] = {}
    for wanted in request.dirs:
        for topic in wanted.topics:
            for number in topic.partitions:
                result = results.setdefault(
                    topic.name, AlterReplicaLogDirTopicResult(topic_name=topic.name)
                )
                code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
                if allowed:
                    code = _move(context, TopicPartition(topic.name, number), wanted.path)
                result.partitions.append(
                    AlterReplicaLogDirPartitionResult(partition_index=number, error_code=code)
                )
    return AlterReplicaLogDirsResponse(results=list(results.values()))


def _move(context: Context, name: TopicPartition, path: str) -> ErrorCode:
    """A partition that is not there yet will be made there, and the answer says that it is not."""
    broker = context.broker
    try:
        directory = broker.logs.directory_at(path)
        directory.check_online()
        replica = broker.replicas.find_by_name(*name)
        if replica is not None:
            broker.log_mover.move(replica, path)
            return ErrorCode.NONE
        broker.logs.prefer(name, directory)
    except ApiError as error:
        log.warning("%s is not moved to %s: %s", name, path, error)
        return error.code
    except StorageError as error:
        log.warning("%s is not moved to %s: %s", name, path, error)
        return ErrorCode.KAFKA_STORAGE_ERROR
    topic = broker.image.topics.get(name.topic)
    if topic is not None and 0 <= name.partition < len(topic.partitions):
        return ErrorCode.REPLICA_NOT_AVAILABLE
    return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
