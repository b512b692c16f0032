"""What a handler receives beside its request."""

import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ottla.config.broker_config import BrokerConfig
from ottla.config.loggers import Loggers
from ottla.handlers.config_rows import ConfigRows
from ottla.handlers.registry import Api
from ottla.handlers.timeouts import Timeouts
from ottla.metadata.controller import Writes
from ottla.metadata.image import Image
from ottla.metadata.quorum import Quorum
from ottla.model.clock import Clock
from ottla.model.ids import BrokerId, Offset, TopicPartition
from ottla.model.parts import Parts
from ottla.model.randomness import Randomness
from ottla.model.steps import Steps
from ottla.model.workers import Workers
from ottla.net.connection import AnswerBudget, Connection, Pending
from ottla.wire.message import Message

if TYPE_CHECKING:
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.coordinator.share.shares import Shares
    from ottla.coordinator.transaction.coordinator import TransactionCoordinator
    from ottla.handlers.admission import Enlister
    from ottla.handlers.fetch_sessions import FetchSessions
    from ottla.handlers.forwarded import Forwarder
    from ottla.handlers.produce_one import Route
    from ottla.replica.log_mover import LogMover
    from ottla.replica.partition import Partition
    from ottla.replica.replicas import Replicas
    from ottla.replica.throttles import ReplicationThrottles
    from ottla.storage.logs import Logs

ANSWER_BUDGET = 256 * 1024 * 1024
"""Bytes that answers which their clients have not taken may hold, all together."""

_SIZE_AND_ID = struct.Struct(">ii")
_HEAD = bytes(8)
_FLEXIBLE_HEAD = bytes(9)
"""Size, correlation id, and an empty tagged section."""


class Control(Protocol):
    """Metadata changes, decided one after the other."""

    async def change(
        self, decide: Callable[[Image], tuple[Writes, Any] | Steps[tuple[Writes, Any]]], /
    ) -> Any:
        """Decide on the newest image, write, and return the decision's answer once followed.

        What takes long to decide is decided in steps.

        Raises:
            ApiError: the decision was to refuse, or the store did not answer.
        """


class EndOffsets(Protocol):
    async def of(self, partitions: Iterable[TopicPartition], /) -> dict[TopicPartition, Offset]:
        """Return the high watermarks; of a partition whose leader does not say it, none."""


class ProducerIds(Protocol):
    async def next(self) -> int:
        """Return an id nobody was given before; its block was made durable first."""


@dataclass(slots=True)
class BrokerViews:
    """What this broker is made of, as handlers see it. Replaced members are read anew each time."""

    broker_id: BrokerId
    config: BrokerConfig
    image: Image
    clock: Clock
    transport_clock: Clock
    randomness: Randomness
    workers: Workers
    soon: Callable[[Callable[[], object]], object]
    """Call back in the next turn of the loop."""
    control: Control
    producer_ids: ProducerIds
    logs: "Logs"
    replicas: "Replicas"
    fetch_sessions: "FetchSessions"
    groups: "GroupCoordinator"
    shares: "Shares"
    transactions: "TransactionCoordinator"
    log_mover: "LogMover"
    loggers: Loggers
    quorum: Callable[[], Awaitable[Quorum]]
    """Who keeps the metadata. Raises PeerError."""
    forwarder: "Forwarder | None" = None
    """Finds the controller, where that may be another broker."""
    end_offsets: EndOffsets | None = None
    """Asks where partitions end that other brokers lead."""
    enlister: "Enlister | None" = None
    """Asks transactions' coordinators, where they may be other brokers."""
    throttles: "ReplicationThrottles | None" = None
    """How fast followers may copy what is led here, where there are any."""
    config_rows: ConfigRows = field(default_factory=ConfigRows)
    answers: AnswerBudget = field(default_factory=lambda: AnswerBudget(ANSWER_BUDGET))
    supported: Sequence[tuple[int, int, int]] = ()
    """(API key, lowest version, highest version) of what is implemented, ascending."""
    extras: dict[str, Any] = field(default_factory=dict)
    produce_timeouts: Timeouts = field(init=False)
    """Of produce requests whose records wait for their commit."""

    def __post_init__(self) -> None:
        self.produce_timeouts = Timeouts(self.transport_clock)


class Address(NamedTuple):
    host: str
    port: int


