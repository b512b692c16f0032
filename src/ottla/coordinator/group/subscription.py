"""The topics consumers are subscribed to, read out of their opaque metadata.

Only the part every version has is read: int16 version, then an array of topic
names. So a consumer of a later version is understood too.
"""

from collections.abc import Iterable
from struct import Struct, error

_HEAD = Struct(">hi")
_LENGTH = Struct(">h")


def subscribed_topics(subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """Return the topics of all subscriptions; None if one of them cannot be read."""
    topics: set[str] = set()
    for subscription in subscriptions:
        try:
            topics.update(_topics(subscription))
        except (error, ValueError):
            return None
    return frozenset(topics)


def _topics(subscription: bytes) -> list[str]:
    version, count = _HEAD.unpack_from(subscription)
    if version < 0 or count < 0 or count > len(subscription):
        raise ValueError("not a subscription")
    position = _HEAD.size
    topics = []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(subscription, position)
        position += _LENGTH.size
        if length < 0 or position + length > len(subscription):
            raise ValueError("a topic name runs over the end")
        topics.append(str(subscription[position : position + length], "utf-8"))
        position += length
    return topics
