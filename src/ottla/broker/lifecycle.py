"""Registration: from a store, empty or not, to a broker that may lead its partitions.

On a single node the order is: agree on the cluster id, register, take control,
and, after an unclean stop, raise the leader epoch of every partition, all in
one transaction, so that an epoch belongs to one incarnation.
"""

from collections.abc import Mapping

from ottla.metadata import changes, controller
from ottla.metadata.image import BrokerImage, Endpoint, Image
from ottla.metadata.store import Compare, Revision, Store
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId
from ottla.storage.logs import Logs


async def register(
    store: Store,
    image: Image,
    *,
    broker_id: BrokerId,
    cluster_id: str,
    rack: str | None,
    advertised: Mapping[str, tuple[str, int]],
    clean: bool,
) -> Revision:
    """Write this incarnation's keys; return the revision of the controller key.

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
    )
    puts = [
        changes.cluster_key(cluster_id),
        changes.broker_key(broker),
        changes.controller_key(broker_id),
    ]
    if not clean:
        puts += controller.raise_leader_epochs(image, broker_id).puts
    compare = [] if image.revision else [Compare(changes.CLUSTER, 0)]
    result = await store.transact(compare, puts)
    if not result.ok:
        raise StorageError("somebody else is writing to the metadata store")
    return result.revision


async def adopt(store: Store, logs: Logs, cluster_id: str, broker_id: BrokerId) -> None:
    """Take over the topics of a directory that Kafka wrote, into a store that is still empty."""
