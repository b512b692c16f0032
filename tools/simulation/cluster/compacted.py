"""One seed: a compacted topic, written, read from its start and compacted while a cluster fails.

The faults and the machines are those of `run`. Each broker compacts for itself. At any time who
reads a partition from its start has, for each key, what was acknowledged last or something newer;
in the end each replica says so, too, and no offset ever held two records.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from tools.simulation import checkers as alone
from tools.simulation.checkers import violations
from tools.simulation.cluster import checkers
from tools.simulation.cluster.clients import view_of
from tools.simulation.cluster.faults import Faults, plan
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.machine import TOPIC
from tools.simulation.cluster.run import SETTLE_LIMIT_S, Shape, created
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.history import Outcome
from tools.simulation.life import Ran, finished, live_through

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer
from ottla.client.offsets import LATEST, list_offsets
from ottla.client.producer import Producer
from ottla.model.errors import ApiError, PeerError
from ottla.model.isolation import Acks
from ottla.record.batch import batches
from ottla.record.records import read_records

WRITERS = 2
WRITES = 40
KEYS = 3
"""Of each writer; nobody else writes them."""
END = b"end"
CALM_S = 12.0
"""All is compacted by then, once nobody writes any more."""
DAY_MS = 86_400_000

Log = Mapping[int, tuple[bytes, bytes | None]]
"""Key and value by offset."""


@dataclass(frozen=True)
class CompactedShape(Shape):
    """A cluster's shape, with how eagerly it compacts."""

    delete_retention_ms: int = DAY_MS
    backoff_ms: int = 1_000

    @classmethod
    def of(cls, seed: int) -> "CompactedShape":
        chance = random.Random(f"compacted {seed}")
        base = Shape.of(seed)
        known = {each.name: getattr(base, each.name) for each in fields(base)}
        known["segment_ms"] = chance.choice((300, 1_000, 3_000))
        known["phase_s"] = min(base.phase_s, 100.0)
        return cls(
            **known,
            delete_retention_ms=chance.choice((DAY_MS, 500)),
            backoff_ms=chance.choice((100, 1_000, 3_000)),
        )

    @property
    def settings(self) -> dict[str, str]:
        return {**super().settings, "log.cleaner.backoff.ms": str(self.backoff_ms)}

    @property
    def topic_configs(self) -> dict[str, str]:
        return {
            **super().topic_configs,
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": str(self.delete_retention_ms),
            "file.delete.delay.ms": "1000",
        }

    @property
    def keeps_tombstones(self) -> bool:
        """For longer than any replica or reader is behind."""
        return self.delete_retention_ms == DAY_MS


class Written(NamedTuple):
    """A record that somebody wrote, or tried to."""

    partition: int
    key: bytes
    value: bytes | None
    start: float
    end: float
    outcome: Outcome
    offset: int
    """-1: not known."""


class Seen(NamedTuple):
    """A partition from its start to where it ended, or further."""

    who: str
    partition: int
    start: float
    """When where it ended was asked for."""
    end: float
    log: Log


@dataclass
class CompactedHistory(ClusterHistory):
    keeps_tombstones: bool = True
    written: list[Written] = field(default_factory=list)
    reads: list[Seen] = field(default_factory=list)
    replicated: list[Seen] = field(default_factory=list)
    """What each replica has in the end."""
    compactions: int = 0

    @property
    def operations(self) -> int:
        return len(self.written) + len(self.reads)


class CompactedWorld(ClusterWorld):
    """Where offsets may be missing; counts compactions."""

    history: CompactedHistory
    may_have_holes = True

    def log(self, record: logging.LogRecord) -> None:
        super().log(record)
        self.history.compactions += "is compacted up to" in record.msg


