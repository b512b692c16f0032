"""What a broker that is not alone has beside its own parts: membership, controller's seat, peers."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from ottla.broker.control import Control
from ottla.broker.duties import Duties
from ottla.broker.end_offsets import EndOffsets
from ottla.broker.enlisting import Enlisting
from ottla.broker.forgetting import Forgetting
from ottla.broker.forwarding import Forwarding
from ottla.broker.image_follower import ImageFollower
from ottla.broker.levels import Levels
from ottla.broker.membership import Doubt, Found, Membership
from ottla.broker.own_logs import OwnLogs
from ottla.broker.peers import Peers
from ottla.broker.remote_markers import RemoteMarkers
from ottla.broker.remote_share_state import RemoteShareState
from ottla.broker.seat import Seat
from ottla.broker.system import System
from ottla.config.broker_config import BrokerConfig
from ottla.metadata import changes
from ottla.metadata.changes import Delta
from ottla.metadata.features import Ranges, newest
from ottla.metadata.image import Endpoint, Image, KnownBroker, TopicImage
from ottla.metadata.store import Compare, Store
from ottla.model.errors import PeerError, StorageError
from ottla.model.ids import BrokerId, PartitionId, TopicPartition, Uuid
from ottla.replica.fetcher import Fetchers
from ottla.replica.isr_changes import IsrChanges
from ottla.replica.partition import Partition
from ottla.replica.throttles import ReplicationThrottles
from ottla.storage.log_config import DURABLE
from ottla.storage.logs import Logs

LEAVE_MS = 30_000
"""How long a broker that stops waits for others to lead."""


async def agree_on_cluster_id(store: Store, follower: ImageFollower, wanted: str) -> str:
    """Return the cluster's id, which is `wanted` if nobody has said another.

    Whoever makes a cluster finalizes the highest levels: no broker is older.

    Raises:
        StorageError, PeerError: the store failed, or could not be reached.
    """
    if not follower.image.cluster_id:
        key, value = changes.cluster_key(wanted)
        puts = [(key, value), changes.features_key(newest())]
        await store.transact([Compare(key, 0)], puts)
        await follower.newest()
    return follower.image.cluster_id


class Cluster:
    def __init__(
        self,
        config: Callable[[], BrokerConfig],
        system: System,
        store: Store,
        follower: ImageFollower,
        control: Control,
        logs: Logs,
        own_logs: OwnLogs,
        boot_id: str,
        supports: Ranges,
        *,
        partition_failed: Callable[[Partition, BaseException], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`config` returns the settings as they are now.

        `partition_failed` hears of a partition whose log directory is offline, `failed` of an
        error that should not be.
        """
        self._config = config
        self._logs = logs
        self._own_logs = own_logs
        self._boot_id = boot_id
        self._follower = follower
        self._replicas: Iterable[Partition] = ()
        self._leaving: asyncio.Task[None] | None = None
        static = config()
        # What was known of us when we came, before we say something else.
        self._before = follower.image.known_brokers.get(static.node_id)
        me = KnownBroker(
            static.node_id,
            static.broker_rack,
            _endpoints(static),
            self._known_directories(),
            boot_id,
            supports,
        )
        self.membership = Membership(
            store,
            follower,
            system.transport_clock,
            me,
            system.randomness.uuid(),
            session_ms=static.broker_session_timeout_ms,
            min_isr=self.min_isr,
            is_cordoned=static.is_cordoned,
            found=self._found,
            lapsed=self._lapsed,
        )
        self.seat = Seat(store, self.membership)
        self.levels = Levels(store, self.membership, failed)
        self.duties = Duties(
            control,
            system.transport_clock,
            lambda: follower.image,
            self.min_isr,
            self._may_elect_uncleanly,
        )
        self.forgetting = Forgetting(store, follower, control)
        self._system = system
        self.peers = self._links()
        self.forwarding = Forwarding(static.node_id, self.peers, system.transport_clock)
        # What waits for replication at the other end has links of its own.
        self.remote_markers = RemoteMarkers(self._links(), lambda: config().request_timeout_ms)
        self.enlisting = Enlisting(
            static.node_id,
            self._links(),
            lambda: follower.image,
            lambda: config().request_timeout_ms,
        )
        self.isr_changes = IsrChanges(
            static.node_id,
            store,
            system.transport_clock,
            own_epoch=lambda: self.membership.epoch,
            image=lambda: follower.image,
            reached=follower.reached,
            lag_max_ms=lambda: config().replica_lag_time_max_ms,
            failed=failed,
        )
        self.throttles = ReplicationThrottles(
            static.node_id, config, lambda: follower.image, system.transport_clock.now_ms
        )
        self.fetchers = Fetchers(
            static.node_id,
            system.network,
            clock=system.transport_clock,
            domain_clock=system.clock,
            settings=config,
            broker_epoch=lambda: self.membership.epoch,
            address_of=self._address_of,
            failed=partition_failed,
            crashed=failed,
            throttle=self.throttles,
        )

    def _links(self, timeout_ms: Callable[[], int] | None = None) -> Peers:
        static = self._config()
        limit_ms = timeout_ms or (lambda: self._config().request_timeout_ms)
        return Peers(
            self._system.network,
            lambda: self._follower.image,
            static.inter_broker_listener_name or static.listeners[0].name,
            f"broker-{static.node_id}",
            lambda: min(limit_ms(), self._config().socket_connection_setup_timeout_ms),
        )

    def share_state(self, timeout_ms: Callable[[], int]) -> RemoteShareState:
        """The way to the state of share partitions elsewhere, for whoever closes it."""
        return RemoteShareState(self._links(timeout_ms), timeout_ms)

    def end_offsets(self) -> EndOffsets:
        """Where partitions end that others lead."""
        return EndOffsets(
            self.peers, lambda: self._follower.image, lambda: self._config().request_timeout_ms
        )

    def follow(self, image: Image, delta: Delta) -> None:
        self.forwarding.follow(image)
        if delta.brokers:
            self.membership.follow(image)
            self.enlisting.follow(image)
            self.remote_markers.follow(image)
        self.seat.follow(image)
        self.levels.follow(image, delta)
        self.duties.follow(image, delta)
        if delta.brokers:
            self._look_for_joiners()

    def _lapsed(self, is_past_lease: bool) -> None:
        """Another may lead by now what this broker led: it acknowledges nothing by itself."""
        for partition in self._replicas:
            if partition.is_past_lease is not is_past_lease:
                partition.lapse(is_past_lease)

    def _look_for_joiners(self) -> None:
        """Who may be in an ISR only now may have fetched all there is before."""
        for partition in self._replicas:
            leadership = partition.leadership
            if leadership is not None and len(leadership.state.isr) < len(
                leadership.state.replicas
            ):
                self.isr_changes.look(partition)

    async def join(self, replicas: Iterable[Partition]) -> None:
        """Be elected and placed on from now on. Raises: as `Membership.unfence`."""
        self._replicas = replicas
        self.isr_changes.start(replicas)
        await self.membership.unfence()
        self.membership.start()

    def _address_of(self, broker_id: BrokerId) -> tuple[str, int] | None:
        try:
            return self.peers.address(broker_id)
        except PeerError:
            return None

    def leave_lost(self) -> None:
        """Have others lead what was in a log directory that is offline; to be called again."""
        self._leave_some(lambda: self.membership.leave_lost(self._is_offline))

    def leave_crowded(self, partitions: Iterable[Partition]) -> None:
        """Have others do without us where there is no room; to be called while there is none."""
        crowded = {(each.topic_id, each.partition) for each in partitions}
        self._leave_some(lambda: self.membership.leave_crowded(crowded))

    def _leave_some(self, leaving: Callable[[], Coroutine[None, None, None]]) -> None:
        if self._leaving is None or self._leaving.done():
            self._leaving = asyncio.get_running_loop().create_task(leaving())

    async def leave(self) -> None:
        """Have others lead, while this broker still serves."""
        if self._config().controlled_shutdown_enable:
            await self.membership.leave(LEAVE_MS)

    async def close(self) -> None:
        self.seat.close()
        self.levels.close()
        self.forgetting.close()
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait([self._leaving])
        await self.fetchers.close()
        await self.isr_changes.close()
        await self.duties.close()
        self.remote_markers.close()
        self.enlisting.close()
        self.peers.close()
        await self.membership.end()

    # What topics ask for

    def min_isr(self, topic: TopicImage) -> int:
        return int(topic.configs.get("min.insync.replicas", self._config().min_insync_replicas))

    def _may_elect_uncleanly(self, topic: TopicImage) -> bool:
        own = topic.configs.get("unclean.leader.election.enable")
        if own is None:
            return self._config().unclean_leader_election_enable
        return own.lower() == "true"

    def _is_durable(self, topic: TopicImage) -> bool:
        own = topic.configs.get("flush.messages", self._config().log_flush_interval_messages)
        return int(own) == DURABLE

    # What our logs may lack

    def _known_directories(self) -> tuple[Uuid, ...]:
        """Those that are here, and while one is offline also those that were.

        It may be the one that is, with logs that must be taken for missing should it never be back.
        """
        here = [directory.directory_id for directory in self._logs.online()]
        if self._before is not None and self._logs.some_are_offline:
            here += self._before.directories
        return tuple(dict.fromkeys(here))

    def _is_offline(self, topic: TopicImage, number: PartitionId) -> bool:
        """Whether our log is, or must be, in a log directory that is offline."""
        log = self._logs.get(TopicPartition(topic.name, number))
        if log is None:
            return self._own_logs.is_lost(topic.topic_id, number)
        return log.topic_id == topic.topic_id and not log.directory.is_online

    def _found(self, topic: TopicImage, number: PartitionId, as_found: bool) -> Found:
        partition = TopicPartition(topic.name, number)
        log = self._logs.get(partition)
        if log is not None and log.topic_id != topic.topic_id:
            return Found(Doubt.MISSING)
        is_offline = self._is_offline(topic, number)
        if log is None and not is_offline and not self._was_never_made(partition):
            return Found(Doubt.MISSING)
        rebooted = self._before is not None and self._before.boot_id != self._boot_id
        # An offline directory does not say how it stopped, and once it is back the boot is known.
        clean = self._logs.stopped_cleanly and not is_offline
        doubt = Doubt.NONE
        if as_found and rebooted and not clean and not self._is_durable(topic):
            doubt = Doubt.UNFLUSHED
        elif as_found and not is_offline and log is not None and self._logs.lacks_committed(log):
            doubt = Doubt.CUT
        return Found(doubt, is_offline)

    def _was_never_made(self, partition: TopicPartition) -> bool:
        """Whether we died before the log had a directory: that is made behind the topic's answer.

        Sure only while all log directories that were registered last are here still.
        """
        here = {directory.directory_id for directory in self._logs.directories}
        keeps_all = self._before is not None and here >= set(self._before.directories)
        return keeps_all and self._logs.was_never_made(partition)


def _endpoints(config: BrokerConfig) -> tuple[Endpoint, ...]:
    """What is advertised, or else where we listen.

    Raises:
        StorageError: that is every interface, which tells nobody where to go.
    """
    advertised = {
        name: (endpoint.host, endpoint.port)
        for name, endpoint in config.advertised_listeners.items()
    }
    for listener in config.listeners:
        if listener.name not in advertised:
            if not listener.host or listener.host in ("0.0.0.0", "::"):
                raise StorageError(
                    f"the listener {listener} is on every interface: set advertised.listeners to "
                    "where the other brokers and the clients reach it"
                )
            advertised[listener.name] = listener.host, listener.port
    return tuple(Endpoint(name, host, port) for name, (host, port) in advertised.items())
