"""One broker, assembled: every layer below wired together, started and stopped in order.

Everything the outside world does to a broker comes in through `System`, a disk
and a metadata store, so the same class runs as a process, inside a test, and on
virtual time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ottla.broker.compaction import Compaction
from ottla.broker.connections import Connections
from ottla.broker.control import Control
from ottla.broker.dispatch import Dispatcher
from ottla.broker.files_jobs import FilesJobs
from ottla.broker.groups import Groups
from ottla.broker.image_follower import ImageFollower
from ottla.broker.lifecycle import adopt, register
from ottla.broker.log_settings import TopicSettings
from ottla.broker.log_tending import LogTending
from ottla.broker.loggers import PythonLoggers
from ottla.broker.own_logs import OwnLogs
from ottla.broker.producer_ids import ProducerIds
from ottla.broker.quorum import quorum_of
from ottla.broker.shares import BrokerShares
from ottla.broker.system import System
from ottla.broker.transactions import Transactions
from ottla.broker.upkeep import Upkeep
from ottla.config.broker_config import BrokerConfig
from ottla.handlers.context import BrokerViews
from ottla.handlers.fetch_sessions import FetchSessions
from ottla.handlers.metadata import EncodedTopics
from ottla.handlers.registry import supported
from ottla.handlers.topics import create_missing
from ottla.metadata.changes import Delta, everything_in
from ottla.metadata.controller import NewTopic
from ottla.metadata.features import SUPPORTED, Ranges, not_used, refuse_unsupported
from ottla.metadata.image import ConfigResource, Image, TopicImage
from ottla.metadata.store import Store
from ottla.model.errors import ApiError, StorageError
from ottla.model.ids import NO_BROKER, uuid_text
from ottla.model.isolation import ResourceType
from ottla.model.steps import Steps, at_once
from ottla.net.network import Address, ServerHandle
from ottla.replica.flusher import Flusher
from ottla.replica.follow_image import ReplicaFollower
from ottla.replica.log_mover import LogMover
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.storage.checkpoints import HIGH_WATERMARK, LOG_START, RECOVERY_POINT
from ottla.storage.disk import Disk
from ottla.storage.logs import Logs

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster
    from ottla.broker.metadata_copy import CopyKeeper

TEND_LOGS_MS = 1_000
STORE_PATIENCE_MS = 60_000
"""How long a broker that starts waits for the metadata store."""

SWEEP_MS = 10_000
"""How often idle connections are looked for."""

CLOSE_IDLE_FILES_MS = 60_000

log = logging.getLogger("ottla.broker")


class Bound(NamedTuple):
    """A listener that accepts connections."""

    name: str
    address: Address


class Broker:
    """`await start()`, then clients; `await stop()` leaves everything clean on disk."""

    def __init__(
        self,
        config: BrokerConfig,
        system: System,
        disk: Disk,
        open_store: Callable[[str], Store],
        *,
        cluster_id: str | None = None,
        topics: Sequence[NewTopic] = (),
        failed: Callable[[str], None] = lambda reason: None,
        poison: bool = False,
        clustered: bool = False,
    ) -> None:
        """`open_store` gets the first log directory.

        `cluster_id` is used where the directories say none; `failed` hears why the broker
        cannot go on, and then it is the caller's turn to stop it. With `poison`, request
        buffers are overwritten once their handler returned. `clustered`: other brokers use the
        same store.
        """
        self.config = config
        self.system = system
        self.supports: Ranges = SUPPORTED
        """The feature levels of this build; tests set those of another."""
        self.listening: list[Bound] = []
        self._disk = disk
        self._open_store = open_store
        self._cluster_id = cluster_id
        self._topics = topics
        self._failed = failed
        self._poison = poison
        self._clustered = clustered
        self.cluster: Cluster | None = None
        self._servers: list[ServerHandle] = []
        self._assembled = False
        self._in_doubt = False
        self._is_given_up = False
        self.copy_keeper: CopyKeeper
        self.logs: Logs
        self.store: Store
        self.follower: ImageFollower

    def give_up(self) -> None:
        """Have a start fail that waits for the metadata store."""
        self._is_given_up = True

    async def start(self) -> None:
        """Recover the logs, register, lead, listen.

        Raises:
            LogsError: directories are locked, lost, or belong to another broker.
            PeerError: the metadata store cannot be reached.
            StorageError: the metadata store is not of these directories, or fails, or a feature
                level is finalized that this build does not support.
            OSError: a listener's address cannot be bound.
        """
        system, config = self.system, self.config
        now_ms = system.clock.now_ms()
        self.logs = Logs(self._disk, config.log_dirs, system.randomness)
        self.logs.start()
        self.store = self._open_store(self.logs.roots.metadata_directory())
        self.follower = ImageFollower(self.store, system.transport_clock, self._metadata_failed)
        image = await self.follower.load_when_there(
            STORE_PATIENCE_MS, lambda: not self._is_given_up
        )
        refuse_unsupported(image.features, self.supports)
        if image.cluster_id and (higher := not_used(image.features)) is not None:
            log.info("supported and not finalized: %s (`ottla feature upgrade`)", higher)
        cluster_id = (
            image.cluster_id
            or self.logs.roots.cluster_id
            or self._cluster_id
            or uuid_text(system.randomness.uuid())
        )
        if self._clustered:
            from ottla.broker.cluster import agree_on_cluster_id
            from ottla.broker.metadata_copy import refuse_another_past

            refuse_another_past(self.logs, image, self.store.identity)
            cluster_id = await agree_on_cluster_id(self.store, self.follower, cluster_id)
        self.logs.identify(cluster_id, config.node_id)
        if not image.revision and not self._clustered:
            self.logs.roots.refuse_without_metadata()
            await adopt(self.store, self.logs, config.node_id)
            image = await self.follower.load()
        self.topic_settings = TopicSettings(self._with_dynamic(image))
        self.own_logs = OwnLogs(
            config.node_id,
            self.logs,
            system.clock,
            system.transport_clock,
            lambda: self.topic_settings,
            lambda dropped: self.log_mover.cancel_of(dropped),
        )
        self.own_logs.load(image, now_ms)
        self.logs.keep_within(self._with_dynamic(image).log_dir_max_bytes, now_ms)
        self.own_logs.find_lost(image)
        self.control = Control(
            self.store,
            self.follower,
            config.node_id,
            system.transport_clock,
            counts=self._clustered,
        )
        if self._clustered:
            from ottla.broker.cluster import Cluster

            self.cluster = Cluster(
                lambda: self.views.config if self._assembled else config,
                system,
                self.store,
                self.follower,
                self.control,
                self.logs,
                self.own_logs,
                self._disk.boot_id(),
                self.supports,
                partition_failed=self._partition_failed,
                failed=self._metadata_failed,
            )
            await self._refuse_taken_addresses()
            await self.cluster.membership.register()
        else:
            await self._register_alone(image, cluster_id)
        self.logs.accept_losses()
        image = await self.follower.load()
        self._assemble(image)
        at_once(self._follow(image, everything_in(image)))
        self.own_logs.drop_what_went(image)
        self.follower.add(self._follow)
        self.follower.start()
        for partition in self.replicas:
            self.log_mover.resume(partition)
        self._schedule_upkeep()
        if self.cluster is None:
            await create_missing(self.views, self._topics)
        # Where only flushed records count, nobody may see fewer of them than before a crash.
        flushed = asyncio.Event()
        self.flusher.when_idle(flushed.set)
        await flushed.wait()
        await self._listen()
        if self.cluster is not None:
            await self.cluster.join(self.replicas)
            await create_missing(self.views, self._topics)

    async def _register_alone(self, image: Image, cluster_id: str) -> None:
        """Nobody else is there: register, and take control."""
        config = self.config
        await register(
            self.store,
            image,
            broker_id=config.node_id,
            cluster_id=cluster_id,
            rack=config.broker_rack,
            advertised={
                name: (endpoint.host, endpoint.port)
                for name, endpoint in config.advertised_listeners.items()
            },
            clean=self.logs.stopped_cleanly,
            highest_producer_id=self.logs.highest_producer_id,
            is_cordoned=config.is_cordoned,
            deleted=() if self.logs.some_are_offline else image.deleting,
        )

    # Assembly

    def _assemble(self, image: Image) -> None:
        system, config = self.system, self._with_dynamic(image)
        self.flusher = Flusher(
            system.workers, system.transport_clock, self._partition_failed, system.file_syncs
        )
        self.files_jobs = FilesJobs(system.workers, system.transport_clock, self._check_directories)
        self.replicas = Replicas()
        self.replica_follower = ReplicaFollower(
            config.node_id,
            self.replicas,
            open_log=self.own_logs.open,
            drop_log=self.own_logs.drop,
            configure=self._configure,
            request_flush=self.flusher.request,
            may_join=self._may_join,
            moved=self._moved,
            now_ms=system.transport_clock.now_ms,
        )
        self.groups = Groups(config, system, self.replicas)
        self.shares = BrokerShares(
            config,
            system,
            self.replicas,
            self.groups,
            None if self.cluster is None else self.cluster.share_state,
            lambda: self.views.image,
        )
        producer_ids = ProducerIds(self.store, self.follower)
        elsewhere: dict[str, Any] = {}
        if self.cluster is not None:
            elsewhere["remote"] = self.cluster.remote_markers
            elsewhere["marked"] = self.cluster.enlisting.marked
        self.transactions = Transactions(
            config,
            system,
            self.replicas,
            self.groups,
            producer_ids.next,
            lambda: self.follower.image,
            **elsewhere,
        )
        self.log_mover = LogMover(
            self.logs,
            system.transport_clock,
            system.workers,
            domain_clock=system.clock,
            bytes_per_s=lambda: self.views.config.replica_alter_log_dirs_io_max_bytes_per_second,
            failed=self._partition_failed,
        )
        loop = asyncio.get_running_loop()
        self.views = BrokerViews(
            broker_id=config.node_id,
            config=config,
            image=image,
            clock=system.clock,
            transport_clock=system.transport_clock,
            randomness=system.randomness,
            workers=system.workers,
            soon=loop.call_soon,
            control=self.control,
            producer_ids=producer_ids,
            logs=self.logs,
            replicas=self.replicas,
            fetch_sessions=FetchSessions(
                config.max_incremental_fetch_session_cache_slots, system.randomness
            ),
            groups=self.groups,
            shares=self.shares,
            transactions=self.transactions,
            log_mover=self.log_mover,
            loggers=PythonLoggers(),
            quorum=partial(quorum_of, self.store, config, lambda: self.follower.image),
            forwarder=None if self.cluster is None else self.cluster.forwarding,
            throttles=None if self.cluster is None else self.cluster.throttles,
            end_offsets=None if self.cluster is None else self.cluster.end_offsets(),
            enlister=None if self.cluster is None else self.cluster.enlisting,
            supported=supported(),
            extras={"encoded_topics": EncodedTopics()},
        )
        self.dispatcher = Dispatcher(self.views, self.doubt)
        self.connections = Connections(
            self.dispatcher.serve,
            system.transport_clock,
            config,
            answers=self.views.answers,
            workers=system.workers,
            poison=self._poison,
        )
        self.compaction = Compaction(
            self.logs,
            system.clock,
            system.workers,
            lambda: self.views.config,
            self.files_jobs.run,
            self.doubt,
        )
        self.log_tending = LogTending(
            self.logs,
            self.replicas,
            self.flusher,
            self.files_jobs,
            system.clock,
            lambda: self.views.config,
            crowded=self._leave_crowded,
            offline=self._check_directories,
        )
        self.logs.on_low = lambda: loop.call_soon(self.log_tending.make_room)
        if self.cluster is not None:
            from ottla.broker.metadata_copy import CopyKeeper

            self.copy_keeper = CopyKeeper(
                self.store, system.transport_clock, self.logs.online, self.files_jobs.run
            )
        self.upkeep = Upkeep(system.steady_clock, self.doubt)
        self.transport_upkeep = Upkeep(system.transport_clock, self.doubt)
        self._assembled = True

    def _with_dynamic(self, image: Image) -> BrokerConfig:
        """The settings with what was set on the brokers while they ran."""
        all_brokers = image.configs.get(ConfigResource(ResourceType.BROKER, ""), {})
        own = image.configs.get(ConfigResource(ResourceType.BROKER, str(self.config.node_id)), {})
        if not all_brokers and not own:
            return self.config
        updated = self.config.updated(all_brokers, own)
        for problem in updated.problems:
            log.warning("%s", problem)
        return updated

    async def _refuse_taken_addresses(self) -> None:
        """Find out before we register: that may end the registration of who listens there.

        Raises:
            OSError: an address cannot be bound.
        """
        for listener in self.config.listeners:
            server = await self.system.network.listen(listener.host, listener.port, _Unwelcome)
            server.close()

    async def _listen(self) -> None:
        for listener in self.config.listeners:
            port = listener.port
            for host in (listener.host, *listener.also_hosts):
                try:
                    server = await self.system.network.listen(
                        host,
                        port,
                        lambda name=listener.name: self.connections.accept(name),  # type: ignore[misc]
                    )
                except OSError:
                    if host in listener.also_hosts:
                        continue
                    raise
                self._servers.append(server)
                self.listening += [Bound(listener.name, address) for address in server.addresses]
                port = server.addresses[0].port

    # Following the image

    def _follow(self, image: Image, delta: Delta) -> Steps[None]:
        """Between two steps clients may already ask about what is not led yet: nobody leads it."""
        views = self.views
        views.image = image
        if delta.resources:
            yield from self._follow_resources(image, delta)
        yield from self.replica_follower.follow(image, delta)
        if delta.topics or delta.brokers:
            # Last, so that nothing of the time before is kept.
            encoded: EncodedTopics = views.extras["encoded_topics"]
            encoded.forget(image.topics if delta.brokers else delta.topics)
            views.fetch_sessions.dirty_topics(delta.topics)
        if self.cluster is not None:
            self.cluster.follow(image, delta)
            self.copy_keeper.follow(image)
        if delta.topics or delta.resources:
            self.groups.follow(image, delta)
            self.shares.follow(image, delta)
            self.transactions.follow(image, delta)

    def _follow_resources(self, image: Image, delta: Delta) -> Steps[None]:
        if any(resource.type is ResourceType.BROKER for resource in delta.resources):
            config = self._with_dynamic(image)
            self.views.config = self.connections.config = config
            self.topic_settings = TopicSettings(config)
            self.groups.configure(config)
            self.transactions.configure(config)
            for partition in list(self.replicas):
                topic = image.topics.get(partition.topic)
                if topic is not None:
                    self._configure(partition, topic)
                yield

    def _configure(self, partition: Partition, topic: TopicImage) -> None:
        rules = self.topic_settings.of(topic.configs)
        try:
            partition.configure(rules.log, rules.produce, rules.min_isr)
        except (ApiError, StorageError) as error:
            self._partition_failed(partition, error)

    def _may_join(self, partition: Partition) -> None:
        if self.cluster is not None:
            self.cluster.isr_changes.look(partition)

    def _moved(self, partition: Partition) -> None:
        if self.cluster is not None:
            self.cluster.fetchers.follow(partition)

    def _partition_failed(self, partition: Partition, error: BaseException) -> None:
        log.error("%s-%d: %s", partition.topic, partition.partition, error)
        self._check_directories()

    def _metadata_failed(self, error: BaseException) -> None:
        if isinstance(error, AssertionError):
            self.doubt(error)
        else:
            self._failed(str(error))

    def doubt(self, error: AssertionError) -> None:
        """We are wrong about our own state: write nothing more, and let the process be ended.

        Nothing that waits is acknowledged, no directory is marked as stopped cleanly, and the
        next start checks what is on disk as after a death of the process.
        """
        if self._in_doubt:
            return
        self._in_doubt = True
        reason = "a check of the broker's own state failed"
        log.critical("%s", reason, exc_info=error)
        self._failed(f"{reason}: {error}" if str(error) else reason)
        if self._assembled:
            self.control.close()
            self.connections.drain()
            self._write_no_more()
            self._check_directories()

    def _write_no_more(self) -> None:
        for directory in self.logs.directories:
            directory.go_offline("what would be written is in doubt")

    def _leave_crowded(self, partitions: Iterable[Partition]) -> None:
        if self.cluster is not None:
            self.cluster.leave_crowded(partitions)

    def _check_directories(self) -> None:
        for partition in list(self.replicas):
            if partition.leader != NO_BROKER and not partition.log.directory.is_online:
                partition.resign()
                encoded: EncodedTopics = self.views.extras["encoded_topics"]
                encoded.forget([partition.topic])
        if self.cluster is not None and not self._in_doubt and self._assembled:
            self.cluster.leave_lost()
        if not self._in_doubt and not any(one.is_online for one in self.logs.directories):
            self._failed("every log directory is offline")

    # Upkeep

    def _schedule_upkeep(self) -> None:
        views, tending = self.views, self.log_tending
        self.upkeep.every("logs", lambda: TEND_LOGS_MS, tending.tend)
        self.upkeep.every(
            "retention",
            lambda: views.config.log_retention_check_interval_ms,
            tending.begin_retention,
        )
        self.upkeep.every(
            "compaction", lambda: views.config.log_cleaner_backoff_ms, self.compaction.begin
        )
        self.upkeep.every(
            "checkpoints",
            lambda: views.config.log_flush_offset_checkpoint_interval_ms,
            partial(tending.checkpoint, (RECOVERY_POINT, HIGH_WATERMARK)),
        )
        self.upkeep.every(
            "log start checkpoints",
            lambda: views.config.log_flush_start_offset_checkpoint_interval_ms,
            partial(tending.checkpoint, (LOG_START,)),
        )
        self.upkeep.every(
            "producer expiry",
            lambda: views.config.producer_id_expiration_check_interval_ms,
            tending.expire_producers,
        )
        shares = self.shares
        self.upkeep.every("share state", shares.prune_interval_ms, shares.prune)
        self.upkeep.every("cold share state", shares.snapshot_interval_ms, shares.write_anew)
        if self.cluster is not None and views.config.auto_leader_rebalance_enable:
            self.transport_upkeep.every(
                "preferred leaders",
                lambda: 1000 * views.config.leader_imbalance_check_interval_seconds,
                self.cluster.duties.balance_leaders,
            )
        if self.cluster is not None:
            forgetting = self.cluster.forgetting
            self.transport_upkeep.every(
                "old revisions", lambda: forgetting.interval_ms, forgetting.look
            )
        self.transport_upkeep.every("idle connections", lambda: SWEEP_MS, self.connections.sweep)
        self.transport_upkeep.every(
            "idle files", lambda: CLOSE_IDLE_FILES_MS, self.logs.handles.close_idle
        )

    # Stopping

    async def stop(self) -> None:
        """Answer what is under way, flush, and mark the directories clean.

        After a start that failed it lets go of what was taken.
        """
        if self.cluster is not None and not self._in_doubt and self._servers:
            await self.cluster.leave()
        for server in self._servers:
            server.close()
        if self._assembled:
            self.connections.drain()
            self.upkeep.close()
            self.transport_upkeep.close()
            await self.compaction.close()
            self.shares.close()
            self.transactions.close()
            if self.cluster is not None:
                self.cluster.enlisting.close()
            self.groups.close()
            self.log_mover.close()
            await self.dispatcher.close()
            self.connections.close_all()
        if self.cluster is not None:
            if self._assembled:
                await self.copy_keeper.close()
            await self.cluster.close()
        if hasattr(self, "follower"):
            await self.follower.close()
            await self.store.close()
        if self._assembled:
            self.files_jobs.stop()
        await self.system.workers.close()
        if self._assembled:
            if self._in_doubt:
                self._write_no_more()
            self.logs.close()
        elif hasattr(self, "logs"):
            self.logs.release()
        log.info("stopped")


class _Unwelcome(asyncio.Protocol):
    """A connection to a broker that is not there yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
