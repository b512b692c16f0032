"""Hostile frames at a real broker, while a client of good manners is served.

Each attacker connects, sends a few broken frames (`mutate`d requests, batches
with broken records, wrong sizes, other protocols), sometimes half of one,
sometimes without ever reading, and goes, politely or not. The probe writes a
record and reads it back, again and again. What must hold: the process lives,
its memory stays bounded, every probe succeeds, there is no traceback in the log.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from tests.support.raw_client import ConnectionClosedError, RawClient, framed, request_bytes
from tests.support.target import HOST, Target
from tests.support.witness import (
    PRODUCE_VERSION,
    Witness,
    create_topic,
    produce_request,
)
from tools.proof.decoders import Decoder, every_decoder
from tools.proof.mutate import mutated

from ottla.broker.system import SocketNetwork
from ottla.handlers.registry import HANDLERS
from ottla.wire.apis import API

ATTACKERS = 16
FRAMES_A_CONNECTION = 20
MOST_FRAME_BYTES = 100_000
TOPIC = "attacked"
MEMORY_BYTES = 256 << 20
PATIENCE_S = 0.5
"""How long an attacker waits for an answer: the broker may rightly let it wait for minutes."""

PROBE_DEADLINE_S = 30.0

_PONG = struct.pack(">i", 0x7E57C0DE)
_PING = struct.pack(">ihhih", 10, 18, 0, 0x7E57C0DE, -1)

_NOISE = (
    b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"\xff" * 50,
    bytes(50),
    struct.pack(">i", 2**31 - 1),
    struct.pack(">i", -1),
    struct.pack(">i", 104_857_600) + bytes(500),
)

_SPARED = frozenset({"DELETE_TOPICS"})
"""What the attackers do not ask for: it would take the probe's topic away, rightly."""


class Outcome(NamedTuple):
    """What the attack did to the broker."""

    frames: int
    connections: int
    closed: int
    """Of the connections, by the broker, for what was sent."""
    kept_waiting: int
    """Requests that the broker had not answered when their sender lost patience."""
    probes: int
    probe_ms_median: float
    probe_ms_p99: float
    probe_ms_max: float
    rss_before: int
    rss_after: int
    rss_peak: int
    log_lines: int
    violations: list[str]


class Attack:
    """The attackers, and what they have sent."""

    def __init__(self, network: SocketNetwork, port: int, frames: int, seed: int) -> None:
        self.sent = 0
        self.connections = 0
        self.closed = 0
        self.waited = 0
        self.frames = frames
        self._network = network
        self._port = port
        self._seed = seed
        decoders = {decoder.name: decoder for decoder in every_decoder()}
        self._requests = _requests(decoders["requests"])
        self._bodies = [body for _, _, body in self._requests]
        self._batches = decoders["produced batches"]
        self._batch_bytes = [sound.data for sound in self._batches.inputs]

    async def attacker(self, number: int) -> None:
        """One of them; it goes on until enough was sent by all."""
        chance = Random(self._seed << 8 | number)
        while self.sent < self.frames:
            client = await RawClient.connect(self._network, HOST, self._port)
            self.connections += 1
            await self._converse(client, chance)
            if chance.random() < 0.3:
                client.transport.abort()
            else:
                client.close()

    async def _converse(self, client: RawClient, chance: Random) -> None:
        """Frame by frame, each seen through: answered, or the connection closed, or too slow."""
        reads = chance.random() > 0.05
        if not reads:
            client.transport.pause_reading()
        for _ in range(chance.randint(1, FRAMES_A_CONNECTION)):
            if self.sent >= self.frames or client.transport.is_closing():
                return
            self.sent += 1
            data, whole = self._frame(chance)
            client.write(data)
            if not whole:
                return
            if not reads:
                await asyncio.sleep(0)
            elif not await self._seen_through(client):
                return

    async def _seen_through(self, client: RawClient) -> bool:
        """Whether the broker goes on with this connection: it answers a sound request."""
        client.write(_PING)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (await client.frame()).startswith(_PONG):
                    pass
        except TimeoutError:
            self.waited += 1
            return False
        except ConnectionClosedError:
            self.closed += 1
            return False
        return True

    def _frame(self, chance: Random) -> tuple[bytes, bool]:
        """What to send next, and whether it is a whole frame, so that another may follow."""
        kind = chance.random()
        if kind < 0.05:
            return chance.choice(_NOISE), False
        if kind < 0.35:
            return self._produce(chance), True
        key, version, body = chance.choice(self._requests)
        head = struct.pack(">hhih", key, version, chance.randrange(1 << 31), 3) + b"raw"
        if API[key].is_flexible(version):
            head += b"\0"
        whole = head + bytes(mutated(body, self._bodies, chance))
        if kind < 0.45:
            whole = bytes(mutated(whole, self._bodies, chance))
        data = framed(whole[:MOST_FRAME_BYTES])
        return (data, True) if kind < 0.95 else (data[: chance.randrange(len(data))], False)

    def _produce(self, chance: Random) -> bytes:
        data = mutated(chance.choice(self._batch_bytes), self._batch_bytes, chance)
        if self._batches.repair is not None and chance.random() < 0.8:
            self._batches.repair(data)
        request = produce_request(TOPIC, bytes(data), acks=chance.choice((-1, 0, 1)))
        return framed(request_bytes(request, PRODUCE_VERSION))