class Writer:
    """Writes its keys again and again, and sometimes deletes one."""

    def __init__(self, world: CompactedWorld, number: int) -> None:
        self._world = world
        self._name = f"w{number}"
        self._host = f"10.0.1.{number}"
        self._chance = random.Random(f"keys {number} {world.seed}")

    async def run(self) -> None:
        world, chance = self._world, self._chance
        pauses_s = (0.0, 0.2, max(2.0, world.shape.phase_s / 20))
        async with (
            view_of(world, self._host, retry_timeout_ms=60_000) as view,
            Producer(
                view,
                acks=Acks.ALL,
                idempotent=True,
                linger_ms=chance.choice((0, 5)),
                now_ms=world.clock.now_ms,
                below=chance.randrange,
            ) as producer,
        ):
            for number in range(WRITES):
                await asyncio.sleep(chance.choice(pauses_s))
                key = chance.randrange(KEYS)
                value = None if chance.random() < 0.2 else b"%s-%d" % (self._name.encode(), number)
                await self._write(producer, key, value)

    async def _write(self, producer: Producer, number: int, value: bytes | None) -> None:
        world = self._world
        key, partition = b"%s-%d" % (self._name.encode(), number), number % world.shape.partitions
        start = world.loop.time()
        while True:
            try:
                done = await producer.send(TOPIC, value, key=key, partition=partition)
                break
            except (ApiError, PeerError):
                await asyncio.sleep(0.2)

        def note(future: "asyncio.Future[Any]") -> None:
            outcome, offset = Outcome.UNKNOWN, -1
            if not future.cancelled() and future.exception() is None:
                outcome, offset = Outcome.OK, future.result().offset
                world.history.saw(partition, offset + 1)
            world.history.written.append(
                Written(partition, key, value, start, world.loop.time(), outcome, offset)
            )

        done.add_done_callback(note)


class Reader:
    """Reads a partition from its start, as who begins to follow it does; again and again."""

    def __init__(self, world: CompactedWorld, name: str, host: str) -> None:
        self._world = world
        self._name = name
        self._host = host
        self._chance = random.Random(f"{name} {world.seed}")

    async def run(self) -> None:
        """For ever."""
        async with view_of(self._world, self._host) as view:
            while True:
                await asyncio.sleep(self._chance.choice((0.1, 1.0)))
                with suppress(ApiError, PeerError):
                    await self.read(view, self._chance.randrange(self._world.shape.partitions))

    async def read(self, view: ClusterView, number: int) -> None:
        """Raises ApiError, PeerError: something is not there now."""
        loop, partition = self._world.loop, self._world.partition(number)
        start = loop.time()
        end_offset = (await list_offsets(view, {partition: LATEST}))[partition].offset
        self._world.history.saw(number, end_offset)
        log: dict[int, tuple[bytes, bytes | None]] = {}
        async with Consumer(view, reset=None, max_wait_ms=200) as consumer:
            consumer.assign({partition: 0})
            while consumer.positions()[partition] < end_offset:
                for batch in await consumer.poll(2_000):
                    for record in batch.records:
                        log[record.offset] = record.key or b"", record.value
        self._world.history.reads.append(Seen(self._name, number, start, loop.time(), log))


def state(log: Log) -> dict[bytes, int]:
    """The offset of the last record of each key."""
    return {log[offset][0]: offset for offset in sorted(log)}


def stale(history: CompactedHistory) -> Iterator[str]:
    """D1: of each key the last acknowledged record is there, or one that is newer."""
    for seen in (*history.reads, *history.replicated):
        there = state(seen.log)
        acked: dict[bytes, Written] = {}
        for each in history.written:
            if each.partition != seen.partition or each.outcome is not Outcome.OK:
                continue
            if each.offset >= 0 and each.end <= seen.start:
                before = acked.get(each.key)
                if before is None or each.offset > before.offset:
                    acked[each.key] = each
        for key, last in sorted(acked.items()):
            offset = there.get(key, -1)
            if offset < last.offset and not _is_deleted(history, seen, key, last, offset):
                yield (
                    f"{seen.who} at {seen.end:.3f} s: {key!r} in {seen.partition} is as of "
                    f"{offset}, {last.value!r} was acknowledged at {last.offset}"
                )


def _is_deleted(
    history: CompactedHistory, seen: Seen, key: bytes, last: Written, offset: int
) -> bool:
    """Whether a tombstone, since removed, stands for the key, of which `offset` is what is left."""
    if offset >= 0 and history.keeps_tombstones:
        return False
    return any(
        each.key == key
        and each.value is None
        and each.start <= seen.end
        and (each.offset < 0 or each.offset >= last.offset)
        for each in history.written
    )


