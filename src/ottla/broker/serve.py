"""`ottla serve`: settings from everywhere, a real loop, signals, and the ready line."""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ottla import __version__
from ottla.broker.etcd_store import etcd_store
from ottla.broker.log_rate import LogRate
from ottla.broker.options import ServeOptions
from ottla.config.broker_config import BrokerConfig
from ottla.config.development import DEVELOPMENT
from ottla.config.environment import read_environment
from ottla.config.key import ConfigError
from ottla.config.listeners import SecurityProtocol, is_loopback
from ottla.config.resolve import combine, from_file, from_flags
from ottla.metadata.controller import NewTopic
from ottla.metadata.store import Store
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, PeerError, StorageError
from ottla.net.network import Address, Network
from ottla.storage.disk import Disk
from ottla.storage.roots import LogsError

if TYPE_CHECKING:
    from ottla.broker.broker import Broker

DONE, FAILED, USAGE = 0, 1, 2
MEMORY_DATA = "/ottla-memory"

log = logging.getLogger("ottla.serve")


def run(
    options: ServeOptions,
    environment: Mapping[str, str] | None = None,
    prepare: "Callable[[Broker], None] | None" = None,
) -> int:
    """Serve until a signal comes; return the exit status.

    `prepare` gets the broker before it starts; tests break it there.
    """
    if not __debug__:
        print("ottla: python -O is refused: assertions protect your data", file=sys.stderr)
        return USAGE
    _log_to_stderr()
    environment = os.environ if environment is None else environment
    try:
        config, topics, cluster_id = _configure(options, environment)
        _refuse_unprotected(config)
        _refuse_unreachable(config, environment)
    except (ConfigError, ValueError) as error:
        print(f"ottla: {error}", file=sys.stderr)
        return USAGE
    _raise_descriptor_limit()
    return asyncio.run(_serve(config, topics, cluster_id, memory=options.memory, prepare=prepare))


def _configure(
    options: ServeOptions, environment: Mapping[str, str]
) -> tuple[BrokerConfig, list[NewTopic], str | None]:
    """Put flags, environment and file together; the first that says something wins."""
    flags: list[tuple[str, str, str]] = []
    if options.memory:
        flags.append(("log.dirs", MEMORY_DATA, "--memory"))
    elif options.data is not None:
        flags.append(("log.dirs", options.data, "--data"))
    if options.port is not None:
        flags.append(("listeners", f"PLAINTEXT://127.0.0.1:{options.port}", "--port"))
    if options.listen:
        endpoints = [text if "://" in text else f"PLAINTEXT://{text}" for text in options.listen]
        flags.append(("listeners", ",".join(endpoints), "--listen"))
    flags += [(name, text, f"--set {name}") for name, text in options.overrides.items()]
    read = read_environment(environment)
    file = {}
    if options.config_file is not None:
        path = Path(options.config_file)
        file = from_file(path.read_text(encoding="utf-8"), path.name)
    development = DEVELOPMENT.items() if options.dev else ()
    defaults = from_flags((name, text, "--dev") for name, text in development)
    static = combine(from_flags(flags), read.settings, file, defaults)
    for line in (*read.infos, *static.infos):
        log.info("%s", line)
    for line in static.warnings:
        log.warning("%s", line)
    topics = [
        NewTopic(
            topic.name,
            topic.partitions,
            topic.replication_factor,
            (),
            {} if topic.cleanup_policy is None else {"cleanup.policy": topic.cleanup_policy},
        )
        for topic in options.topics
    ]
    topics += [
        NewTopic(
            topic.name,
            -1 if topic.partitions is None else topic.partitions,
            -1 if topic.replication_factor is None else topic.replication_factor,
            (),
            dict(topic.configs),
        )
        for topic in read.topics
    ]
    return BrokerConfig(static.texts()), topics, read.cluster_id


def _refuse_unprotected(config: BrokerConfig) -> None:
    """Who asks for protection that is not there gets no broker, instead of an open one."""
    for listener in config.listeners:
        if listener.protocol is not SecurityProtocol.PLAINTEXT:
            raise ConfigError(
                f"the listener {listener} asks for {listener.protocol.value}, which this version "
                "of Ottla does not offer yet: only PLAINTEXT"
            )
    if config.values["authorizer.class.name"]:
        raise ConfigError(
            "authorizer.class.name is set, but this version of Ottla does not check permissions "
            "yet: without it, everyone may do everything"
        )


