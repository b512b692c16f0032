"""The clients connected to this broker: limits, names for them, and the idle ones."""

import itertools
import logging
from collections import Counter
from typing import NamedTuple

from ottla.config.broker_config import BrokerConfig
from ottla.handlers.context import Address, Client
from ottla.model.clock import Clock
from ottla.model.workers import Workers
from ottla.net.connection import AnswerBudget, BufferBudget, Connection, Serve
from ottla.net.transport import ClientTransport, Gathering

BUFFER_BUDGET = 512 * 1024 * 1024
"""Bytes that the large receive buffers of all connections may take together."""

BUFFER_IDLE_MS = 10_000
"""A connection silent for this long gives its large buffer back."""

log = logging.getLogger("ottla.net")


class Seen(NamedTuple):
    """What a connection had done when a sweep last saw it doing something."""

    progress: int
    at_ms: int


class Connections:
    def __init__(
        self,
        serve: Serve,
        clock: Clock,
        config: BrokerConfig,
        *,
        answers: AnswerBudget,
        workers: Workers,
        poison: bool,
    ) -> None:
        self.config = config
        self.draining = False
        self._serve = serve
        self._clock = clock
        self._poison = poison
        self._open: dict[ClientTransport, Seen] = {}
        self._budget = BufferBudget(BUFFER_BUDGET, self._evict)
        self._answers = answers
        self._workers = workers
        self._gathering = Gathering()
        self._per_host: Counter[str] = Counter()
        self._per_listener: Counter[str] = Counter()
        self._ids = itertools.count(1)
        self._said_full = False

    def __len__(self) -> int:
        return len(self._open)

    def accept(self, listener: str) -> ClientTransport:
        """The protocol of a new connection on `listener`."""
        return ClientTransport(
            self._serve,
            self._clock,
            listener=listener,
            max_request_size=self.config.socket_request_max_bytes,
            opened=self._opened,
            closed=self._closed,
            budget=self._budget,
            answers=self._answers,
            workers=self._workers,
            gathering=self._gathering,
            poison=self._poison,
        )

    def drain(self) -> None:
        """Take nothing new: no connection, and no request of those that are open."""
        self.draining = True
        for transport in self._open:
            transport.connection.stop_serving()

    def _opened(self, transport: ClientTransport) -> bool:
        host = transport.peer[0]
        if self.draining:
            return False
        reached = self._reached(transport.listener, host)
        if reached is not None:
            if not self._said_full:
                self._said_full = True
                log.warning("refusing connections from %s: %s", host, reached)
            return False
        self._said_full = False
        transport.connection.owner = Client(
            next(self._ids), transport.listener, host, Address(*transport.local)
        )
        self._open[transport] = Seen(0, self._clock.now_ms())
        self._per_host[host] += 1
        self._per_listener[transport.listener] += 1
        return True

    def _reached(self, listener: str, host: str) -> str | None:
        """The limit that leaves no room for one more, in words; None if there is room."""
        config = self.config
        if len(self._open) >= config.max_connections:
            return f"too many are open: {len(self._open)}"
        if self._per_listener[listener] >= config.max_connections_of(listener):
            return f"too many are open on {listener}: {self._per_listener[listener]}"
        if self._per_host[host] >= config.connections_per_ip.get(
            host, config.max_connections_per_ip
        ):
            return f"too many are open from there: {self._per_host[host]}"
        return None

    def _closed(self, transport: ClientTransport) -> None:
        del self._open[transport]
        transport.connection.owner.closed()
        host = transport.peer[0]
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        self._per_listener[transport.listener] -= 1

    def sweep(self) -> None:
        """Close who was silent for too long; take large buffers back from the merely quiet."""
        now_ms = self._clock.now_ms()
        limit = self.config.connections_max_idle_ms
        for transport in list(self._open):
            seen = self._open[transport]
            progress = transport.connection.progress
            if progress != seen.progress:
                self._open[transport] = Seen(progress, now_ms)
                continue
            idle_ms = now_ms - seen.at_ms
            connection = transport.connection
            # Who waits for us may wait long; who does not take what we send may not.
            is_waiting = connection.unanswered and not connection.output_paused
            if limit >= 0 and idle_ms > limit and not is_waiting:
                log.info("closing connection from %s:%d: idle", *transport.peer)
                transport.abort()  # a graceful close would wait for a peer that is gone
            elif idle_ms > BUFFER_IDLE_MS:
                connection.shrink()

    def _evict(self, connection: Connection) -> None:
        for transport in self._open:
            if transport.connection is connection:
                log.warning(
                    "closing connection from %s:%d: its unfinished request holds %d bytes, and "
                    "others need room",
                    *transport.peer,
                    connection.buffer_size,
                )
                transport.abort()
                return

    def close_all(self) -> None:
        for transport in list(self._open):
            transport.abort()
