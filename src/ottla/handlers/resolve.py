"""(name | id, partition) + who asks -> replica or error: the only place where names and ids meet.

Below it everything holds the replica. Permission is asked here too, and what a
principal may not describe is hidden.
"""

from ottla.handlers.context import Context
from ottla.metadata.image import TopicImage
from ottla.model.errors import ErrorCode
from ottla.model.ids import PartitionId, TopicName, Uuid
from ottla.replica.partition import Partition


def topic_by_name(context: Context, operation: str, name: TopicName) -> TopicImage | ErrorCode:
    if not context.authorize(operation, "TOPIC", name):
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    topic = context.broker.image.topics.get(name)
    return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if topic is None else topic


def topic_by_id(context: Context, operation: str, topic_id: Uuid) -> TopicImage | ErrorCode:
    topic = context.broker.image.topic_by_id(topic_id)
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_ID
    if not context.authorize("DESCRIBE", "TOPIC", topic.name):
        return ErrorCode.UNKNOWN_TOPIC_ID
    if not context.authorize(operation, "TOPIC", topic.name):
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    return topic


def topic_of(
    context: Context, operation: str, name: TopicName, topic_id: Uuid, *, by_id: bool
) -> TopicImage | ErrorCode:
    """By id where the version speaks of ids, else by name."""
    if by_id:
        return topic_by_id(context, operation, topic_id)
    return topic_by_name(context, operation, name)


def leader_of(
    context: Context,
    topic: TopicImage,
    partition: PartitionId,
    current_leader_epoch: int = -1,
) -> Partition | ErrorCode:
    """The partition, if this broker leads it and the client does not know better or worse."""
    replica = context.broker.replicas.find(topic.topic_id, partition)
    if replica is None:
        if 0 <= partition < len(topic.partitions):
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return replica.check_leader(current_leader_epoch) or replica


def follower_of(
    context: Context,
    topic: TopicImage,
    partition: PartitionId,
    current_leader_epoch: int = -1,
) -> Partition | ErrorCode:
    """Do as `leader_of`, where this broker follows the partition."""
    replica = context.broker.replicas.find(topic.topic_id, partition)
    if replica is None:
        return ErrorCode.NOT_LEADER_OR_FOLLOWER
    return replica.check_follower(current_leader_epoch) or replica
