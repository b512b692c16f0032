"""A network in memory, for a loop on virtual time.

`MemoryNetwork` joins hosts; each host (`network.host("10.0.0.1")`) listens and
connects as the broker's `Network`. Every connection is a `Link` of two ends,
each an `asyncio.Transport`. Bytes arrive in order, cut into pieces of seeded
sizes, after seeded delays; some arrive together. A link, or all links between
two hosts, can be slowed, cut in one direction or both (bytes wait), healed, reset
(both ends are told) or left half-open (one end is gone and the other is not told).
A host can die: what it had sent still arrives; what is sent to it is refused, or,
while it is down, vanishes.

A direction holds at most `WINDOW` bytes that the receiver has not taken;
beyond that they stay in the sender's buffer, whose protocol is told to pause,
as with real sockets.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, copy_context
from typing import Any, TypeVar

from ottla.net.network import Address, Network, ServerHandle
from ottla.testing.lives import stopped_life

P = TypeVar("P", bound=asyncio.BaseProtocol)
Trace = Callable[[str], None]

WINDOW = 256 * 1024
HIGH_WATER = 64 * 1024
CONNECT_TIMEOUT_S = 127.0
_RESET = -1
Piece = bytes | None | int
ANY = ("", "0.0.0.0", "::")
LOOPBACK = "127.0.0.1"


class MemoryNetwork:
    """All hosts and links. `trace` is told every byte that arrives, and every opening and end."""

    def __init__(
        self,
        seed: int,
        *,
        max_delay_ms: float = 1.0,
        max_piece: int = 64 * 1024,
        coalesce: float = 0.0,
        trace: Trace | None = None,
    ) -> None:
        """`coalesce` is how likely pieces that have both arrived are read as one."""
        self.random = random.Random(seed)
        self.max_delay_ms = max_delay_ms
        self.max_piece = max_piece
        self.coalesce = coalesce
        self.context = copy_context()
        """Of whoever made the network: what travels does so though its sender has died."""
        self.links: list[Link] = []
        self.trace = trace
        self._listening: dict[Address, MemoryServer] = {}
        self._cut: set[frozenset[str]] = set()
        self._one_way: set[tuple[str, str]] = set()
        self._slow: dict[frozenset[str], float] = {}
        self._down: set[str] = set()
        self._next_port = 40_000
        self._opened = 0

    def host(self, host: str = LOOPBACK) -> Network:
        return MemoryHost(self, host)

    def cut(self, one: str, other: str) -> None:
        """Between the two hosts nothing arrives, and nobody can connect, until `heal`."""
        self._cut.add(frozenset((one, other)))
        for link in self.between(one, other):
            link.cut()

    def heal(self, one: str, other: str) -> None:
        self._cut.discard(frozenset((one, other)))
        self._one_way -= {(one, other), (other, one)}
        for link in self.between(one, other):
            link.heal()

    def is_cut(self, one: str, other: str) -> bool:
        return (
            frozenset((one, other)) in self._cut
            or other in self._down
            or bool(self._one_way & {(one, other), (other, one)})
        )

    def cut_one_way(self, sender: str, receiver: str, *, also_new: bool = False) -> None:
        """On the links there are, what `sender` sends does not arrive until `heal`.

        `also_new`: nobody can connect between the two, either: half of that does not arrive.
        """
        if also_new:
            self._one_way.add((sender, receiver))
        for link in self.between(sender, receiver):
            link.cut_one_way(link.end_at(sender))

    def slow(self, one: str, other: str, max_delay_ms: float | None) -> None:
        """What is sent between the two takes up to so long; None: as everywhere."""
        hosts = frozenset((one, other))
        if max_delay_ms is None:
            self._slow.pop(hosts, None)
        else:
            self._slow[hosts] = max_delay_ms

    def die(self, host: str, *, silently: bool) -> None:
        """The process at `host` is dead. `silently`: its machine too, so nobody is told."""
        for address in [address for address in self._listening if address.host == host]:
            self.unbind(address)
        if silently:
            self._down.add(host)
        for link in self.links:
            if host in link.hosts:
                link.end_at(host).die(silently=silently)
        self.links = [link for link in self.links if not link.is_over]

    def boot(self, host: str) -> None:
        """A machine that died runs again: what is sent to its old connections is refused."""
        self._down.discard(host)

    def is_down(self, host: str) -> bool:
        return host in self._down

    def bind(self, server: "MemoryServer", address: Address) -> None:
        """Raise OSError if the address is taken."""
        for taken in {address, *(Address(host, address.port) for host in ANY)}:
            if taken in self._listening:
                raise OSError(98, f"Address already in use: {address.host}:{address.port}")
        self._listening[address] = server

    def unbind(self, address: Address) -> None:
        self._listening.pop(address, None)

    def server_at(self, host: str, port: int) -> "MemoryServer | None":
        for candidate in (host, *ANY):
            server = self._listening.get(Address(candidate, port))
            if server is not None:
                return server
        return None

    def free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def next_link_number(self) -> int:
        self._opened += 1
        return self._opened - 1

    def delay_s(self, hosts: frozenset[str] = frozenset()) -> float:
        return self.random.random() * self._slow.get(hosts, self.max_delay_ms) / 1000

    def between(self, one: str, other: str) -> list["Link"]:
        hosts = frozenset((one, other))
        return [link for link in self.links if link.hosts == hosts and not link.is_over]


class MemoryServer:
    """A listening port of one host."""

    def __init__(
        self,
        network: MemoryNetwork,
        address: Address,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self.protocol_factory = protocol_factory
        self.context = copy_context()
        self._network = network
        self._address = address
        network.bind(self, address)

    @property
    def addresses(self) -> Sequence[Address]:
        return (self._address,)

    def close(self) -> None:
        self._network.unbind(self._address)


class MemoryHost:
    """The `Network` of one host."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host

    async def listen(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.BaseProtocol], /
    ) -> ServerHandle:
        host = LOOPBACK if host == "localhost" else host
        address = Address(host, port or self._network.free_port())
        return MemoryServer(self._network, address, protocol_factory)

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], P], /
    ) -> tuple[asyncio.Transport, P]:
        host = LOOPBACK if host == "localhost" else host
        network = self._network
        if network.is_cut(self._host, host):
            await asyncio.sleep(CONNECT_TIMEOUT_S)
            raise TimeoutError(110, f"Connection timed out: {host}:{port}")
        await asyncio.sleep(network.delay_s(frozenset((self._host, host))))
        server = network.server_at(host, port)
        if server is None:
            raise ConnectionRefusedError(111, f"Connection refused: {host}:{port}")
        protocol = protocol_factory()
        link = Link(
            network,
            (Address(self._host, network.free_port()), Address(host, port)),
            (protocol, server.context.copy().run(server.protocol_factory)),
            (copy_context(), server.context),
        )
        connected = asyncio.get_running_loop().create_future()
        link.open(connected)
        await connected
        return link.client, protocol


