"""Where the state of which partition can be asked for: partitions by user endpoint.

A member may say where its application answers questions (`application.server`).
Members are told of all endpoints when something about them changed, which an
epoch says; it is not in the log, and begins at 0 wherever the group is loaded.
"""

from collections.abc import Iterable, Mapping

from ottla.coordinator.group.streams.configured import Configured
from ottla.coordinator.group.streams.member import StreamsMember
from ottla.coordinator.group.streams.tasks import in_order
from ottla.metadata.image import Image
from ottla.model.ids import PartitionId
from ottla.wire.generated.streams_group_heartbeat import (
    EndpointResponse,
    EndpointToPartitions,
    TopicPartition,
)


def endpoints(
    members: Iterable[StreamsMember], configured: Configured, image: Image
) -> list[EndpointToPartitions]:
    """What each member with an endpoint has: input topics and partitions of its tasks."""
    return [
        EndpointToPartitions(
            user_endpoint=EndpointResponse(
                host=member.user_endpoint[0], port=member.user_endpoint[1]
            ),
            active_partitions=_partitions(member.assigned.active, configured, image),
            standby_partitions=_partitions(member.assigned.standby, configured, image),
        )
        for member in members
        if member.user_endpoint is not None
    ]


def _partitions(
    tasks: Mapping[str, Iterable[PartitionId]], configured: Configured, image: Image
) -> list[TopicPartition]:
    """A topic with fewer partitions than the member has tasks is told with its first ones."""
    found = []
    for subtopology_id, numbers in in_order(tasks):
        subtopology = configured.subtopologies.get(subtopology_id)
        if subtopology is None:
            continue
        names = {
            *subtopology.source_topics,
            *(topic.name for topic in subtopology.repartition_source_topics),
        }
        for name in sorted(names):
            topic = image.topics.get(name)
            if topic is not None:
                count = len(topic.partitions)
                found.append(TopicPartition(topic=name, partitions=numbers[:count]))
    return found
