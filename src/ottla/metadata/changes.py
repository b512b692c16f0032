"""From one image to the next: what the store's keys mean, and how changed keys change the image.

Keys and their JSON values:

    cluster                      {"cluster_id", and where it is not 0 "generation": how often the
                                 metadata was made anew from data directories}
    controller                   {"broker_id"}; in a cluster, with that broker's lease
    producer_ids                 {"next"}: the first id outside every block handed out
    broker/ID                    {"rack", "endpoints": [[listener, host, port]], "fenced", and where
                                 they are not empty "leaving", "directories"}; in a cluster, with
                                 the broker's lease
    registered/ID                {"rack", "endpoints", "directories", "boot_id", "features": {feature:
                                 [lowest, highest level]}}: stays when the broker is gone, until it
                                 is removed from the cluster
    topic/TOPIC_ID               {"name", "partitions": how many}
    partition/TOPIC_ID/N         {"leader", "leader_epoch", "partition_epoch", "replicas", "isr", and
                                 where they are not empty "elr", "last_known_leader", "adding",
                                 "removing"}
    config/TYPE/NAME             {setting: value}; topics too, by name
    deleting/TOPIC_ID            {"name"}: its files may be removed
    features                     {feature: finalized level}; a cluster that was made before levels
                                 were finalized has none until somebody sets one
    decided                      {"count"}: how often the controllers decided anything, so that a
                                 store that was set back is noticed; in a cluster only
    rebuilding                   {"cluster_id", "generation", "identity", "revision", "decisions"}: of
                                 what was there before, while it is made anew (`broker/restoring.py`)

A topic exists when its topic key does, and has as many partitions as that says; its
partition keys may be older, and go later: thousands do not fit in one transaction. Keys
and fields that are not known here are passed over: a newer build wrote them. What writes a
key that others wrote drops them, so whatever others must keep is gated (`features.py`). The
image is a function of the keys alone, so loading everything and following every change
end in the same image.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from ottla.metadata.image import (
    BrokerImage,
    ConfigResource,
    Endpoint,
    Image,
    KnownBroker,
    PartitionImage,
    TopicImage,
)
from ottla.metadata.store import Changes, KeyVersion, Put, Revision, Snapshot
from ottla.model.holdings import MetadataCopy
from ottla.model.ids import (
    NO_BROKER,
    BrokerId,
    PartitionId,
    TopicName,
    Uuid,
    uuid_from_text,
    uuid_text,
)
from ottla.model.isolation import ResourceType
from ottla.model.steps import Steps, at_once

CLUSTER = "cluster"
CONTROLLER = "controller"
PRODUCER_IDS = "producer_ids"
BROKERS = "broker/"
"""Before the id of each broker that is registered: it goes with that broker's lease."""
FEATURES = "features"
DECIDED = "decided"
REBUILDING = "rebuilding"
"""There while the metadata is made anew, and `cluster` is not: no broker starts meanwhile."""

_KINDS = frozenset(
    (
        "broker",
        CLUSTER,
        "config",
        CONTROLLER,
        DECIDED,
        "deleting",
        FEATURES,
        PRODUCER_IDS,
        "registered",
        "topic",
    )
)
"""Of keys, but for `partition`."""

KeyValue = tuple[str, bytes]


class Delta(NamedTuple):
    """What is different in the newer of two images, for those who must act on it."""

    topics: frozenset[TopicName]
    """Created, changed (partitions, leaders, settings) or gone."""
    resources: frozenset[ConfigResource]
    """Whose settings changed; topics are in `topics`."""
    deleting: frozenset[Uuid]
    brokers: bool


# Encoding


_to_json = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_from_json = json.JSONDecoder().raw_decode


def _value(content: object) -> bytes:
    return _to_json(content).encode()


def _content(value: bytes) -> Any:
    return _from_json(value.decode())[0]


def cluster_key(cluster_id: str, generation: int = 0) -> KeyValue:
    content: dict[str, Any] = {"cluster_id": cluster_id}
    if generation:
        content["generation"] = generation
    return CLUSTER, _value(content)


def controller_key(broker_id: BrokerId) -> KeyValue:
    return CONTROLLER, _value({"broker_id": broker_id})


def producer_ids_key(next_producer_id: int) -> KeyValue:
    return PRODUCER_IDS, _value({"next": next_producer_id})