class Link:
    """One connection: two ends, and what is on its way between them."""

    def __init__(
        self,
        network: MemoryNetwork,
        addresses: tuple[Address, Address],
        protocols: tuple[asyncio.BaseProtocol, asyncio.BaseProtocol],
        contexts: tuple[Context, Context],
    ) -> None:
        self.number = network.next_link_number()
        self.network = network
        self.loop = asyncio.get_running_loop()
        self.hosts = frozenset(address.host for address in addresses)
        self.client = End(self, ">", addresses[0], addresses[1], protocols[0], contexts[0])
        self.server = End(self, "<", addresses[1], addresses[0], protocols[1], contexts[1])
        self.client.peer = self.server
        self.server.peer = self.client
        network.links.append(self)

    def open(self, connected: "asyncio.Future[None]") -> None:
        self.record("open", f"{self.client.address.port} {self.server.address.port}")
        for step in (self.server.made, self.client.made):
            self.loop.call_soon(step, context=self.network.context)
        self.loop.call_soon(_resolve, connected, context=self.network.context)

    @property
    def is_over(self) -> bool:
        """Whether both ends are gone."""
        return self.client.is_lost and self.server.is_lost

    def end_at(self, host: str) -> "End":
        return self.client if self.client.address.host == host else self.server

    def cut(self) -> None:
        """Nothing arrives any more, in either direction; nobody is told."""
        self.client.is_cut = self.server.is_cut = True

    def cut_one_way(self, sender: "End") -> None:
        """Nothing that `sender` sends arrives any more; what the other sends does."""
        sender.is_cut = True

    def heal(self) -> None:
        for end in (self.client, self.server):
            end.is_cut = False
        for end in (self.client, self.server):
            end.catch_up()

    def reset(self) -> None:
        """Both ends are told that the connection was reset."""
        for end in (self.client, self.server):
            end.lose(ConnectionResetError(104, "Connection reset by peer"))

    def leave_half_open(self, gone: "End") -> None:
        """`gone` is told that the connection was reset; the other end never hears of it."""
        self.cut()
        gone.lose(ConnectionResetError(104, "Connection reset by peer"))

    def record(self, what: str, detail: str = "") -> None:
        if self.network.trace is None:
            return
        self.network.trace(f"{self.loop.time():.6f} link {self.number} {what} {detail}".rstrip())


