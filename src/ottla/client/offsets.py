"""Where partitions start and end, and which offset a moment has (ListOffsets)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.model.errors import ApiError
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.model.isolation import IsolationLevel, ListOffsetsTimestamp

EARLIEST = int(ListOffsetsTimestamp.EARLIEST)
LATEST = int(ListOffsetsTimestamp.LATEST)


class ListedOffset(NamedTuple):
    """`offset` is -1 where no record is at or after the moment asked for."""

    offset: Offset
    timestamp: int
    leader_epoch: LeaderEpoch


async def list_offsets(
    view: ClusterView,
    moments: Mapping[TopicPartition, int],
    *,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TopicPartition, ListedOffset]:
    """The offset of the first record at or after each moment (ms, or a `ListOffsetsTimestamp`).

    Leaders are asked in parallel, and again after a change of leadership.

    Raises:
        ApiError: naming the first partition that stays without an answer.
    """
    found: dict[TopicPartition, ListedOffset] = {}

    async def attempt() -> None:
        by_leader: dict[BrokerId, list[TopicPartition]] = {}
        for partition in moments:
            if partition not in found:
                leader = await view.leader(partition)
                by_leader.setdefault(leader.leader, []).append(partition)
        await asyncio.gather(
            *(
                _ask_leader(view, leader, {each: moments[each] for each in mine}, isolation, found)
                for leader, mine in by_leader.items()
            )
        )

    await view.ask(attempt)
    return {partition: found[partition] for partition in moments}


async def _ask_leader(
    view: ClusterView,
    leader: BrokerId,
    moments: Mapping[TopicPartition, int],
    isolation: IsolationLevel,
    found: dict[TopicPartition, ListedOffset],
) -> None:
    from ottla.wire.generated.list_offsets import (
        ListOffsetsPartition,
        ListOffsetsRequest,
        ListOffsetsTopic,
    )

    topics: dict[str, ListOffsetsTopic] = {}
    for partition, moment in moments.items():
        topic = topics.setdefault(partition.topic, ListOffsetsTopic(name=partition.topic))
        topic.partitions.append(
            ListOffsetsPartition(partition_index=partition.partition, timestamp=moment)
        )
    request = ListOffsetsRequest(
        replica_id=-1, isolation_level=int(isolation), topics=list(topics.values())
    )
    response = await view.send(request, leader)
    failure: ApiError | None = None
    for answered in response.topics:
        for each in answered.partitions:
            partition = TopicPartition(answered.name, each.partition_index)
            try:
                check(each.error_code, about=f"partition {partition}")
            except ApiError as error:
                view.forget(partition.topic)
                failure = failure or error
            else:
                found[partition] = ListedOffset(each.offset, each.timestamp, each.leader_epoch)
    if failure is not None:
        raise failure


async def bounds(
    view: ClusterView,
    partitions: Iterable[TopicPartition],
    *,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> tuple[dict[TopicPartition, Offset], dict[TopicPartition, Offset]]:
    """Log start offsets and end offsets: the high watermark, or the last stable offset."""
    wanted = list(partitions)
    starts, ends = await asyncio.gather(
        list_offsets(view, dict.fromkeys(wanted, EARLIEST)),
        list_offsets(view, dict.fromkeys(wanted, LATEST), isolation=isolation),
    )
    return (
        {partition: listed.offset for partition, listed in starts.items()},
        {partition: listed.offset for partition, listed in ends.items()},
    )


async def partitions_of(view: ClusterView, topic: str) -> list[TopicPartition]:
    """Every partition of a topic.

    Raises:
        ApiError: UNKNOWN_TOPIC_OR_PARTITION; there is no such topic.
    """
    known = await view.topic(topic)
    return [TopicPartition(topic, each.partition) for each in known.partitions]
