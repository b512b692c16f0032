"""The cluster at one revision of the metadata store: immutable, shared by every reader.

A new image is made by `changes.apply`; nobody else builds one. Mappings here are
never written to after the image was published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ottla.metadata.store import Revision
from ottla.model.ids import (
    NO_BROKER,
    BrokerId,
    LeaderEpoch,
    PartitionId,
    TopicName,
    TopicPartition,
    Uuid,
)
from ottla.model.isolation import ResourceType


class PartitionImage(NamedTuple):
    """A partition's state, one key of the store."""

    leader: BrokerId
    leader_epoch: LeaderEpoch
    partition_epoch: int
    """Raised with every change of this state."""
    replicas: tuple[BrokerId, ...]
    isr: tuple[BrokerId, ...]
    offline_replicas: tuple[BrokerId, ...] = ()
    """Those whose log directory failed in the present life of their broker: they do not lead."""
    elr: tuple[BrokerId, ...] = ()
    """Eligible leader replicas (KIP-966): out of the ISR, and known to have all that is committed."""
    doubtful: tuple[BrokerId, ...] = ()
    """Of these, those that had it in a directory that failed, and may lack its end since."""
    last_known_leader: BrokerId = NO_BROKER
    """Who led last, where neither ISR nor ELR has anybody: it alone may be elected."""
    adding: tuple[BrokerId, ...] = ()
    removing: tuple[BrokerId, ...] = ()
    """Of a reassignment under way; both are among `replicas` until it is over (KIP-455)."""
    revision: Revision = 0
    """The key's mod-revision, which whoever changes it compares."""


class TopicImage(NamedTuple):
    name: TopicName
    topic_id: Uuid
    partitions: tuple[PartitionImage, ...]
    configs: Mapping[str, str]
    """What was set on this topic; what was not follows from the broker's settings."""


class Endpoint(NamedTuple):
    listener: str
    host: str
    port: int


class BrokerImage(NamedTuple):
    """A broker that lives, or did until its lease runs out."""

    broker_id: BrokerId
    epoch: int
    """The create-revision of the registration: a new one for each incarnation."""
    rack: str | None
    endpoints: tuple[Endpoint, ...]
    fenced: bool = False
    """Registered, and not yet, or not any more, to lead or to be placed on."""
    leaving: bool = False
    """It shuts down, and its leaders are moved before."""
    directories: tuple[Uuid, ...] = ()
    """Ids of its log directories: who has the same ones is the same broker, started again, or
    has a copy."""
    revision: Revision = 0
    """The key's mod-revision."""
    incarnation: Uuid | None = None
    """Drawn when its process began: by it a broker knows a registration as its own."""
    cordoned: bool = False
    """Its own settings cordon all of its directories; what was set while it runs wins."""

    @property
    def is_usable(self) -> bool:
        """Whether it may lead, be in an ISR, and be placed on."""
        return not self.fenced and not self.leaving


class KnownBroker(NamedTuple):
    """A broker that was registered once and is not removed; it may live or not."""

    broker_id: BrokerId
    rack: str | None
    endpoints: tuple[Endpoint, ...]
    directories: tuple[Uuid, ...] = ()
    boot_id: str = ""
    """Of the machine when it registered last: another one says that the page cache was lost."""
    features: Mapping[str, tuple[int, int]] = MappingProxyType({})
    """Lowest and highest level of each feature that its build supports; empty: it does not say."""


class ConfigResource(NamedTuple):
    type: ResourceType
    name: str


@dataclass(frozen=True, slots=True)
class Image:
    revision: int = 0
    cluster_id: str = ""
    controller_id: BrokerId = NO_BROKER
    brokers: Mapping[BrokerId, BrokerImage] = field(default_factory=dict)
    controller_revision: Revision = 0
    """The mod-revision of the key that says who controls; 0: nobody does."""
    known_brokers: Mapping[BrokerId, KnownBroker] = field(default_factory=dict)
    topics: Mapping[TopicName, TopicImage] = field(default_factory=dict)
    topic_names: Mapping[Uuid, TopicName] = field(default_factory=dict)
    configs: Mapping[ConfigResource, Mapping[str, str]] = field(default_factory=dict)
    """Settings of brokers (name "" is the default of all), groups and client metrics."""
    deleting: Mapping[Uuid, TopicName] = field(default_factory=dict)
    """Topics whose files may be removed."""
    next_producer_id: int = 0
    """The first producer id that no broker has been given a block of."""
    producer_ids_revision: Revision = 0
    """The mod-revision of the key that says so."""
    features: Mapping[str, int] = field(default_factory=dict)
    """Levels that were finalized; `features.finalized` has those, too, that nobody set."""
    unlisted: Mapping[Uuid, Mapping[PartitionId, PartitionImage]] = field(default_factory=dict)
    """Partitions whose topic does not say that it has them: yet, or any more."""
    decisions: int = 0
    """How often the controllers of a cluster have decided anything."""
    generation: int = 0
    """How often the metadata was made anew from data directories, its store lost."""

    def topic_by_id(self, topic_id: Uuid) -> TopicImage | None:
        name = self.topic_names.get(topic_id)
        return None if name is None else self.topics[name]

    def topic_id_of_partition(self, partition: TopicPartition) -> Uuid | None:
        found = self.topics.get(partition.topic)
        return None if found is None else found.topic_id

    def partition(self, topic: TopicName, partition: PartitionId) -> PartitionImage | None:
        found = self.topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            return None
        return found.partitions[partition]
