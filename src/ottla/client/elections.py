"""What an election would come to, by what brokers say of their partitions: for a dry run."""

from collections.abc import Collection, Sequence

from ottla.client.cluster_view import Partition, Topic
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId, TopicPartition


def foreseen(
    topics: Sequence[Topic],
    asked: Sequence[TopicPartition] | None,
    alive: Collection[BrokerId],
    *,
    unclean: bool = False,
) -> dict[TopicPartition, ApiError | None]:
    """What `Operations.elect` would answer now; None: somebody else would lead.

    As there, of all partitions (`asked` is None) those that need no election are left out.
    """
    found = {
        TopicPartition(topic.name, each.partition): _outcome(each, alive, unclean)
        for topic in topics
        for each in topic.partitions
    }
    if asked is not None:
        missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return {each: _error(found.get(each, missing)) for each in asked}
    needed = {
        each: code for each, code in found.items() if code is not ErrorCode.ELECTION_NOT_NEEDED
    }
    return {each: _error(code) for each, code in needed.items()}


def _error(code: ErrorCode) -> ApiError | None:
    return None if code is ErrorCode.NONE else ApiError(code)


def _outcome(partition: Partition, alive: Collection[BrokerId], unclean: bool) -> ErrorCode:
    if unclean:
        if partition.leader >= 0:
            return ErrorCode.ELECTION_NOT_NEEDED
        if not set(partition.replicas).isdisjoint(alive):
            return ErrorCode.NONE
        return ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
    preferred = partition.replicas[0]
    if partition.leader == preferred:
        return ErrorCode.ELECTION_NOT_NEEDED
    if preferred in alive and preferred in partition.isr:
        return ErrorCode.NONE
    return ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