def features_key(levels: Mapping[str, int]) -> KeyValue:
    return FEATURES, _value(dict(levels))


def decided_key(count: int) -> KeyValue:
    return DECIDED, _value({"count": count})


def broker_name(broker_id: BrokerId) -> str:
    return f"{BROKERS}{broker_id}"


def broker_key(broker: BrokerImage) -> KeyValue:
    content: dict[str, Any] = {
        "rack": broker.rack,
        "endpoints": broker.endpoints,
        "fenced": broker.fenced,
    }
    if broker.leaving:
        content["leaving"] = True
    if broker.directories:
        content["directories"] = [uuid_text(each) for each in broker.directories]
    if broker.incarnation is not None:
        content["incarnation"] = uuid_text(broker.incarnation)
    if broker.cordoned:
        content["cordoned"] = True
    return broker_name(broker.broker_id), _value(content)


def known_broker_name(broker_id: BrokerId) -> str:
    return f"registered/{broker_id}"


def known_broker_key(broker: KnownBroker) -> KeyValue:
    return known_broker_name(broker.broker_id), _value(
        {
            "rack": broker.rack,
            "endpoints": broker.endpoints,
            "directories": [uuid_text(each) for each in broker.directories],
            "boot_id": broker.boot_id,
            "features": dict(broker.features),
        }
    )


def topic_key(topic_id: Uuid, name: TopicName, partitions: int) -> KeyValue:
    return f"topic/{uuid_text(topic_id)}", _value({"name": name, "partitions": partitions})


def partition_name(topic_id: Uuid, partition: PartitionId) -> str:
    return f"partition/{uuid_text(topic_id)}/{partition}"


def partition_key(topic_id: Uuid, partition: PartitionId, state: PartitionImage) -> KeyValue:
    return partition_name(topic_id, partition), _partition_value(state)


# Thousands of partitions share a few states: both ways are remembered, so that creating
# 500 topics takes a third less, and partitions in the same state share one tuple.


@lru_cache(maxsize=1024)
def _partition_value(state: PartitionImage) -> bytes:
    content: dict[str, Any] = {
        "leader": state.leader,
        "leader_epoch": state.leader_epoch,
        "partition_epoch": state.partition_epoch,
        "replicas": state.replicas,
        "isr": state.isr,
    }
    if state.offline_replicas:
        content["offline"] = state.offline_replicas
    if state.elr:
        content["elr"] = state.elr
    if state.doubtful:
        content["doubtful"] = state.doubtful
    if state.last_known_leader != NO_BROKER:
        content["last_known_leader"] = state.last_known_leader
    if state.adding:
        content["adding"] = state.adding
    if state.removing:
        content["removing"] = state.removing
    return _value(content)


@lru_cache(maxsize=1024)
def _partition_state(value: bytes, revision: Revision) -> PartitionImage:
    content = _content(value)
    return PartitionImage(
        content["leader"],
        content["leader_epoch"],
        content["partition_epoch"],
        tuple(content["replicas"]),
        tuple(content["isr"]),
        tuple(content.get("offline", ())),
        elr=tuple(content.get("elr", ())),
        doubtful=tuple(content.get("doubtful", ())),
        last_known_leader=content.get("last_known_leader", NO_BROKER),
        adding=tuple(content.get("adding", ())),
        removing=tuple(content.get("removing", ())),
        revision=revision,
    )


def config_name(resource: ConfigResource) -> str:
    return f"config/{int(resource.type)}/{resource.name}"


def config_key(resource: ConfigResource, configs: Mapping[str, str]) -> KeyValue:
    return config_name(resource), _value(dict(configs))


def deleting_name(topic_id: Uuid) -> str:
    return f"deleting/{uuid_text(topic_id)}"


def deleting_key(topic_id: Uuid, name: TopicName) -> KeyValue:
    return deleting_name(topic_id), _value({"name": name})


