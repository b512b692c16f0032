"""Registration: from a store, empty or not, to a broker that may lead its partitions.

On a single node the order is: agree on the cluster id, register, take control,
and, after an unclean stop, raise the leader epoch of every partition, all in
one transaction, so that an epoch belongs to one incarnation. What an earlier
incarnation registered is removed before: a broker's epoch is the revision that
created its key, and a key put over another keeps that of the other.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping

from ottla.metadata import changes, controller
from ottla.metadata.features import newest
from ottla.metadata.image import BrokerImage, ConfigResource, Endpoint, Image, PartitionImage
from ottla.metadata.store import Compare, Store
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId, ProducerId, Uuid
from ottla.model.isolation import ResourceType
from ottla.storage.adoption import Adoption, survey
from ottla.storage.logs import Logs

log = logging.getLogger("ottla.broker")


async def register(
    store: Store,
    image: Image,
    *,
    broker_id: BrokerId,
    cluster_id: str,
    rack: str | None,
    advertised: Mapping[str, tuple[str, int]],
    clean: bool,
    highest_producer_id: ProducerId,
    is_cordoned: bool = False,
    deleted: Iterable[Uuid] = (),
) -> None:
    """Write this incarnation's keys.

    No producer gets an id up to `highest_producer_id`, which the logs know. `deleted` are
    topics of which no directory has files any more: they are forgotten.

    Raises:
        StorageError: the store belongs to another cluster, or somebody else writes to it.
    """
    if image.cluster_id and image.cluster_id != cluster_id:
        raise StorageError(
            f"the metadata store is of cluster {image.cluster_id}, the log directories are of "
            f"cluster {cluster_id}; point log.dirs at directories that belong together"
        )
    broker = BrokerImage(
        broker_id,
        0,
        rack,
        tuple(Endpoint(name, host, port) for name, (host, port) in advertised.items()),
        cordoned=is_cordoned,
    )
    puts = [
        changes.cluster_key(cluster_id),
        changes.broker_key(broker),
        changes.controller_key(broker_id),
    ]
    if not image.revision:
        puts.append(changes.features_key(newest()))
    if not clean:
        puts += controller.raise_leader_epochs(image, broker_id).puts
    if highest_producer_id >= image.next_producer_id:
        puts.append(changes.producer_ids_key(highest_producer_id + 1))
    if broker_id in image.brokers:
        # Not in the transaction below, which may change a key only once. Who dies between the
        # two is not registered, and is no worse off for it at its next start.
        await store.transact([], [], [changes.broker_name(broker_id)])
    compare = [] if image.revision else [Compare(changes.CLUSTER, 0)]
    forgotten = [changes.deleting_name(topic_id) for topic_id in deleted]
    result = await store.transact(compare, puts, forgotten)
    if not result.ok:
        raise StorageError("somebody else is writing to the metadata store")


async def adopt(store: Store, logs: Logs, broker_id: BrokerId) -> None:
    """Take over the topics of directories that Kafka wrote, into a store that is still empty.

    Nothing is written where the directories hold no partition.

    Raises:
        StorageError: the store failed, or somebody else writes to it.
        OSError: a directory cannot be read.
    """
    found = survey(logs)
    if found is None:
        return
    assert found.cluster_id is not None, "the directories were identified before"
    for problem in found.problems:
        log.warning("adopting: %s", problem)
    result = await store.transact(
        [Compare(changes.CLUSTER, 0)],
        [
            changes.cluster_key(found.cluster_id),
            changes.features_key(newest()),
            *_adopted(found, broker_id),
        ],
    )
    if not result.ok:
        raise StorageError("somebody else is writing to the metadata store")
    log.info(
        "adopted %d topics, %s",
        len(found.topics),
        "with their settings" if found.from_metadata_log else "whose settings are not known",
    )


def _adopted(found: Adoption, broker_id: BrokerId) -> Iterator[changes.KeyValue]:
    """The keys of what was found, led by this broker in epochs above all that were used."""
    us = (broker_id,)
    for topic in found.topics.values():
        for number, epoch in topic.leader_epochs.items():
            state = PartitionImage(broker_id, epoch + 1, 0, us, us)
            yield changes.partition_key(topic.topic_id, number, state)
        if topic.configs:
            resource = ConfigResource(ResourceType.TOPIC, topic.name)
            yield changes.config_key(resource, topic.configs)
        yield changes.topic_key(topic.topic_id, topic.name, len(topic.leader_epochs))
    for (kind, name), configs in found.configs.items():
        yield changes.config_key(ConfigResource(kind, name), configs)
    yield changes.producer_ids_key(found.next_producer_id)
