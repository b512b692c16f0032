"""The finalized feature levels, watched over: who does not support them is not in the cluster.

A build that knows of levels does not start where one is finalized that it does not support, and
stops when one is. One from before them would go on: its registration is ended by whoever sees it,
and then nothing that it wants to change holds.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from ottla.broker.membership import Membership
from ottla.metadata import changes
from ottla.metadata.changes import Delta
from ottla.metadata.features import not_supported, refuse_unsupported
from ottla.metadata.image import BrokerImage, Image
from ottla.metadata.store import Compare, RevisionKind, Store
from ottla.model.errors import PeerError, StorageError
from ottla.model.ids import BrokerId

log = logging.getLogger("ottla.cluster")


class Levels:
    """Follows images."""

    def __init__(
        self, store: Store, membership: Membership, failed: Callable[[BaseException], None]
    ) -> None:
        """`failed` hears when this broker cannot go on."""
        self._store = store
        self._membership = membership
        self._failed = failed
        self._finalized: Mapping[str, int] = {}
        self._ending: dict[tuple[BrokerId, int], asyncio.Task[None]] = {}
        """By broker and epoch: each registration is ended once."""

    def follow(self, image: Image, delta: Delta) -> None:
        changed = image.features != self._finalized
        self._finalized = image.features
        if changed:
            try:
                refuse_unsupported(image.features, self._membership.me.features)
            except StorageError as error:
                self._failed(error)
                return
        if changed or delta.brokers:
            for broker in image.brokers.values():
                self._look_at(image, broker)

    def close(self) -> None:
        for task in self._ending.values():
            task.cancel()

    def _look_at(self, image: Image, broker: BrokerImage) -> None:
        known = image.known_brokers.get(broker.broker_id)
        problem = None if known is None else not_supported(image.features, known.features)
        if problem is None or self._membership.epoch < 0:
            return
        key = broker.broker_id, broker.epoch
        if broker.broker_id != self._membership.me.broker_id and key not in self._ending:
            log.error(
                "broker %d is put out of the cluster: its build %s (docs/upgrade.md)",
                broker.broker_id,
                problem,
            )
            self._ending[key] = asyncio.get_running_loop().create_task(self._end(image, broker))

    async def _end(self, image: Image, broker: BrokerImage) -> None:
        name = changes.broker_name(broker.broker_id)
        compare = [self._membership.registration, Compare(name, broker.epoch, RevisionKind.CREATED)]
        gone = [name]
        if image.controller_id == broker.broker_id:
            compare.append(Compare(changes.CONTROLLER, image.controller_revision))
            gone.append(changes.CONTROLLER)
        try:
            await self._store.transact(compare, [], gone)
        except (PeerError, StorageError) as error:
            log.warning("broker %d may still be in the cluster: %s", broker.broker_id, error)
            del self._ending[broker.broker_id, broker.epoch]  # for when brokers change again
