"""DescribeLogDirs: where the replicas lie and how large they are."""

import logging
from collections.abc import Coroutine
from typing import Any

from ottla.handlers.context import Context
from ottla.handlers.slices import answer
from ottla.model.errors import ErrorCode
from ottla.model.steps import Steps
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
    for directory in context.broker.logs.directories:
        result = DescribeLogDirsResult(log_dir=directory.path)
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
        topics: dict[str, DescribeLogDirsTopic] = {}
        for replica in list(context.broker.replicas):
            yield
            if replica.log.directory is not directory:
                continue
            if wanted is not None and (replica.topic, replica.partition) not in wanted:
                continue
            if replica.topic not in topics:
                topics[replica.topic] = DescribeLogDirsTopic(name=replica.topic)
            topics[replica.topic].partitions.append(
                DescribeLogDirsPartition(
                    partition_index=replica.partition,
                    partition_size=replica.log.size_bytes,
                    offset_lag=max(0, replica.high_watermark - replica.log.log_end_offset),
                    is_future_key=False,
                )
            )
        result.topics = list(topics.values())
    return DescribeLogDirsResponse(results=results)
