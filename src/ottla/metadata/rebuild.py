"""Metadata made anew from what the brokers' data directories hold, when its store is lost (pure).

Who leads must have all that was committed. What was in the ISR at the last moment nobody can
know any more; but the log that reaches furthest, by the epoch of its last record and then by its
end, has everything that was committed, if every replica's directory is there: each leader had it
all when its epoch began, and whoever has a record of that epoch took over what came before it.
So the logs that reach furthest are the ISR, the others follow and truncate, and epochs go on above
all that were seen. What is not given must be named: then it is the caller's word that it is lost.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from ottla.metadata import changes
from ottla.metadata.image import Image, PartitionImage, TopicImage
from ottla.metadata.store import KeyVersion, Snapshot
from ottla.model.holdings import HeldLog, Holdings, MetadataCopy
from ottla.model.ids import NO_BROKER, BrokerId, PartitionId, TopicName, Uuid, uuid_text
from ottla.model.names import INTERNAL_TOPICS
from ottla.model.steps import at_once

PRODUCER_ID_MARGIN = 1_000_000
"""Blocks of ids that were handed out after the newest copy was written."""

EPOCH_MARGIN = 1_000
"""Above epochs that a directory that is not given may have seen."""

UNKNOWN_SETTINGS: Mapping[str, str] = {"retention.ms": "-1", "retention.bytes": "-1"}
"""Of a topic about which nothing is known: nothing is deleted until somebody says so."""


class Weight(Enum):
    NOTE = "note"
    DOUBT = "doubt"
    """Two directories contradict each other; what was chosen is said."""
    LOSS = "loss"
    """Records are, or may be, lost."""
    REFUSED = "refused"
    """Nothing may be written like this."""


class Finding(NamedTuple):
    weight: Weight
    text: str


class RebuiltPartition(NamedTuple):
    topic: TopicName
    partition: PartitionId
    state: PartitionImage
    ends: Mapping[BrokerId, tuple[int, int]]
    """Of every broker that has a log: the epoch it reaches, and its end."""


class Rebuilt(NamedTuple):
    cluster_id: str
    generation: int
    keys: dict[str, bytes]
    """Everything that the store is to have."""
    partitions: list[RebuiltPartition]
    findings: list[Finding]
    newest: MetadataCopy | None

    @property
    def is_refused(self) -> bool:
        return any(each.weight is Weight.REFUSED for each in self.findings)


def rebuild(
    holdings: Sequence[Holdings],
    stored: MetadataCopy | None = None,
    without: Collection[BrokerId] = (),
) -> Rebuilt:
    """Return the keys to write. `stored` is what a store still has; `without` are brokers lost."""
    return _Rebuilding(holdings, stored, frozenset(without)).run()


def image_of(copy: MetadataCopy) -> Image:
    keys = {key: value for key, value in sorted(copy.keys.items()) if changes.is_lasting(key)}
    versions = dict.fromkeys(keys, KeyVersion(1, 1))
    return changes.from_snapshot(Snapshot(copy.revision, keys, versions))


class _Held(NamedTuple):
    broker: BrokerId
    path: str
    log: HeldLog


class _Rebuilding:
    def __init__(
        self,
        holdings: Sequence[Holdings],
        stored: MetadataCopy | None,
        without: frozenset[BrokerId],
    ) -> None:
        self.holdings = holdings
        self.without = without
        self.findings: list[Finding] = []
        self.copies = _by_age([each.copy for each in holdings if each.copy is not None], stored)
        """The newest last."""
        self.newest = self.copies[-1] if self.copies else None
        self.images = [image_of(copy) for copy in self.copies]
        self.image = self.images[-1] if self.images else Image()

    def say(self, weight: Weight, text: str) -> None:
        self.findings.append(Finding(weight, text))

    def run(self) -> Rebuilt:
        cluster_id = self._cluster_id()
        generation = 1 + max((copy.generation for copy in self.copies), default=0)
        for each in self.holdings:
            for problem in each.problems:
                self.say(Weight.NOTE, f"broker {each.node_id}: {problem}")
        if self.newest is None:
            self.say(
                Weight.NOTE,
                "no directory has a copy of the metadata: settings are not known, nothing is "
                "deleted by time or size until retention.ms or retention.bytes is set",
            )
        absent = self._absent()
        topics: dict[TopicName, TopicImage] = {}
        partitions: list[RebuiltPartition] = []
        for topic_id, (name, logs) in sorted(self._topics().items(), key=lambda each: each[1][0]):
            made = self._partitions(topic_id, name, logs, absent)
            partitions += made
            states = tuple(each.state for each in made)
            topics[name] = TopicImage(name, topic_id, states, self._configs(name, topic_id))
        used = max([-1, *(each.highest_producer_id for each in self.holdings)])
        handed_out = max([0, *(each.next_producer_id for each in self.images)])
        image = replace(
            self.image,
            cluster_id=cluster_id,
            generation=generation,
            topics=topics,
            next_producer_id=max(used + 1, handed_out) + PRODUCER_ID_MARGIN,
            producer_ids_revision=1,
            decisions=1 + max([0, *(each.decisions for each in self.images)]),
        )
        keys = dict(at_once(changes.lasting_keys(image)))
        return Rebuilt(cluster_id, generation, keys, partitions, self.findings, self.newest)

    # Whose directories these are

    def _cluster_id(self) -> str:
        ids = sorted(
            {each.cluster_id for each in self.holdings} | {each.cluster_id for each in self.copies}
        )
        if len(ids) > 1:
            self.say(
                Weight.REFUSED, f"directories or stores of {len(ids)} clusters: {', '.join(ids)}"
            )
        if not self.holdings:
            self.say(Weight.REFUSED, "no data directory is given")
        seen: dict[Uuid, str] = {}
        for each in self.holdings:
            if each.directory_id in seen:
                self.say(
                    Weight.REFUSED,
                    f"{each.path} and {seen[each.directory_id]} have the same directory.id "
                    f"{uuid_text(each.directory_id)}: one is a copy of the other",
                )
            seen[each.directory_id] = each.path
        return ids[0] if ids else ""

    def _absent(self) -> frozenset[BrokerId]:
        """Brokers of which something is not given."""
        given: dict[BrokerId, set[Uuid]] = defaultdict(set)
        for each in self.holdings:
            given[each.node_id].add(each.directory_id)
        absent = {
            broker
            for topic in self.image.topics.values()
            for state in topic.partitions
            for broker in state.replicas
            if broker not in given
        }
        for broker, known in self.image.known_brokers.items():
            if broker in given and not given[broker] >= set(known.directories):
                absent.add(broker)
        for broker in sorted(absent - self.without):
            what = "a data directory" if broker in given else "the data"
            self.say(
                Weight.REFUSED,
                f"{what} of broker {broker} is not given: what only it has would be lost. Give "
                f"it, or say `--without {broker}` if it is gone",
            )
        return frozenset(absent)

    # Which topics there are

    def _topics(self) -> dict[Uuid, tuple[TopicName, dict[PartitionId, list[_Held]]]]:
        names: dict[Uuid, TopicName] = dict(self.image.topic_names)
        logs: dict[Uuid, dict[PartitionId, list[_Held]]] = {
            topic_id: defaultdict(list) for topic_id in names
        }
        unlisted: dict[TopicName, dict[Uuid, list[_Held]]] = defaultdict(lambda: defaultdict(list))
        before = {topic_id for image in self.images[:-1] for topic_id in image.topic_names}
        gone: dict[Uuid, TopicName] = {}
        for each in self.holdings:
            for log in each.logs:
                topic_id = log.topic_id
                if topic_id is None and log.topic in self.image.topics:
                    topic_id = self.image.topics[log.topic].topic_id
                if topic_id is None:
                    self.say(
                        Weight.DOUBT,
                        f"{each.path}/{log.topic}-{log.partition} is of no known topic",
                    )
                elif topic_id in names:
                    logs[topic_id][log.partition].append(_Held(each.node_id, each.path, log))
                elif topic_id in before or topic_id in self.image.deleting:
                    gone[topic_id] = log.topic
                else:
                    held = _Held(each.node_id, each.path, log)
                    unlisted[log.topic][topic_id].append(held)
        for topic_id, name in gone.items():
            self.say(Weight.NOTE, f"{name} ({uuid_text(topic_id)}) was deleted, and stays so")
        for name, found in sorted(unlisted.items()):
            chosen = self._choose(name, found)
            if chosen is not None:
                names[chosen] = name
                logs[chosen] = defaultdict(list)
                for held in found[chosen]:
                    logs[chosen][held.log.partition].append(held)
        return {topic_id: (name, logs[topic_id]) for topic_id, name in names.items()}

    def _choose(self, name: TopicName, found: Mapping[Uuid, list[_Held]]) -> Uuid | None:
        """Which of the topics of a name is meant that no copy knows; None: none of them."""
        listed = self.image.topics.get(name)
        best = max(
            found,
            key=lambda each: (
                max(held.log.highest_epoch for held in found[each]),
                len(found[each]),
                each,
            ),
        )
        chosen = None if listed is not None else best
        kept = listed.topic_id if listed is not None else best
        for topic_id in found:
            if topic_id != chosen:
                self.say(
                    Weight.DOUBT,
                    f"there are two topics {name}: {uuid_text(kept)} is kept, the files of "
                    f"{uuid_text(topic_id)} are set aside by their brokers, not deleted",
                )
        if chosen is not None and self.newest is not None:
            self.say(
                Weight.NOTE,
                f"{name} is in no copy of the metadata: it is younger than they are, its settings "
                "are lost",
            )
        return chosen

    # Partitions

    def _partitions(
        self,
        topic_id: Uuid,
        name: TopicName,
        logs: Mapping[PartitionId, list[_Held]],
        absent: frozenset[BrokerId],
    ) -> list[RebuiltPartition]:
        known = self._known(topic_id)
        count = max([len(known), *(number + 1 for number in logs)])
        somebody = sorted({each.broker for held in logs.values() for each in held})
        return [
            self._partition(
                name,
                number,
                logs.get(number, []),
                known[number] if number < len(known) else None,
                somebody,
                absent,
            )
            for number in range(count)
        ]

    def _known(self, topic_id: Uuid) -> list[PartitionImage]:
        """The newest state of each partition that any copy knows."""
        newest: dict[PartitionId, tuple[tuple[int, int, int], PartitionImage]] = {}
        for copy, image in zip(self.copies, self.images, strict=True):
            topic = image.topic_by_id(topic_id)
            for number, state in enumerate(topic.partitions if topic is not None else ()):
                age = copy.generation, state.leader_epoch, state.partition_epoch
                if number not in newest or newest[number][0] <= age:
                    newest[number] = age, state
        return [newest[number][1] for number in sorted(newest)]

    def _partition(
        self,
        name: TopicName,
        number: PartitionId,
        held: list[_Held],
        known: PartitionImage | None,
        somebody: Sequence[BrokerId],
        absent: frozenset[BrokerId],
    ) -> RebuiltPartition:
        """`somebody`: who has other partitions of the topic, should nobody have this one."""
        which = f"{name}-{number}"
        logs = self._one_each(which, held)
        replicas = known.replicas if known is not None else _in_turn(logs or somebody, number)
        best = max((log.reach for log in logs.values()), default=(-1, -1))
        among = max((log.reach for b, log in logs.items() if b in replicas), default=(-1, -1))
        if best > among:
            # It was moved there after the newest copy was written.
            joining = [broker for broker, log in logs.items() if log.reach == best]
            replicas = (*replicas, *joining)
            self.say(
                Weight.DOUBT,
                f"{which}: broker {joining[0]} has more than any replica that is known of: it is "
                "one from now on",
            )
        isr = tuple(b for b in replicas if b in logs and logs[b].reach == best)
        self._say_what_is_lost(which, replicas, logs, best, known, absent)
        seen = [log.highest_epoch for log in logs.values()]
        epoch = max([known.leader_epoch if known is not None else 0, *seen]) + 1
        if absent & set(replicas):
            epoch += EPOCH_MARGIN
        state = PartitionImage(
            NO_BROKER,
            epoch,
            known.partition_epoch + 1 if known is not None else 0,
            replicas,
            isr or replicas,
            adding=known.adding if known is not None else (),
            removing=known.removing if known is not None else (),
        )
        return RebuiltPartition(name, number, state, {b: log.reach for b, log in logs.items()})

    def _one_each(self, which: str, held: Iterable[_Held]) -> dict[BrokerId, HeldLog]:
        found: dict[BrokerId, _Held] = {}
        for each in held:
            other = found.get(each.broker)
            if other is not None:
                self.say(
                    Weight.REFUSED,
                    f"{which} is both in {other.path} and in {each.path}: move one away",
                )
            if other is None or each.log.reach > other.log.reach:
                found[each.broker] = each
        return {broker: found[broker].log for broker in sorted(found)}

    def _say_what_is_lost(
        self,
        which: str,
        replicas: Sequence[BrokerId],
        logs: Mapping[BrokerId, HeldLog],
        best: tuple[int, int],
        known: PartitionImage | None,
        absent: frozenset[BrokerId],
    ) -> None:
        if not logs:
            if absent & set(replicas):
                self.say(Weight.LOSS, f"{which}: all of it; nobody has a log of it")
            else:
                self.say(
                    Weight.NOTE,
                    f"{which}: nobody has a log of it; should nobody lead it, "
                    f"`ottla cluster elect --unclean {which.rpartition('-')[0]}:"
                    f"{which.rpartition('-')[2]}` makes it anew, empty",
                )
            return
        committed = max(log.high_watermark for log in logs.values())
        if committed > best[1]:
            self.say(
                Weight.LOSS,
                f"{which}: records from offset {best[1]} up to {committed} were committed, and "
                "nobody has them",
            )
        gone = sorted(absent & set(replicas))
        if gone and known is not None and not set(known.isr) - absent:
            self.say(
                Weight.LOSS,
                f"{which}: only broker {', '.join(map(str, gone))} was in sync when the copy was "
                f"written; what it had from offset {best[1]} on is lost",
            )

    def _configs(self, name: TopicName, topic_id: Uuid) -> dict[str, str]:
        topic = self.image.topic_by_id(topic_id)
        if topic is not None:
            return dict(topic.configs)
        if name in INTERNAL_TOPICS:
            return {"cleanup.policy": "compact", "compression.type": "producer"}
        return dict(UNKNOWN_SETTINGS)


def _by_age(copies: Iterable[MetadataCopy], stored: MetadataCopy | None) -> list[MetadataCopy]:
    """The copies and what the store has, the newest last."""
    found = sorted(copies, key=lambda each: each.rank)
    if stored is None:
        return found
    if found and stored.identity != found[-1].identity:
        # Revisions of another etcd, restored perhaps, say nothing beside those of the lost one.
        newer = stored.generation > found[-1].generation
        return [*found, stored] if newer else [stored, *found]
    return sorted([stored, *found], key=lambda each: each.rank)


def _in_turn(of: Iterable[BrokerId], number: PartitionId) -> tuple[BrokerId, ...]:
    """All of them, another one first in each partition."""
    brokers = sorted(of)
    first = number % len(brokers)
    return (*brokers[first:], *brokers[:first])
