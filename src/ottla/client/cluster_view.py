"""Who is in the cluster, and a link to each of them.

Starts from the bootstrap addresses, learns brokers and topics from Metadata,
keeps one link per broker (and one to the address that answered first) and
opens them when first used. Every question goes through `ask`, so retries,
their back-off and their bound are in one place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ottla.model.errors import RETRIABLE, ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, TopicName, TopicPartition, Uuid
from ottla.model.isolation import CoordinatorType
from ottla.net import peer
from ottla.net.peer import Connector, Link

T = TypeVar("T")

FIRST_BACK_OFF_MS = 50
MAX_BACK_OFF_MS = 1_000
DEFAULT_PORT = 9092


class Broker(NamedTuple):
    broker_id: BrokerId
    host: str
    port: int
    rack: str | None


class Partition(NamedTuple):
    """A partition as Metadata shows it; `leader` is -1 while there is none."""

    partition: int
    leader: BrokerId
    leader_epoch: int
    replicas: tuple[BrokerId, ...]
    isr: tuple[BrokerId, ...]
    offline: tuple[BrokerId, ...]
    error: ErrorCode


class Topic(NamedTuple):
    name: TopicName
    topic_id: Uuid
    internal: bool
    partitions: tuple[Partition, ...]


class Cluster(NamedTuple):
    cluster_id: str | None
    controller: BrokerId
    brokers: tuple[Broker, ...]


class NoSuchTopicError(ApiError):
    """A topic or partition that Metadata, just asked, does not have: not worth a retry."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)


def error_of(code: int, message: str | None = None, *, about: str = "") -> ApiError | None:
    """The error a code of a response stands for, or None for 0; `about` names the thing."""
    if code == 0:
        return None
    try:
        known = ErrorCode(code)
    except ValueError:
        known = ErrorCode.UNKNOWN_SERVER_ERROR
        message = f"error code {code}" + (f": {message}" if message else "")
    if message and about.lower() in message.lower():
        about = ""
    text = ": ".join(part for part in (about, message) if part)
    return ApiError(known, text or None)


def check(code: int, message: str | None = None, *, about: str = "") -> None:
    """Raise what `error_of` returns."""
    error = error_of(code, message, about=about)
    if error is not None:
        raise error


def parse_brokers(text: str) -> list[tuple[str, int]]:
    """`host:port,host,[::1]:9093` as addresses; the port is 9092 where it is left out.

    Raises:
        ValueError: an address without a host, or with a port that is none.
    """
    addresses = []
    for part in text.split(","):
        address = part.strip()
        if not address:
            continue
        address = address.partition("://")[2] or address
        host, colon, port_text = address.rpartition(":")
        if not colon or address.endswith("]") or (":" in host and not host.endswith("]")):
            host, port_text = address, str(DEFAULT_PORT)
        if not port_text.isdigit() or not 0 < int(port_text) < 65536:
            raise ValueError(f"{address!r}: the port must be a number from 1 to 65535")
        host = host.removeprefix("[").removesuffix("]")
        if not host:
            raise ValueError(f"{address!r} names no host")
        addresses.append((host, int(port_text)))
    if not addresses:
        raise ValueError("no broker is named")
    return addresses