def two_records(history: CompactedHistory) -> Iterator[str]:
    """D2: no offset ever holds two records, and none is made up."""
    known: dict[tuple[int, int], tuple[bytes, bytes | None]] = {}
    sent: dict[int, set[tuple[bytes, bytes | None]]] = defaultdict(set)
    for each in history.written:
        sent[each.partition].add((each.key, each.value))
        if each.offset >= 0:
            known[each.partition, each.offset] = each.key, each.value
    for seen in (*history.reads, *history.replicated):
        for offset, record in seen.log.items():
            before = known.setdefault((seen.partition, offset), record)
            if before != record:
                yield f"{seen.partition}@{offset}: {record} {seen.who}, {before} before"
            if record not in sent[seen.partition]:
                yield f"{seen.partition}@{offset}: {record} was never sent, {seen.who}"


def duplicates(history: CompactedHistory) -> Iterator[str]:
    """D2: a value of an idempotent producer is at one offset."""
    where: dict[bytes, tuple[int, int]] = {}
    for seen in (*history.reads, *history.replicated):
        for offset, (_, value) in seen.log.items():
            if value is not None:
                before = where.setdefault(value, (seen.partition, offset))
                if before != (seen.partition, offset):
                    yield f"{value!r} at {seen.partition}@{offset} ({seen.who}) and {before}"


def left(history: CompactedHistory) -> Iterator[str]:
    """L: once nobody writes, nothing but the last record of each key is left."""
    for seen in history.replicated:
        if len(seen.log) > WRITERS * KEYS + 1:
            yield f"{seen.who}: {len(seen.log)} records in {seen.partition}, all was to be compacted"


CHECKERS: dict[str, Any] = {
    checker.__name__: checker
    for checker in (
        stale,
        two_records,
        duplicates,
        left,
        checkers.two_leaders,
        checkers.eligible_lack,
        checkers.unclean,
        alone.files,
        alone.liveness,
        alone.unexpected,
    )
}


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    shape = CompactedShape.of(seed)
    history = CompactedHistory(keeps_tombstones=shape.keeps_tombstones)
    return live_through(
        seed,
        shape,
        history,
        lambda world, faults: _lived(seed, world, faults),
        lambda: violations(history, CHECKERS),
        make=CompactedWorld,
        trace=trace,
        traced=traced,
    )


async def _ended(world: CompactedWorld, host: str) -> None:
    """A record in each partition begins a segment, so that all before it can be compacted."""
    async with (
        view_of(world, host, retry_timeout_ms=30_000) as view,
        Producer(view, now_ms=world.clock.now_ms, below=random.Random(world.seed).randrange) as end,
    ):
        for number in range(world.shape.partitions):
            start, value = world.loop.time(), b"end-%d" % number
            try:
                done = await (await end.send(TOPIC, value, key=END, partition=number))
            except (ApiError, PeerError) as error:
                world.history.stuck.append(f"nothing can be written after all was healed: {error}")
            else:
                world.history.written.append(
                    Written(number, END, value, start, world.loop.time(), Outcome.OK, done.offset)
                )


async def _lived(seed: int, world: CompactedWorld, faults: list[Fault]) -> None:
    history, shape = world.history, world.shape
    hosts = [f"10.0.1.{number}" for number in range(7)]
    await created(world, hosts[6])
    running = {
        f"w{number}": asyncio.create_task(Writer(world, number).run()) for number in range(WRITERS)
    }
    reader = Reader(world, "reader", hosts[3])
    others = [asyncio.create_task(world.look()), asyncio.create_task(reader.run())]
    faults += plan(seed, shape.phase_s, durable=shape.durable, replicated=shape.replicas > 2)
    happening = Faults(world, hosts)
    others.append(asyncio.create_task(happening.keep()))
    await happening.run(faults)
    await finished(history, running)
    await world.settled(SETTLE_LIMIT_S)
    await asyncio.sleep(shape.segment_ms / 1_000)
    await _ended(world, hosts[6])
    await asyncio.sleep(CALM_S)
    for each in others:
        each.cancel()
    await world.finish()
    now = world.loop.time()
    for (number, broker), replica in sorted(history.replicas.items()):
        log = {
            record.offset: (record.key or b"", record.value)
            for _, data in replica.batches.values()
            for header in batches(data)
            if not header.is_control
            for record in read_records(data, header.position)
        }
        history.replicated.append(Seen(f"broker {broker}", number, now, now, log))