def lasting_keys(image: Image) -> Steps[list[KeyValue]]:
    """The keys that made this image, but for those that end with a broker's life; a topic a step."""
    found = [
        cluster_key(image.cluster_id, image.generation),
        *(known_broker_key(broker) for broker in image.known_brokers.values()),
        *(config_key(resource, configs) for resource, configs in image.configs.items() if configs),
        *(deleting_key(topic_id, name) for topic_id, name in image.deleting.items()),
    ]
    if image.producer_ids_revision:
        found.append(producer_ids_key(image.next_producer_id))
    if image.features:
        found.append(features_key(image.features))
    if image.decisions:
        found.append(decided_key(image.decisions))
    for name, topic in image.topics.items():
        yield
        for number, state in enumerate(topic.partitions):
            found.append(partition_key(topic.topic_id, number, state._replace(revision=0)))
        if topic.configs:
            resource = ConfigResource(ResourceType.TOPIC, name)
            found.append(config_key(resource, topic.configs))
        found.append(topic_key(topic.topic_id, name, len(topic.partitions)))
    return found


def is_lasting(key: str) -> bool:
    """Whether a key outlives the brokers."""
    return key not in (CONTROLLER, REBUILDING) and not key.startswith(BROKERS)


def rebuilding_key(copy: MetadataCopy) -> KeyValue:
    return REBUILDING, _value(
        {
            "cluster_id": copy.cluster_id,
            "generation": copy.generation,
            "identity": copy.identity,
            "revision": copy.revision,
            "decisions": copy.decisions,
        }
    )


def as_copy(snapshot: Snapshot, identity: str) -> MetadataCopy | None:
    """What a store has, as if it were a broker's copy; None: it has no cluster's metadata."""
    keys = {key: value for key, value in snapshot.items.items() if is_lasting(key)}
    if REBUILDING in snapshot.items:
        before = _content(snapshot.items[REBUILDING])
        return MetadataCopy(**before, keys=keys, revisions={})
    if CLUSTER not in snapshot.items:
        return None
    cluster = _content(snapshot.items[CLUSTER])
    decided = _content(snapshot.items[DECIDED])["count"] if DECIDED in snapshot.items else 0
    return MetadataCopy(
        cluster["cluster_id"],
        cluster.get("generation", 0),
        identity,
        snapshot.revision,
        decided,
        keys,
        {},
    )


# Applying


def from_snapshot(snapshot: Snapshot) -> Image:
    """The image of everything in the store."""
    puts = tuple(
        Put(key, value, snapshot.versions[key].create_revision)
        for key, value in snapshot.items.items()
    )
    changes = Changes(snapshot.revision, puts, ())
    return at_once(_apply(Image(), changes, snapshot.versions))[0]


def everything_in(image: Image) -> Delta:
    """What to act on when an image is followed for the first time."""
    return Delta(frozenset(image.topics), frozenset(image.configs), frozenset(image.deleting), True)


def difference(old: Image, new: Image) -> Delta:
    """What is different in `new`, where the changes between the two are not known."""
    topics = {
        name for name in (*old.topics, *new.topics) if old.topics.get(name) != new.topics.get(name)
    }
    resources = {
        resource
        for resource in (*old.configs, *new.configs)
        if old.configs.get(resource) != new.configs.get(resource)
    }
    deleting = frozenset(new.deleting) - frozenset(old.deleting)
    return Delta(frozenset(topics), frozenset(resources), deleting, old.brokers != new.brokers)


class _Draft:
    """The next image while it is being made; a mapping is copied before its first change."""

    def __init__(
        self, image: Image, revision: Revision, versions: Mapping[str, KeyVersion] | None
    ) -> None:
        self.image = image
        self.copies: dict[str, dict[Any, Any]] = {}
        self.scalars: dict[str, Any] = {}
        self.topics: set[TopicName] = set()
        self.resources: set[ConfigResource] = set()
        self.deleting: set[Uuid] = set()
        self.partitions: dict[Uuid, dict[PartitionId, PartitionImage | None]] = {}
        """What was put; None: deleted."""
        self.counts: dict[Uuid, tuple[TopicName, int]] = {}
        self.topic_configs: dict[TopicName, Mapping[str, str]] = {}
        self._revision = revision
        self._versions = versions

    def change(self, mapping: str) -> dict[Any, Any]:
        copy = self.copies.get(mapping)
        if copy is None:
            copy = self.copies[mapping] = dict(getattr(self.image, mapping))
        return copy

    def revision_of(self, key: str) -> Revision:
        """The mod-revision of a key that was put."""
        return self._revision if self._versions is None else self._versions[key].mod_revision

    def current(self, mapping: str) -> Mapping[Any, Any]:
        copy = self.copies.get(mapping)
        return copy if copy is not None else getattr(self.image, mapping)


