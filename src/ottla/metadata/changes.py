"""From one image to the next: what the store's keys mean, and how changed keys change the image.

Keys and their JSON values:

    cluster                      {"cluster_id"}
    controller                   {"broker_id"}
    producer_ids                 {"next"}: the first id outside every block handed out
    broker/ID                    {"rack", "endpoints": [[listener, host, port]], "fenced"}
    topic/TOPIC_ID               {"name", "partitions": how many}
    partition/TOPIC_ID/N         {"leader", "leader_epoch", "partition_epoch", "replicas", "isr"}
    config/TYPE/NAME             {setting: value}; topics too, by name
    deleting/TOPIC_ID            {"name"}: its files may be removed

A topic exists when its topic key does; its partition keys may be older. The image
is a function of the keys alone, so loading everything and following every change
end in the same image.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ottla.metadata.image import (
    BrokerImage,
    ConfigResource,
    Endpoint,
    Image,
    PartitionImage,
    TopicImage,
)
from ottla.metadata.store import Changes, Put, Snapshot
from ottla.model.ids import BrokerId, PartitionId, TopicName, Uuid, uuid_from_text, uuid_text
from ottla.model.isolation import ResourceType
from ottla.model.steps import Steps, at_once

CLUSTER = "cluster"
CONTROLLER = "controller"
PRODUCER_IDS = "producer_ids"

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


def cluster_key(cluster_id: str) -> KeyValue:
    return CLUSTER, _value({"cluster_id": cluster_id})


def controller_key(broker_id: BrokerId) -> KeyValue:
    return CONTROLLER, _value({"broker_id": broker_id})


def producer_ids_key(next_producer_id: int) -> KeyValue:
    return PRODUCER_IDS, _value({"next": next_producer_id})


def broker_name(broker_id: BrokerId) -> str:
    return f"broker/{broker_id}"


def broker_key(broker: BrokerImage) -> KeyValue:
    return broker_name(broker.broker_id), _value(
        {"rack": broker.rack, "endpoints": broker.endpoints, "fenced": broker.fenced}
    )


def topic_key(topic_id: Uuid, name: TopicName, partitions: int) -> KeyValue:
    return f"topic/{uuid_text(topic_id)}", _value({"name": name, "partitions": partitions})


def partition_key(topic_id: Uuid, partition: PartitionId, state: PartitionImage) -> KeyValue:
    return f"partition/{uuid_text(topic_id)}/{partition}", _partition_value(state)


# Thousands of partitions share a few states: both ways are remembered, so that creating
# 500 topics takes a third less, and partitions in the same state share one tuple.


@lru_cache(maxsize=1024)
def _partition_value(state: PartitionImage) -> bytes:
    return _value(
        {
            "leader": state.leader,
            "leader_epoch": state.leader_epoch,
            "partition_epoch": state.partition_epoch,
            "replicas": state.replicas,
            "isr": state.isr,
        }
    )


@lru_cache(maxsize=1024)
def _partition_state(value: bytes) -> PartitionImage:
    content = _content(value)
    return PartitionImage(
        content["leader"],
        content["leader_epoch"],
        content["partition_epoch"],
        tuple(content["replicas"]),
        tuple(content["isr"]),
    )


def config_name(resource: ConfigResource) -> str:
    return f"config/{int(resource.type)}/{resource.name}"


def config_key(resource: ConfigResource, configs: Mapping[str, str]) -> KeyValue:
    return config_name(resource), _value(dict(configs))


def deleting_name(topic_id: Uuid) -> str:
    return f"deleting/{uuid_text(topic_id)}"


def deleting_key(topic_id: Uuid, name: TopicName) -> KeyValue:
    return deleting_name(topic_id), _value({"name": name})


# Applying


def from_snapshot(snapshot: Snapshot) -> Image:
    """The image of everything in the store."""
    puts = tuple(
        Put(key, value, snapshot.versions[key].create_revision)
        for key, value in snapshot.items.items()
    )
    return apply(Image(), Changes(snapshot.revision, puts, ()))[0]


def everything_in(image: Image) -> Delta:
    """What to act on when an image is followed for the first time."""
    return Delta(frozenset(image.topics), frozenset(image.configs), frozenset(image.deleting), True)


class _Draft:
    """The next image while it is being made; a mapping is copied before its first change."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.copies: dict[str, dict[Any, Any]] = {}
        self.scalars: dict[str, Any] = {}
        self.topics: set[TopicName] = set()
        self.resources: set[ConfigResource] = set()
        self.deleting: set[Uuid] = set()
        self.partitions: dict[Uuid, dict[PartitionId, PartitionImage]] = {}
        self.counts: dict[Uuid, tuple[TopicName, int]] = {}
        self.topic_configs: dict[TopicName, Mapping[str, str]] = {}

    def change(self, mapping: str) -> dict[Any, Any]:
        copy = self.copies.get(mapping)
        if copy is None:
            copy = self.copies[mapping] = dict(getattr(self.image, mapping))
        return copy


