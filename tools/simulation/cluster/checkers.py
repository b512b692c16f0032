"""What must hold of a cluster, one function each; named after the invariants of the design.

Those of one broker hold too: what a client was told is there, once, in order, and stays.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

from tools.simulation import checkers as alone
from tools.simulation.cluster.history import ClusterHistory, Replica
from tools.simulation.history import Outcome

Checker = Callable[[ClusterHistory], Iterator[str]]


def lost_somewhere(history: ClusterHistory) -> Iterator[str]:
    """D1: what was acknowledged without its offset is there, too."""
    there = {p: {s.value for s in log} for p, log in history.final.records.items()}
    deleted = {each.partition for each in history.deleted}
    for ack in history.produced:
        if ack.partition in deleted:
            continue  # it may have been among those
        if ack.outcome is Outcome.OK and ack.base_offset < 0:
            for value in ack.values:
                if value not in there.get(ack.partition, ()):
                    yield f"{value!r} acknowledged at {ack.partition} at {ack.end:.3f} s"


def ends_go_back(history: ClusterHistory) -> Iterator[str]:
    """D5: no client is told an end, or a start, before one that was told earlier (KIP-207).

    Where records were deleted a new leader may tell a start of before: that is told to followers,
    and written down, a moment later, as in Kafka.
    """
    deleted = {each.partition for each in history.deleted}
    for partition in sorted({each.partition for each in history.listed}):
        said = [each for each in history.listed if each.partition == partition]
        events = [(each.start, 0, each) for each in said] + [(each.end, 1, each) for each in said]
        end = start = 0
        for at, kind, each in sorted(events, key=lambda event: event[:2]):
            if kind:
                end, start = max(end, each.high_watermark), max(start, each.log_start)
            else:
                if each.high_watermark < end:
                    yield f"{partition}: the end is {each.high_watermark} at {at:.3f} s after {end}"
                if each.log_start < start and partition not in deleted:
                    yield f"{partition}: the start is {each.log_start} at {at:.3f} s after {start}"


def two_leaders(history: ClusterHistory) -> Iterator[str]:
    """R1: in an epoch one life of one broker leads."""
    leaders = defaultdict(list)
    for each, at in history.leaders.items():
        of_epoch = leaders[each.topic, each.partition, each.epoch]
        of_epoch.append((each.broker, each.life, round(at, 3)))
    for (topic, partition, epoch), who in sorted(leaders.items()):
        if len(who) > 1:
            yield f"{topic}-{partition}, epoch {epoch}: (broker, life, since) {who}"


def eligible_lack(history: ClusterHistory) -> Iterator[str]:
    """R2: everybody whom the store lets lead has all that a client knows to be committed."""
    for each in history.held:
        ends = [each.ends.get(broker) for broker in each.eligible]
        if any(end is not None and end < each.seen for end in ends):
            yield (
                f"{each.partition} at {each.at:.3f} s: committed up to {each.seen}, "
                f"{each.eligible} may lead, and the logs end at {each.ends}"
            )


def replicas_differ(history: ClusterHistory) -> Iterator[str]:
    """R3: once all is healed, replicas are the same, byte by byte, with the same epochs."""
    for partition in sorted({number for number, _ in history.replicas}):
        found = {
            broker: replica
            for (number, broker), replica in sorted(history.replicas.items())
            if number == partition
        }
        start = max(replica.log_start for replica in found.values())
        end = min(replica.high_watermark for replica in found.values())
        (first, expected), *others = found.items()
        for broker, replica in others:
            ours, theirs = _between(expected, start, end), _between(replica, start, end)
            if ours != theirs:
                apart = min(
                    offset
                    for offset in ours.keys() | theirs.keys()
                    if ours.get(offset) != theirs.get(offset)
                )
                yield f"{partition}@{apart} differs between brokers {first} and {broker}"
            if _epochs(expected, start, end) != _epochs(replica, start, end):
                yield (
                    f"{partition}: epochs {_epochs(expected, start, end)} at broker {first}, "
                    f"{_epochs(replica, start, end)} at broker {broker}"
                )


def _between(replica: Replica, start: int, end: int) -> dict[int, tuple[int, bytes]]:
    return {
        base: batch for base, batch in replica.batches.items() if batch[0] > start and base < end
    }


def _epochs(replica: Replica, start: int, end: int) -> list[tuple[int, int]]:
    if start >= end:
        return []  # of no records
    found = [(epoch, max(first, start)) for epoch, first in replica.epochs if first < end]
    return [each for n, each in enumerate(found) if n + 1 == len(found) or found[n + 1][1] > start]


def unclean(history: ClusterHistory) -> Iterator[str]:
    """R4, R5: nobody is elected who may lack something, and nobody cuts what is committed."""
    yield from history.unclean


def topics(history: ClusterHistory) -> Iterator[str]:
    """M1: what an answer said of a topic is so at every broker."""
    allowed: dict[str, set[int]] = {}
    for each in history.administered:
        before = allowed.get(each.topic, {0})
        now = {each.partitions}
        allowed[each.topic] = now if each.outcome is Outcome.OK else before | now
    for broker, there in history.topics.items():
        for topic, counts in allowed.items():
            if there.get(topic, 0) not in counts:
                yield f"{topic} has {there.get(topic, 0)} partitions at broker {broker}: {counts}"


CHECKERS: dict[str, Checker] = {
    checker.__name__: checker  # type: ignore[misc]
    for checker in (
        alone.lost_writes,
        lost_somewhere,
        alone.two_values,
        alone.duplicates,
        alone.order,
        alone.phantoms,
        alone.above_high_watermark,
        alone.unreadable,
        ends_go_back,
        two_leaders,
        eligible_lack,
        replicas_differ,
        unclean,
        topics,
        alone.files,
        alone.liveness,
        alone.unexpected,
    )
}