def _refuse_unreachable(config: BrokerConfig, environment: Mapping[str, str]) -> None:
    """In a container, what a client connects to is not what it must be told to come back to."""
    if config.advertised_listeners or not _in_container(environment):
        return
    for listener in config.listeners:
        if not is_loopback(listener.host):
            raise ConfigError(
                f"the listener {listener} is reachable from outside this container, but no "
                "address is advertised to clients. Add the line\n\n"
                f"    advertised.listeners={listener.name}://localhost:{listener.port}\n\n"
                "with the host and port under which clients reach it "
                "(or set KAFKA_ADVERTISED_LISTENERS)."
            )


def _in_container(environment: Mapping[str, str]) -> bool:
    return (
        "KUBERNETES_SERVICE_HOST" in environment
        or "container" in environment
        or Path("/.dockerenv").exists()
        or Path("/run/.containerenv").exists()
    )


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("the limit of %d open files cannot be raised: %s", soft, error)


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="[%(asctime)s] %(levelname)s %(message)s (%(name)s)",
    )
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    logging.getLogger("ottla.net").addFilter(LogRate())


def _open_parts(
    config: BrokerConfig, clock: Clock, network: Network, *, memory: bool
) -> tuple[Disk, Callable[[str], Store]]:
    """The disk, and what opens the metadata store."""
    if _is_clustered(config):
        from ottla.storage.disk import RealDisk

        return RealDisk(), lambda directory: etcd_store(config, clock, network)
    if memory:
        from ottla.metadata.store_memory import MemoryStore
        from ottla.storage.memory_disk import MemoryDisk

        return MemoryDisk(), lambda directory: MemoryStore(clock)
    from ottla.metadata.store_sqlite import FILE_NAME, SqliteStore
    from ottla.storage.disk import RealDisk

    def open_store(directory: str) -> Store:
        return SqliteStore(os.path.join(directory, FILE_NAME), clock)

    return RealDisk(), open_store


def _is_clustered(config: BrokerConfig) -> bool:
    return bool(config.values["metadata.etcd.endpoints"])


async def _serve(
    config: BrokerConfig,
    topics: list[NewTopic],
    cluster_id: str | None,
    *,
    memory: bool,
    prepare: "Callable[[Broker], None] | None",
) -> int:
    from ottla.broker.broker import Broker
    from ottla.broker.system import System

    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[int] = loop.create_future()

    def stop(status: int) -> None:
        if not stopping.done():
            stopping.set_result(status)

    def failed(reason: str) -> None:
        log.error("stopping: %s", reason)
        stop(FAILED)

    system = System.real(loop)
    disk, open_store = _open_parts(config, system.transport_clock, system.network, memory=memory)
    log.info("Ottla %s, node %d", __version__, config.node_id)
    broker = Broker(
        config,
        system,
        disk,
        open_store,
        cluster_id=cluster_id,
        topics=topics,
        failed=failed,
        clustered=_is_clustered(config),
    )

    def stop_by_signal() -> None:
        broker.give_up()
        stop(DONE)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_by_signal)
    if prepare is not None:
        prepare(broker)
    loop.set_exception_handler(partial(_uncaught, broker))
    try:
        await broker.start()
    except (OSError, StorageError, PeerError, LogsError, ApiError) as error:
        print(f"ottla: {_reason(error, config)}", file=sys.stderr)
        await broker.stop()
        return stopping.result() if stopping.done() else FAILED
    gc.collect()
    gc.freeze()
    _say_ready(broker)
    status = await stopping
    await broker.stop()
    return status


def _uncaught(broker: "Broker", loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Whatever no task or callback caught is logged; an assertion also stops the broker."""
    loop.default_exception_handler(context)
    error = context.get("exception")
    if isinstance(error, AssertionError):
        broker.doubt(error)


def _reason(error: Exception, config: BrokerConfig) -> str:
    if isinstance(error, OSError) and error.errno is not None and "address" in str(error):
        listeners = ", ".join(str(listener) for listener in config.listeners)
        return f"{error.strerror or error} ({listeners}); choose another with --port"
    return str(error)


def _say_ready(broker: "Broker") -> None:
    """The lines that people, scripts and test containers wait for."""
    node = broker.config.node_id
    log.info("[BrokerLifecycleManager id=%d] Transitioning from RECOVERY to RUNNING", node)
    log.info("[KafkaServer id=%d] started", node)
    log.info("Kafka Server started")
    first: dict[str, Address] = {}
    for bound in broker.listening:
        first.setdefault(bound.name, bound.address)
    listeners = " ".join(
        f"{name}://{f'[{address.host}]' if ':' in address.host else address.host}:{address.port}"
        for name, address in first.items()
    )
    print(f"ottla ready {listeners}", flush=True)