def apply(image: Image, changes: Changes) -> tuple[Image, Delta]:
    """Return the image after `changes`, and what is different in it."""
    return at_once(apply_in_steps(image, changes))


def apply_in_steps(image: Image, changes: Changes) -> Steps[tuple[Image, Delta]]:
    """Do as `apply`, a key or a topic a step."""
    draft = _Draft(image)
    # Deletes first: one transaction may replace a topic of the same name.
    for key in changes.deletes:
        _delete(draft, key)
        yield
    for put in changes.puts:
        _put(draft, put)
        yield
    yield from _build_topics(draft)
    fields = {
        "revision": changes.revision,
        "cluster_id": image.cluster_id,
        "controller_id": image.controller_id,
        "brokers": image.brokers,
        "topics": image.topics,
        "topic_names": image.topic_names,
        "configs": image.configs,
        "deleting": image.deleting,
        "next_producer_id": image.next_producer_id,
    }
    delta = Delta(
        frozenset(draft.topics),
        frozenset(draft.resources),
        frozenset(draft.deleting),
        "brokers" in draft.copies,
    )
    return Image(**{**fields, **draft.copies, **draft.scalars}), delta


def _put(draft: _Draft, put: Put) -> None:
    kind, _, rest = put.key.partition("/")
    if kind == "partition":
        topic_id, _, number = rest.partition("/")
        states = draft.partitions.setdefault(uuid_from_text(topic_id), {})
        states[int(number)] = _partition_state(put.value)
        return
    content = _content(put.value)
    if kind == "topic":
        draft.counts[uuid_from_text(rest)] = (content["name"], content["partitions"])
    elif kind == "config":
        resource = _resource(rest)
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
            tuple(Endpoint(*endpoint) for endpoint in content["endpoints"]),
            content["fenced"],
        )
    elif put.key == CLUSTER:
        draft.scalars["cluster_id"] = content["cluster_id"]
    elif put.key == CONTROLLER:
        draft.scalars["controller_id"] = content["broker_id"]
    elif put.key == PRODUCER_IDS:
        draft.scalars["next_producer_id"] = content["next"]


def _delete(draft: _Draft, key: str) -> None:
    kind, _, rest = key.partition("/")
    if kind == "topic":
        name = draft.change("topic_names").pop(uuid_from_text(rest), None)
        if name is not None:
            draft.change("topics").pop(name, None)
            draft.topics.add(name)
    elif kind == "config":
        resource = _resource(rest)
        if resource.type is ResourceType.TOPIC:
            draft.topic_configs[resource.name] = {}
        else:
            draft.change("configs").pop(resource, None)
            draft.resources.add(resource)
    elif kind == "deleting":
        draft.change("deleting").pop(uuid_from_text(rest), None)
    elif kind == "broker":
        draft.change("brokers").pop(int(rest), None)


def _build_topics(draft: _Draft) -> Steps[None]:
    """Make the topics anew whose keys changed."""
    image = draft.image
    names: dict[Uuid, TopicName] = {}
    current = draft.copies.get("topics", image.topics)
    current_names = draft.copies.get("topic_names", image.topic_names)
    for topic_id, (name, _) in draft.counts.items():
        names[topic_id] = name
    for topic_id in draft.partitions:
        if topic_id not in names and topic_id in current_names:
            names[topic_id] = current_names[topic_id]
    for name in draft.topic_configs:
        if name in current:
            names[current[name].topic_id] = name
    for topic_id, name in names.items():
        old: TopicImage | None = current.get(name)
        if old is not None and old.topic_id != topic_id:
            old = None
        partitions = dict(enumerate(old.partitions)) if old is not None else {}
        partitions.update(draft.partitions.get(topic_id, {}))
        count = draft.counts[topic_id][1] if topic_id in draft.counts else len(partitions)
        configs = draft.topic_configs.get(name, old.configs if old is not None else {})
        draft.change("topics")[name] = TopicImage(
            name, topic_id, tuple(partitions[number] for number in range(count)), configs
        )
        draft.change("topic_names")[topic_id] = name
        draft.topics.add(name)
        yield


def _resource(rest: str) -> ConfigResource:
    number, _, name = rest.partition("/")
    return ConfigResource(ResourceType(int(number)), name)


def merge(puts: Iterable[KeyValue]) -> list[KeyValue]:
    """The last put of each key: a transaction may put a key once."""
    return list(dict(puts).items())
