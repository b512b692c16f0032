"""The numbers of topics and of groups are those Kafka 4.3.1 computes (`Utils.computeTopicHash`)."""

import pytest

from ottla.coordinator.group.topics_hash import topics_hash
from ottla.metadata.image import BrokerImage, Image, PartitionImage, TopicImage

IDS = {
    "orders": bytes(range(1, 17)),
    "a": (-5).to_bytes(8, "big", signed=True) + (77).to_bytes(8, "big"),
    "many.topics_x-1": (99).to_bytes(8, "big") + b"\xff" * 8,
}
COUNTS = {"orders": 3, "a": 1, "many.topics_x-1": 40}
RACKS = ("r1", "north", None)


def image(*, has_racks: bool) -> Image:
    """Partition p is on the first 1 + p % 3 brokers, or all are on the one without a rack."""
    topics = {}
    for name, count in COUNTS.items():
        partitions = []
        for number in range(count):
            replicas = tuple(range(1 + number % 3)) if has_racks else (2,)
            partitions.append(PartitionImage(replicas[0], 0, 0, replicas, replicas))
        topics[name] = TopicImage(name, IDS[name], tuple(partitions), {})
    brokers = {number: BrokerImage(number, 1, rack, ()) for number, rack in enumerate(RACKS)}
    return Image(topics=topics, brokers=brokers)


KNOWN = {
    (False, "orders"): 4469793264692497189,
    (False, "a"): -7724979285714108793,
    (False, "many.topics_x-1"): -779994516382281462,
    (False, "a many.topics_x-1 orders"): 1861972508294179579,
    (True, "orders"): -1447972302259753333,
    (True, "a"): 6964301747228596009,
    (True, "many.topics_x-1"): 2090798211570224625,
    (True, "a many.topics_x-1 orders"): 4876308470960983107,
}


@pytest.mark.parametrize(("has_racks", "names"), KNOWN)
def test_a_group_has_the_number_kafka_gives_it(has_racks: bool, names: str) -> None:
    found = topics_hash(image(has_racks=has_racks), [*names.split(), "absent"])
    assert found == KNOWN[has_racks, names]


def test_a_group_without_topics_has_0() -> None:
    assert topics_hash(image(has_racks=True), ["absent"]) == 0