class ClusterView:
    """What one client knows of a cluster. Close it, or use it with `async with`."""

    def __init__(
        self,
        network: Connector,
        bootstrap: Sequence[tuple[str, int]],
        *,
        client_id: str = "ottla",
        request_timeout_ms: int = 30_000,
        retry_timeout_ms: int = 15_000,
    ) -> None:
        self.bootstrap = tuple(bootstrap)
        self.client_id = client_id
        self.request_timeout_ms = request_timeout_ms
        self.retry_timeout_ms = retry_timeout_ms
        self.cluster = Cluster(None, -1, ())
        self.topics: dict[TopicName, Topic] = {}
        self._network = network
        self._links: dict[BrokerId | None, Link] = {}
        self._connecting: dict[BrokerId | None, asyncio.Lock] = {}
        self._coordinators: dict[tuple[int, str], BrokerId] = {}

    async def __aenter__(self) -> "ClusterView":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        self._links.clear()

    # Links

    async def link(self, broker_id: BrokerId | None = None) -> Link:
        """The link to a broker; with None, to whichever bootstrap address answers first.

        Raises:
            PeerError: it cannot be reached, or Metadata does not know it.
        """
        async with self._connecting.setdefault(broker_id, asyncio.Lock()):
            link = self._links.get(broker_id)
            if link is not None and not link.closed:
                return link
            link = await self._connect(self._addresses(broker_id))
            self._links[broker_id] = link
            return link

    def _addresses(self, broker_id: BrokerId | None) -> Sequence[tuple[str, int]]:
        if broker_id is None:
            known = [(broker.host, broker.port) for broker in self.cluster.brokers]
            return [*self.bootstrap, *(each for each in known if each not in self.bootstrap)]
        for broker in self.cluster.brokers:
            if broker.broker_id == broker_id:
                return [(broker.host, broker.port)]
        raise PeerError(f"broker {broker_id} is not among the live brokers")

    async def _connect(self, addresses: Sequence[tuple[str, int]]) -> Link:
        failures: list[PeerError] = []
        for host, port in addresses:
            try:
                return await peer.connect(
                    self._network,
                    host,
                    port,
                    client_id=self.client_id,
                    timeout_ms=self.request_timeout_ms,
                )
            except PeerError as failure:
                failures.append(failure)
        raise PeerError("; ".join(str(failure) for failure in failures)) from failures[-1]

    # Questions

    async def send(self, request: Any, broker_id: BrokerId | None = None) -> Any:
        """One request to one broker (None: any), without retries."""
        link = await self.link(broker_id)
        return await link.request(request, timeout_ms=self.request_timeout_ms)

    async def ask(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run `attempt` until it succeeds, backing off after what may pass by itself.

        A connection that cannot be made is retried only once something was
        reached before: a wrong address should say so at once.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self.retry_timeout_ms / 1000
        back_off_ms = FIRST_BACK_OFF_MS
        while True:
            try:
                return await attempt()
            except NoSuchTopicError:
                raise
            except ApiError as error:
                if error.code not in RETRIABLE or loop.time() > give_up:
                    raise
                self._coordinators.clear()
            except PeerError:
                if not self.cluster.brokers or loop.time() > give_up:
                    raise
                self.distrust()
            await asyncio.sleep(back_off_ms / 1000)
            back_off_ms = min(2 * back_off_ms, MAX_BACK_OFF_MS)

    # Metadata

    async def refresh(
        self, topics: Iterable[TopicName] | None = (), *, create: bool = False
    ) -> Mapping[TopicName, ErrorCode]:
        """Ask for brokers and `topics` (None: all) and keep the answer.

        Returns the topics that could not be had, with the reason; `create` lets
        the broker create the missing ones if it is set up to.
        """
        from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic

        wanted = None if topics is None else [MetadataRequestTopic(name=name) for name in topics]
        link = await self.link()
        version = link.version_of(MetadataRequest)
        request = MetadataRequest(topics=wanted)
        if version >= 4:
            request.allow_auto_topic_creation = create
        response = await link.request(request, version=version, timeout_ms=self.request_timeout_ms)
        check(response.error_code, about="metadata")
        self.cluster = Cluster(
            response.cluster_id,
            response.controller_id,
            tuple(Broker(b.node_id, b.host, b.port, b.rack) for b in response.brokers),
        )
        if topics is None:
            self.topics.clear()
        failures = {}
        for answer in response.topics:
            if answer.error_code:
                self.topics.pop(answer.name, None)
                failures[answer.name] = ErrorCode(answer.error_code)
            else:
                self.topics[answer.name] = _topic(answer)
        return failures

    async def topic(self, name: TopicName, *, create: bool = False) -> Topic:
        """The topic, asked for if it is not known yet.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION and the like.
        """
        known = self.topics.get(name)
        if known is not None:
            return known
        return (await self.find_topics([name], create=create))[0]

    async def find_topics(self, names: Sequence[TopicName], *, create: bool = False) -> list[Topic]:
        """Fresh from the broker, in the order of `names`; the first missing one raises."""

        async def attempt() -> list[Topic]:
            failures = await self.refresh(names, create=create)
            for name, code in failures.items():
                if code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and not create:
                    raise NoSuchTopicError(f"topic {name!r} does not exist")
                raise ApiError(code, f"topic {name!r}")
            return [self.topics[name] for name in names]

        return await self.ask(attempt)

    async def leader(self, partition: TopicPartition) -> Partition:
        """The partition as Metadata shows it, with a leader.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE.
        """
        topic = await self.topic(partition.topic)
        for each in topic.partitions:
            if each.partition == partition.partition:
                if each.leader < 0:
                    self.forget(partition.topic)
                    raise ApiError(ErrorCode.LEADER_NOT_AVAILABLE, f"partition {partition}")
                return each
        raise NoSuchTopicError(
            f"topic {topic.name!r} has no partition {partition.partition}, "
            f"only 0 to {len(topic.partitions) - 1}",
        )

    def forget(self, topic: TopicName) -> None:
        """Ask again next time: its leaders have changed."""
        self.topics.pop(topic, None)

    def distrust(self) -> None:
        """Ask anew for leaders and coordinators: a broker has gone away."""
        self.topics.clear()
        self._coordinators.clear()

    async def coordinator(
        self, key: str, kind: CoordinatorType = CoordinatorType.GROUP
    ) -> BrokerId:
        """The broker that coordinates a group or transactional id; asked once, then kept."""
        from ottla.wire.generated.find_coordinator import FindCoordinatorRequest

        known = self._coordinators.get((kind, key))
        if known is not None:
            return known
        link = await self.link()
        if link.serves(FindCoordinatorRequest, 4):
            request = FindCoordinatorRequest(key_type=int(kind), coordinator_keys=[key])
        else:
            request = FindCoordinatorRequest(key=key, key_type=int(kind))
        response = await link.request(request, timeout_ms=self.request_timeout_ms)
        found = response.coordinators[0] if response.coordinators else response
        check(found.error_code, found.error_message, about=f"coordinator of {key!r}")
        if not any(broker.broker_id == found.node_id for broker in self.cluster.brokers):
            await self.refresh()
        self._coordinators[kind, key] = found.node_id
        return int(found.node_id)


def _topic(answer: Any) -> Topic:
    partitions = sorted(
        Partition(
            each.partition_index,
            each.leader_id,
            each.leader_epoch,
            tuple(each.replica_nodes),
            tuple(each.isr_nodes),
            tuple(each.offline_replicas),
            ErrorCode(each.error_code),
        )
        for each in answer.partitions
    )
    return Topic(answer.name, answer.topic_id, answer.is_internal, tuple(partitions))
