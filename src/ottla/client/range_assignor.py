"""Who reads what: Kafka's `range` assignor, without racks.

Topic by topic, the members that subscribe to it take neighbouring partitions,
in the order of their ids; the first ones take one more where it does not come
out even.
"""

from collections.abc import Collection, Mapping

from ottla.model.ids import TopicPartition

NAME = "range"


def assign(
    subscriptions: Mapping[str, Collection[str]], partition_counts: Mapping[str, int]
) -> dict[str, list[TopicPartition]]:
    """The partitions of each member; `subscriptions` are topics by member id."""
    assignment: dict[str, list[TopicPartition]] = {member: [] for member in subscriptions}
    for topic, count in sorted(partition_counts.items()):
        members = sorted(member for member, topics in subscriptions.items() if topic in topics)
        if not members:
            continue
        share, more = divmod(count, len(members))
        start = 0
        for place, member in enumerate(members):
            end = start + share + (place < more)
            assignment[member] += [TopicPartition(topic, number) for number in range(start, end)]
            start = end
    return assignment