def _requests(decoder: Decoder) -> list[tuple[int, int, bytes]]:
    """(key, version, body) of every golden request to an API that is served."""
    keys = {info.request_name: key for key, info in API.items() if key in HANDLERS}
    return [
        (keys[sound.name], sound.version, sound.data)
        for sound in decoder.inputs
        if sound.name in keys and API[keys[sound.name]].name not in _SPARED
    ]


async def _probe(witness: Witness, took_s: list[float], attack: Attack) -> None:
    while attack.sent < attack.frames:
        began = time.perf_counter()
        async with asyncio.timeout(PROBE_DEADLINE_S):
            await witness.check()
        took_s.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)


async def _report(attack: Attack, took_s: list[float], say: Callable[[str], None]) -> None:
    began = time.monotonic()
    while attack.sent < attack.frames:
        await asyncio.sleep(10)
        rate = attack.sent / (time.monotonic() - began)
        say(
            f"{attack.sent:,} of {attack.frames:,} frames, {rate:,.0f}/s, {len(took_s)} probes, "
            f"the slowest {1000 * max(took_s, default=0):.0f} ms"
        )


async def _attack(
    target: Target, frames: int, seed: int, say: Callable[[str], None]
) -> tuple[Attack, list[float], int]:
    network = SocketNetwork(asyncio.get_running_loop())
    port = target.subject.port
    witness = await Witness.open(network, HOST, port, "witness")
    setter = await RawClient.connect(network, HOST, port)
    await create_topic(setter, TOPIC)
    for _ in range(50):
        await witness.check()
    before = target.memory()
    target.forget_peak_memory()
    attack = Attack(network, port, frames, seed)
    took_s: list[float] = []
    report = asyncio.ensure_future(_report(attack, took_s, say))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_probe(witness, took_s, attack))
            for number in range(ATTACKERS):
                group.create_task(attack.attacker(number))
        await witness.check()
    finally:
        report.cancel()
        setter.close()
        witness.close()
    return attack, took_s, before


def run(target: Target, frames: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Send `frames` hostile frames to `target`, which runs."""
    violations: list[str] = []
    lines_before = len(target.log())
    try:
        attack, took_s, before = asyncio.run(_attack(target, frames, seed, say))
    except* Exception as group:
        violations += [f"probe or attacker: {error!r}" for error in group.exceptions]
    if violations:
        return Outcome(*[0] * 12, [*violations, *target.log()[-20:]])
    log = target.log()[lines_before:]
    violations += [line for line in log if "Traceback" in line or " ERROR " in line][:20]
    if not target.subject.running():
        violations.append("the process is gone")
    if len(log) > attack.connections + 100:
        violations.append(f"{len(log)} lines in the log for {attack.connections} connections")
    peak = target.peak_memory()
    if peak - before > MEMORY_BYTES:
        violations.append(f"memory rose by {peak - before >> 20} MiB")
    return Outcome(
        attack.sent,
        attack.connections,
        attack.closed,
        attack.waited,
        len(took_s),
        *(round(1000 * quantile(took_s, share), 1) for share in (0.5, 0.99, 1.0)),
        before,
        target.memory(),
        peak,
        len(log),
        violations,
    )


def quantile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all are at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