def apply(image: Image, changes: Changes) -> tuple[Image, Delta]:
    """Return the image after `changes`, and what is different in it."""
    return at_once(apply_in_steps(image, changes))


def apply_in_steps(image: Image, changes: Changes) -> Steps[tuple[Image, Delta]]:
    """Do as `apply`, a key or a topic a step."""
    return _apply(image, changes, None)


def _apply(
    image: Image, changes: Changes, versions: Mapping[str, KeyVersion] | None
) -> Steps[tuple[Image, Delta]]:
    draft = _Draft(image, changes.revision, versions)
    # Deletes first: one transaction may replace a topic of the same name.
    for key in changes.deletes:
        _delete(draft, key)
        yield
    for put in changes.puts:
        _put(draft, put)
        yield
    yield from _build_topics(draft)
    delta = Delta(
        frozenset(draft.topics),
        frozenset(draft.resources),
        frozenset(draft.deleting),
        "brokers" in draft.copies,
    )
    fields = {**draft.copies, **draft.scalars, "revision": changes.revision}
    return replace(image, **fields), delta


def _put(draft: _Draft, put: Put) -> None:
    kind, _, rest = put.key.partition("/")
    if kind == "partition":
        topic_id, _, number = rest.partition("/")
        states = draft.partitions.setdefault(uuid_from_text(topic_id), {})
        states[int(number)] = _partition_state(put.value, draft.revision_of(put.key))
        return
    if kind not in _KINDS or (kind == "config" and _resource(rest) is None):
        return  # of a newer build
    content = _content(put.value)
    if kind == "topic":
        draft.counts[uuid_from_text(rest)] = (content["name"], content["partitions"])
    elif kind == "config":
        resource = _resource(rest)
        assert resource is not None
        if resource.type is ResourceType.TOPIC:
            draft.topic_configs[resource.name] = content
        else:
            draft.change("configs")[resource] = content
            draft.resources.add(resource)
    elif kind == "deleting":
        draft.change("deleting")[uuid_from_text(rest)] = content["name"]
        draft.deleting.add(uuid_from_text(rest))
    elif kind == "broker":
        draft.change("brokers")[int(rest)] = BrokerImage(
            int(rest),
            put.create_revision,
            content["rack"],
            _endpoints(content),
            content["fenced"],
            content.get("leaving", False),
            _directories(content),
            draft.revision_of(put.key),
            uuid_from_text(content["incarnation"]) if "incarnation" in content else None,
            content.get("cordoned", False),
        )
    elif kind == "registered":
        draft.change("known_brokers")[int(rest)] = KnownBroker(
            int(rest),
            content["rack"],
            _endpoints(content),
            _directories(content),
            content["boot_id"],
            {name: (low, high) for name, (low, high) in content.get("features", {}).items()},
        )
    elif put.key == CLUSTER:
        draft.scalars["cluster_id"] = content["cluster_id"]
        draft.scalars["generation"] = content.get("generation", 0)
    elif put.key == CONTROLLER:
        draft.scalars["controller_id"] = content["broker_id"]
        draft.scalars["controller_revision"] = draft.revision_of(put.key)
    elif put.key == PRODUCER_IDS:
        draft.scalars["next_producer_id"] = content["next"]
        draft.scalars["producer_ids_revision"] = draft.revision_of(put.key)
    elif put.key == DECIDED:
        draft.scalars["decisions"] = content["count"]
    elif put.key == FEATURES:
        draft.scalars["features"] = content


def _endpoints(content: Any) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(*endpoint) for endpoint in content["endpoints"])


def _directories(content: Any) -> tuple[Uuid, ...]:
    return tuple(uuid_from_text(each) for each in content.get("directories", ()))


