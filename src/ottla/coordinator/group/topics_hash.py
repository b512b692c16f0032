"""What the newer kinds of group note of their topics: Kafka's own number.

A group goes to a new epoch when the number changes: a topic was made, deleted
or made anew, has more partitions, or a partition's replicas stand in other
racks. A group that a Kafka wrote stays in its epoch.

    topic   XXH3 of: 00, id, name, number of partitions, and of each: its number, then
            for the rack of every replica, in order: its length, and it
    group   XXH3 of the numbers of its topics, by name

Strings are UTF-16 with their length behind them, integers little-endian.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from ottla.coordinator.xxh3 import xxh3_64
from ottla.metadata.image import Image, TopicImage
from ottla.model.ids import BrokerId, TopicName, Uuid


def topics_hash(image: Image, names: Iterable[TopicName]) -> int:
    """The signed 64-bit number of those of the topics `names` that exist; 0 if none does."""
    rack_of = {
        number: broker.rack for number, broker in image.brokers.items() if broker.rack is not None
    }
    hashed = bytearray()
    for name in sorted(set(names)):
        topic = image.topics.get(name)
        if topic is not None:
            number = _topic_hash(name, topic.topic_id, _racks(topic, rack_of))
            hashed += number.to_bytes(8, "little")
    return _signed(xxh3_64(bytes(hashed))) if hashed else 0


@lru_cache(maxsize=8192)
def _topic_hash(name: TopicName, topic_id: Uuid, racks: tuple[tuple[str, ...], ...]) -> int:
    """The number of one topic, unsigned; `racks` by partition."""
    hashed = bytearray(b"\0")
    hashed += topic_id[7::-1]
    hashed += topic_id[:7:-1]
    hashed += _string(name)
    hashed += len(racks).to_bytes(4, "little")
    for number, texts in enumerate(racks):
        hashed += number.to_bytes(4, "little")
        for text in texts:
            rack = _string(text)
            hashed += rack[-4:] + rack
    return xxh3_64(bytes(hashed))


def _racks(topic: TopicImage, rack_of: Mapping[BrokerId, str]) -> tuple[tuple[str, ...], ...]:
    """The racks each partition's replicas stand in, in order, as often as there are replicas."""
    if not rack_of:
        return ((),) * len(topic.partitions)
    return tuple(
        tuple(sorted(rack_of[replica] for replica in partition.replicas if replica in rack_of))
        for partition in topic.partitions
    )


def _string(text: str) -> bytes:
    units = text.encode("utf-16-le", "surrogatepass")
    return units + (len(units) // 2).to_bytes(4, "little")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