class Client:
    """One connection as handlers know it; lives as long as the connection."""

    __slots__ = (
        "at_close",
        "client_id",
        "client_id_bytes",
        "connection_id",
        "host",
        "leaders",
        "listener",
        "local",
        "principal",
        "routes",
        "software",
    )

    def __init__(self, connection_id: int, listener: str, host: str, local: Address) -> None:
        self.connection_id = connection_id
        self.listener = listener
        self.host = host
        self.local = local
        self.principal = "User:ANONYMOUS"
        self.client_id: str | None = None
        self.client_id_bytes = b""
        self.software = ("", "")
        self.leaders: dict[tuple[str, bytes, int], tuple[int, Partition]] = {}
        """Partitions this client may write, and the revision of the image that said so."""
        self.at_close: dict[object, Callable[[], object]] | None = None
        """What is to be done once the connection is gone, by whom it is for."""
        self.routes: dict[bytes, Route] = {}
        """What its produce requests begin with, and where that leads (`handlers/produce_one.py`)."""

    def when_closed(self, whom: object, then: Callable[[], object]) -> None:
        """Have `then` called once the connection is gone."""
        if self.at_close is None:
            self.at_close = {}
        self.at_close[whom] = then

    def forget_closed(self, whom: object) -> None:
        if self.at_close is not None:
            self.at_close.pop(whom, None)

    def closed(self) -> None:
        """The connection is gone."""
        waiting, self.at_close = self.at_close, None
        for then in (waiting or {}).values():
            then()


class Reply:
    """An answer that comes later."""

    __slots__ = ("_context", "pending")

    def __init__(self, context: "Context", *, blocking: bool) -> None:
        self._context = context
        self.pending = Pending(context.connection, blocking=blocking)

    @property
    def abandoned(self) -> bool:
        """The connection is gone, and nobody waits any more."""
        return self.pending.abandoned

    def respond(self, response: Message | None) -> None:
        """Give the answer; None where the request wants none."""
        if not self.pending.abandoned:
            self.pending.answer(None if response is None else self._context.frame(response))

    def begin_at_head(self, begin: Callable[[], None]) -> None:
        """Have `begin` make the answer once every earlier one has left: it holds no memory before."""
        self.pending.begin_at_head(begin)


class Context:
    """One request's circumstances."""

    __slots__ = (
        "api",
        "api_version",
        "broker",
        "client",
        "client_id",
        "connection",
        "correlation_id",
    )

    def __init__(
        self,
        broker: BrokerViews,
        client: Client,
        connection: Connection,
        api: Api,
        correlation_id: int,
        client_id: str | None,
    ) -> None:
        self.broker = broker
        self.client = client
        self.connection = connection
        self.api = api
        self.api_version = api.version
        self.correlation_id = correlation_id
        self.client_id = client_id

    # Answering

    @property
    def nothing_before(self) -> bool:
        """No earlier answer is outstanding on this connection."""
        return self.connection.unanswered == 0

    def later(self, *, blocking: bool) -> Reply:
        """Promise an answer; see `net/connection.py` for what *blocking* means."""
        return Reply(self, blocking=blocking)

    def frame(self, response: Message | bytearray) -> Parts:
        """The answer as it goes over the wire: size, correlation id, body."""
        api = self.api
        head = bytearray(_FLEXIBLE_HEAD if api.flexible_answer else _HEAD)
        parts: Parts = []
        if isinstance(response, bytearray):
            parts = [head, response]
        else:
            rest = api.write(response, head, parts)
            if rest:
                parts.append(rest)
        if len(parts) == 1:
            size = len(head) - 4
        else:
            size = sum(map(len, parts)) - 4
        _SIZE_AND_ID.pack_into(head, 0, size, self.correlation_id)
        return parts

    # Who asks

    @property
    def principal(self) -> str:
        return self.client.principal

    @property
    def client_host(self) -> str:
        return self.client.host

    @property
    def listener(self) -> str:
        return self.client.listener

    @property
    def connection_id(self) -> int:
        return self.client.connection_id

    def authorize(self, operation: str, resource_type: str, name: str) -> bool:
        """Whether the principal may; everything is allowed until there is an authorizer."""
        return True

    def address_of(self, broker_id: BrokerId) -> Address:
        """Where a client of this listener reaches a broker.

        A broker that advertises nothing for the listener is reached where this
        client reached us; only a broker alone may do so.
        """
        image = self.broker.image
        broker = image.brokers.get(broker_id) or image.known_brokers.get(broker_id)
        if broker is not None:
            for endpoint in broker.endpoints:
                if endpoint.listener == self.client.listener:
                    return Address(endpoint.host, endpoint.port)
        if broker_id == self.broker.broker_id:
            return self.client.local
        return Address("", -1)
