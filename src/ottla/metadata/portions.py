"""A change in portions: what does not fit in one transaction, in an order that is safe to stop in.

etcd takes 128 operations a transaction. Partitions that their topic does not say it has
are not there: so those of new topics are written before their topic, those of deleted
topics deleted after it, and between the two stands what makes the difference.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from ottla.metadata.changes import KeyValue
from ottla.metadata.image import Image
from ottla.metadata.store import Compare
from ottla.model.ids import uuid_from_text

T = TypeVar("T")


class Portion(NamedTuple):
    """One transaction."""

    compare: tuple[Compare, ...]
    puts: tuple[KeyValue, ...]
    deletes: tuple[str, ...]


def portions(
    image: Image, puts: Sequence[KeyValue], deletes: Sequence[str], limit: int
) -> list[Portion]:
    """Return the transactions for what was decided on `image`, of at most `limit` keys each.

    Every partition that is there is compared with the image: its leader changes it, too.
    """
    if len(puts) <= limit and len(deletes) <= limit:
        return [Portion(tuple(_unchanged(image, puts)), tuple(puts), tuple(deletes))]
    unlisted = [put for put in puts if _is_partition(put[0]) and not _is_listed(image, put[0])]
    late = [key for key in deletes if _is_partition(key)]
    early = frozenset(key for key, _ in unlisted)
    listed = [put for put in puts if put[0] not in early]
    rest = [key for key in deletes if not _is_partition(key)]
    found = [Portion((), tuple(some), ()) for some in _cut(unlisted, limit)]
    for units in _cut_units(_units(listed), limit):
        some = [put for unit in units for put in unit]
        found.append(Portion(tuple(_unchanged(image, some)), tuple(some), ()))
    if len(rest) <= limit and found and len(found[-1].puts) <= limit:
        found[-1] = found[-1]._replace(deletes=tuple(rest))
    else:
        found += [Portion((), (), tuple(some)) for some in _cut(rest, limit)]
    return found + [Portion((), (), tuple(some)) for some in _cut(late, limit)]


def _unchanged(image: Image, puts: Iterable[KeyValue]) -> Iterator[Compare]:
    for key, _ in puts:
        if _is_partition(key) and _is_listed(image, key):
            yield Compare(key, _revision(image, key))


def _is_partition(key: str) -> bool:
    return key.startswith("partition/")


def _is_listed(image: Image, key: str) -> bool:
    return _revision(image, key) >= 0


def _revision(image: Image, key: str) -> int:
    """Of a partition that is there; -1: it is not."""
    _, topic_id, number = key.split("/")
    topic = image.topic_by_id(uuid_from_text(topic_id))
    if topic is None or int(number) >= len(topic.partitions):
        return -1
    return topic.partitions[int(number)].revision


def _units(puts: Iterable[KeyValue]) -> Iterator[list[KeyValue]]:
    """A topic's settings and the topic belong together."""
    unit: list[KeyValue] = []
    for put in puts:
        unit.append(put)
        if not put[0].startswith("config/2/"):
            yield unit
            unit = []
    if unit:
        yield unit


def _cut_units(units: Iterable[list[KeyValue]], limit: int) -> Iterator[list[list[KeyValue]]]:
    some: list[list[KeyValue]] = []
    count = 0
    for unit in units:
        if some and count + len(unit) > limit:
            yield some
            some, count = [], 0
        some.append(unit)
        count += len(unit)
    if some:
        yield some


def _cut(keys: Sequence[T], limit: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(keys), limit):
        yield keys[start : start + limit]