class End(asyncio.Transport):
    """One end of a link.

    What it writes goes through three places: `_unsent` (the transport's buffer),
    `_travelling` (pieces with an arrival of their own), and the peer's `_arrived`
    (not yet taken by the peer's protocol). Among the pieces, `None` is the end of
    the stream, and `_RESET` stands in its place where a socket was closed with
    bytes unread.
    """

    peer: "End"

    def __init__(
        self,
        link: Link,
        direction: str,
        address: Address,
        peer_address: Address,
        protocol: asyncio.BaseProtocol,
        context: Context,
    ) -> None:
        super().__init__({"sockname": tuple(address), "peername": tuple(peer_address)})
        self.address = address
        self.is_cut = False
        """What this end sends does not arrive."""
        self._context = context
        self._link = link
        self._loop = link.loop
        self._direction = direction
        self._protocol = protocol
        self._unsent = bytearray()
        self._travelling: deque[Piece] = deque()
        self._due = 0
        self._last_arrival = 0.0
        self._arrived: deque[Piece] = deque()
        self._left_unread = False
        self._window = WINDOW
        self._high_water = HIGH_WATER
        self._low_water = HIGH_WATER // 4
        self._made = False
        self._paused = False
        self._delivering = False
        self._protocol_paused = False
        self._eof_written = False
        self._eof_sent = False
        self._closing = False
        self._lost = False

    # What a protocol asks of its transport

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing:
            return
        self._unsent += data
        self._pump()
        if len(self._unsent) > self._high_water and not self._protocol_paused:
            self._protocol_paused = True
            self._call(self._protocol.pause_writing)

    def writelines(self, list_of_data: "Iterable[bytes | bytearray | memoryview[Any]]") -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not self._eof_written and not self._closing:
            self._eof_written = True
            self._pump()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._left_unread = any(isinstance(piece, bytes) for piece in self._arrived)
            self._arrived.clear()
            self._pump()

    def abort(self) -> None:
        if not self._lost:
            self.lose(None)
            self._send_reset()

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._deliver_soon()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low_water, self._high_water

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        self._high_water = high
        self._low_water = high // 4 if low is None else low

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    # What the link does

    def made(self) -> None:
        self._call(self._protocol.connection_made, self)
        self._made = True
        self._deliver_soon()

    def lose(self, error: Exception | None) -> None:
        """The connection is over for this end; its protocol is told, once."""
        if self._lost:
            return
        self._lost = True
        self._closing = True
        self._unsent.clear()
        self._arrived.clear()
        self._link.record(f"{self._direction} lost", type(error).__name__ if error else "")
        self._loop.call_soon(
            self._call, self._protocol.connection_lost, error, context=self._link.network.context
        )

    @property
    def is_lost(self) -> bool:
        return self._lost

    def die(self, *, silently: bool) -> None:
        """The process of this end is no more: nobody is told here; the peer is, unless silently."""
        if self._lost:
            return
        unread = self._left_unread or any(isinstance(piece, bytes) for piece in self._arrived)
        self._lost = self._closing = True
        self._unsent.clear()
        self._arrived.clear()
        self._link.record(f"{self._direction} dead")
        if not silently and not self._eof_sent:
            self._eof_sent = True
            self._send(_RESET if unread else None)

    def catch_up(self) -> None:
        """After a cut: what should have arrived meanwhile arrives now."""
        while self._due and not self.is_cut:
            self._due -= 1
            self._arrive()

    def _pump(self) -> None:
        """Send as much as the window lets through, in pieces; then the end of the stream."""
        network = self._link.network
        while self._unsent and self._window:
            most = min(len(self._unsent), self._window, network.max_piece)
            size = network.random.randint(1, most) if network.random.random() < 0.2 else most
            self._send(bytes(self._unsent[:size]))
            del self._unsent[:size]
            self._window -= size
        if self._protocol_paused and len(self._unsent) <= self._low_water:
            self._protocol_paused = False
            self._call(self._protocol.resume_writing)
        if not self._unsent and (self._eof_written or self._closing) and not self._eof_sent:
            self._eof_sent = True
            self._send(_RESET if self._closing and self._left_unread else None)
        if self._eof_sent and self._closing and not self._lost:
            self.lose(None)

    def _send(self, piece: Piece) -> None:
        self._travelling.append(piece)
        network = self._link.network
        when = max(self._last_arrival, self._loop.time() + network.delay_s(self._link.hosts))
        self._last_arrival = when
        self._loop.call_at(when, self._reach, context=network.context)

    def _send_reset(self) -> None:
        """Overtakes what is on its way, as a reset does."""
        if not self.is_cut and not self._link.network.is_down(self.address.host):
            self.peer.lose(ConnectionResetError(104, "Connection reset by peer"))

    def _reach(self) -> None:
        """A piece is due. Timers of one instant fire in any order; pieces are taken in order."""
        if self.is_cut:
            self._due += 1
        else:
            self._arrive()

    def _arrive(self) -> None:
        piece = self._travelling.popleft()
        peer = self.peer
        self._link.record(self._direction, _text(piece))
        if not peer._closing:
            peer._arrived.append(piece)
            peer._deliver_soon()
        elif isinstance(piece, bytes):  # nobody reads here any more
            peer._left_unread = True
            if peer._lost:
                peer._send_reset()

    def _deliver_soon(self) -> None:
        if not self._delivering:
            self._delivering = True
            self._loop.call_soon(self._deliver, context=self._link.network.context)

    def _deliver(self) -> None:
        """Give the protocol one read of what has arrived; then, in another turn, the next."""
        self._delivering = False
        stopped = stopped_life(self._context)
        if stopped is not None:
            stopped.when_it_goes_on(self._deliver_soon)
            return
        if not self._arrived or self._paused or self._closing or not self._made:
            return
        piece = self._arrived.popleft()
        if piece is None:
            keep_open = self._call(self._eof_received)
            if not keep_open:
                self.close()
            return
        if isinstance(piece, int):
            self.lose(ConnectionResetError(104, "Connection reset by peer"))
            return
        network = self._link.network
        while network.coalesce and self._arrived and isinstance(self._arrived[0], bytes):
            if network.random.random() >= network.coalesce:
                break
            piece += self._arrived.popleft()  # type: ignore[operator]
        count = self._call(self._receive, piece)
        if self._closing:
            self._left_unread |= bool(self._arrived)
            return
        if count < len(piece):
            self._arrived.appendleft(piece[count:])
        self.peer._window += count
        self.peer._pump()
        self._deliver_soon()

    def _receive(self, piece: bytes) -> int:
        """Return how many bytes the protocol took."""
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(piece)
            return len(piece)
        with memoryview(protocol.get_buffer(-1)) as buffer:
            count = min(len(buffer), len(piece))
            if not count:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:count] = piece[:count]
        protocol.buffer_updated(count)
        return count

    def _eof_received(self) -> bool | None:
        protocol = self._protocol
        assert isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol)
        return protocol.eof_received()

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Call the protocol; an exception ends the connection, as asyncio has it.

        A process that is stopped is called when it goes on; then this returns None.
        """
        stopped = stopped_life(self._context)
        if stopped is not None:
            stopped.when_it_goes_on(self._call, callback, *arguments)
            return None
        try:
            return self._context.copy().run(callback, *arguments)
        except Exception as error:
            self._loop.call_exception_handler(
                {
                    "message": "Fatal error: protocol callback failed.",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            if not self._lost:
                self.lose(error)
                self._send_reset()
            return None


def _text(piece: Piece) -> str:
    if isinstance(piece, bytes):
        return piece.hex()
    return "end" if piece is None else "reset"


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
