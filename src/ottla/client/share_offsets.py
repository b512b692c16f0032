"""Where share groups are: the first offset of each partition that is not done with, and the lag.

Consumers of a share group commit nothing. What there is to see, move and forget
is the start of each partition's window of records in flight (KIP-932).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.model.ids import Offset, TopicPartition


class ShareOffset(NamedTuple):
    """`lag` counts the records that are not done with; None where the broker does not tell."""

    offset: Offset
    lag: int | None


async def share_offsets(view: ClusterView, group: str) -> dict[TopicPartition, ShareOffset]:
    """All partitions that the group has a start for; a group that is not there has none."""
    from ottla.wire.generated.describe_share_group_offsets import (
        DescribeShareGroupOffsetsRequest,
        DescribeShareGroupOffsetsRequestGroup,
    )

    async def attempt() -> dict[TopicPartition, ShareOffset]:
        asked = DescribeShareGroupOffsetsRequestGroup(group_id=group, topics=None)
        response = await view.send(
            DescribeShareGroupOffsetsRequest(groups=[asked]), await view.coordinator(group)
        )
        (answer,) = response.groups
        check(answer.error_code, answer.error_message, about=f"group {group!r}")
        found = {}
        for topic in answer.topics:
            for each in topic.partitions:
                partition = TopicPartition(topic.topic_name, each.partition_index)
                about = f"group {group!r}, partition {partition}"
                check(each.error_code, each.error_message, about=about)
                if each.start_offset >= 0:
                    lag = None if each.lag < 0 else each.lag
                    found[partition] = ShareOffset(each.start_offset, lag)
        return found

    return await view.ask(attempt)


async def alter_share_offsets(
    view: ClusterView, group: str, offsets: Mapping[TopicPartition, Offset]
) -> None:
    """Let a share group without members begin at these offsets.

    Raises:
        ApiError: NON_EMPTY_GROUP, or for the first partition refused.
    """
    from ottla.wire.generated.alter_share_group_offsets import (
        AlterShareGroupOffsetsRequest,
        AlterShareGroupOffsetsRequestPartition,
        AlterShareGroupOffsetsRequestTopic,
    )

    topics: dict[str, AlterShareGroupOffsetsRequestTopic] = {}
    for partition, offset in offsets.items():
        topic = topics.setdefault(
            partition.topic, AlterShareGroupOffsetsRequestTopic(topic_name=partition.topic)
        )
        topic.partitions.append(
            AlterShareGroupOffsetsRequestPartition(
                partition_index=partition.partition, start_offset=offset
            )
        )

    async def attempt() -> None:
        request = AlterShareGroupOffsetsRequest(group_id=group, topics=list(topics.values()))
        response = await view.send(request, await view.coordinator(group))
        check(response.error_code, response.error_message, about=f"group {group!r}")
        for answer in response.responses:
            for each in answer.partitions:
                partition = TopicPartition(answer.topic_name, each.partition_index)
                about = f"group {group!r}, partition {partition}"
                check(each.error_code, each.error_message, about=about)

    await view.ask(attempt)


async def forget_share_topics(view: ClusterView, group: str, topics: Iterable[str]) -> None:
    """Forget everything a share group without members knows of topics.

    Raises:
        ApiError: NON_EMPTY_GROUP, or for the first topic refused.
    """
    from ottla.wire.generated.delete_share_group_offsets import (
        DeleteShareGroupOffsetsRequest,
        DeleteShareGroupOffsetsRequestTopic,
    )

    rows = [DeleteShareGroupOffsetsRequestTopic(topic_name=name) for name in topics]

    async def attempt() -> None:
        request = DeleteShareGroupOffsetsRequest(group_id=group, topics=rows)
        response = await view.send(request, await view.coordinator(group))
        check(response.error_code, response.error_message, about=f"group {group!r}")
        for each in response.responses:
            about = f"group {group!r}, topic {each.topic_name!r}"
            check(each.error_code, each.error_message, about=about)

    await view.ask(attempt)