def _delete(draft: _Draft, key: str) -> None:
    kind, _, rest = key.partition("/")
    if kind == "topic":
        _delete_topic(draft, uuid_from_text(rest))
    elif kind == "partition":
        topic_id, _, number = rest.partition("/")
        draft.partitions.setdefault(uuid_from_text(topic_id), {})[int(number)] = None
    elif kind == "config":
        resource = _resource(rest)
        if resource is None:
            return
        if resource.type is ResourceType.TOPIC:
            draft.topic_configs[resource.name] = {}
        else:
            draft.change("configs").pop(resource, None)
            draft.resources.add(resource)
    elif kind == "deleting":
        draft.change("deleting").pop(uuid_from_text(rest), None)
    elif kind == "broker":
        draft.change("brokers").pop(int(rest), None)
    elif kind == "registered":
        draft.change("known_brokers").pop(int(rest), None)
    elif key == CONTROLLER:
        draft.scalars["controller_id"] = NO_BROKER
        draft.scalars["controller_revision"] = 0


def _delete_topic(draft: _Draft, topic_id: Uuid) -> None:
    name = draft.change("topic_names").pop(topic_id, None)
    if name is None:
        return
    topic = draft.change("topics").pop(name, None)
    draft.topics.add(name)
    if topic is not None:
        draft.change("unlisted")[topic_id] = dict(enumerate(topic.partitions))
        draft.partitions.setdefault(topic_id, {})


def _build_topics(draft: _Draft) -> Steps[None]:
    """Make the topics anew whose keys changed."""
    names: dict[Uuid, TopicName] = {topic_id: name for topic_id, (name, _) in draft.counts.items()}
    listed = draft.current("topic_names")
    for topic_id in draft.partitions:
        if topic_id not in names and topic_id in listed:
            names[topic_id] = listed[topic_id]
    topics = draft.current("topics")
    for name in draft.topic_configs:
        if name in topics:
            names[topics[name].topic_id] = name
    for topic_id, name in names.items():
        _build_topic(draft, topic_id, name)
        yield
    for topic_id in draft.partitions:
        if topic_id not in names:
            _keep_unlisted(draft, topic_id, draft.current("unlisted").get(topic_id, {}))
            yield


def _build_topic(draft: _Draft, topic_id: Uuid, name: TopicName) -> None:
    old: TopicImage | None = draft.current("topics").get(name)
    if old is not None and old.topic_id != topic_id:
        old = None
    partitions = list(old.partitions) if old is not None else []
    count = draft.counts[topic_id][1] if topic_id in draft.counts else len(partitions)
    unlisted = draft.current("unlisted").get(topic_id, {})
    if count != len(partitions) or unlisted:
        spare = {**unlisted, **dict(enumerate(partitions))}
        _keep_unlisted(draft, topic_id, spare, listed=count)
        spare.update(_put_partitions(draft, topic_id))
        partitions = [spare[number] for number in range(count)]
    else:
        changed = _put_partitions(draft, topic_id)
        for number, state in changed.items():
            if number < count:
                partitions[number] = state
        if any(number >= count for number in changed):
            _keep_unlisted(draft, topic_id, {}, listed=count)
    configs = draft.topic_configs.get(name, old.configs if old is not None else {})
    draft.change("topics")[name] = TopicImage(name, topic_id, tuple(partitions), configs)
    draft.change("topic_names")[topic_id] = name
    draft.topics.add(name)


def _put_partitions(draft: _Draft, topic_id: Uuid) -> dict[PartitionId, PartitionImage]:
    states = draft.partitions.get(topic_id, {})
    return {number: state for number, state in states.items() if state is not None}


def _keep_unlisted(
    draft: _Draft,
    topic_id: Uuid,
    before: Mapping[PartitionId, PartitionImage],
    *,
    listed: int = 0,
) -> None:
    """Remember the partitions from number `listed` on, which their topic does not say it has."""
    now: dict[PartitionId, PartitionImage | None] = {**before, **draft.partitions.get(topic_id, {})}
    rest = {number: state for number, state in now.items() if number >= listed and state}
    if rest:
        draft.change("unlisted")[topic_id] = rest
    elif topic_id in draft.current("unlisted"):
        draft.change("unlisted").pop(topic_id)


def _resource(rest: str) -> ConfigResource | None:
    """None: of a type that is not known here."""
    number, _, name = rest.partition("/")
    try:
        return ConfigResource(ResourceType(int(number)), name)
    except ValueError:
        return None


def merge(puts: Iterable[KeyValue]) -> list[KeyValue]:
    """The last put of each key: a transaction may put a key once."""
    return list(dict(puts).items())
