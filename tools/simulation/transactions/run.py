"""One seed of transactions: a feeder, two copiers that follow each other, zombies and latecomers."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from tools.simulation.faults import Fault, Faults, plan, survivable
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.readers import view_of
from tools.simulation.run import Shape
from tools.simulation.transactions.checkers import violations
from tools.simulation.transactions.copiers import INPUT, Job, Leaver, Lives
from tools.simulation.transactions.history import Seen, Stable, TransactionHistory
from tools.simulation.transactions.late import Latecomer
from tools.simulation.transactions.logs import note_logs
from tools.simulation.world import OFFSETS, TOPIC, World

from ottla.client.consumer import Consumer
from ottla.client.groups import Groups
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.model.names import TRANSACTION_STATE

PARTITIONS = 3
FEEDER = Job("feeder", None, (INPUT,), 2)
COPIERS = (Job("a", INPUT, (1, 2), 2), Job("b", 1, (2,), 2))
LEAVER = Job("leaver", None, (1, 2), 2)


class TransactionShape(Shape):
    """As any other world's, but nothing is ever lost: power is cut only where all is flushed."""

    @classmethod
    def of(cls, seed: int) -> "TransactionShape":
        return replace(super().of(seed), partitions=PARTITIONS)  # type: ignore[return-value]

    @property
    def settings(self) -> dict[str, str]:
        return {
            **super().settings,
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
        }


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    history = TransactionHistory()

    async def live(world: World, faults: list[Fault]) -> None:
        await _live(seed, world, history, faults)

    return live_through(
        seed,
        TransactionShape.of(seed),
        history,
        live,
        lambda: violations(history),
        trace=trace,
        traced=traced,
    )


async def _live(seed: int, world: World, history: TransactionHistory, faults: list[Fault]) -> None:
    chance = random.Random(f"transactions {seed}")
    world.elected = chance.choice(((TOPIC,), (TOPIC, OFFSETS, TRANSACTION_STATE)))
    hosts = [f"10.0.1.{number}" for number in range(7)]
    ends: dict[int, int] = {}
    final: dict[int, int] = {}
    lives = {
        FEEDER: Lives(world, history, FEEDER, hosts[:1], lambda: None),
        COPIERS[0]: Lives(world, history, COPIERS[0], hosts[1:3], lambda: ends.get(INPUT)),
        COPIERS[1]: Lives(world, history, COPIERS[1], hosts[3:5], lambda: ends.get(1)),
    }
    tasks: dict[str, asyncio.Task[Any]] = {
        job.transactional_id: asyncio.create_task(each.run()) for job, each in lives.items()
    }
    late = asyncio.create_task(Latecomer(world, history, hosts[5], count=25).run())
    if chance.random() < 0.5:
        leaver = Leaver(world, history, LEAVER, 0, hosts[6], lambda: None)
        tasks["leaver"] = asyncio.create_task(leaver.run())
    reader = asyncio.create_task(Reader(world, history, "reader", hosts[6], final).run())

    faults += survivable(plan(seed, len(hosts), world.shape.durable), world.shape.durable)
    happening = Faults(world, hosts)
    await happening.run(faults)
    history.healed = world.loop.time()
    keeper = asyncio.create_task(happening.keep())
    await finished(history, {"feeder": tasks.pop("feeder")})
    if "leaver" in tasks:
        await finished(history, {"leaver": tasks.pop("leaver")})
    ends[INPUT] = _end_of(world, INPUT)
    await finished(history, {"a": tasks.pop("a")})
    ends[1] = _end_of(world, 1)
    await finished(history, {**tasks, "late": late})
    final.update({number: _end_of(world, number) for number in range(PARTITIONS)})
    again = Reader(world, history, "again", hosts[0], final)
    await finished(history, {"reader": reader, "again": asyncio.create_task(again.run())})
    await _look(world, history, hosts[0])
    keeper.cancel()
    await world.finish()
    note_logs(world, history)


def _end_of(world: World, partition: int) -> int:
    return {number: log.log_end_offset for number, log in world.topic_logs()}[partition]


async def _look(world: World, history: TransactionHistory, host: str) -> None:
    """Which offsets are committed in the end, and how far partitions can be read."""
    for number, _ in world.topic_logs():
        assert world.broker is not None
        replica = world.broker.replicas.find_by_name(TOPIC, number)
        assert replica is not None
        stable = replica.readable_end(IsolationLevel.READ_COMMITTED)
        history.stable[number] = Stable(stable, replica.high_watermark, world.loop.time())
    async with view_of(world, host) as view:
        for job in COPIERS:
            assert job.source is not None
            place = TopicPartition(TOPIC, job.source)
            for _ in range(20):
                try:
                    found = await Groups(view).committed(job.group, [place])
                except (ApiError, PeerError):
                    await asyncio.sleep(0.5)
                    continue
                if place in found:
                    history.offsets[job.group, job.source] = found[place].offset
                break
            else:
                history.stuck.append("the committed offsets are not told")


class Reader:
    """Reads everything that is committed, up to where all logs end."""

    def __init__(
        self,
        world: World,
        history: TransactionHistory,
        name: str,
        host: str,
        ends: dict[int, int],
    ) -> None:
        self._world = world
        self._history = history
        self._name = name
        self._host = host
        self._ends = ends
        self._positions = dict.fromkeys(range(PARTITIONS), 0)
        self._pause_s = random.Random(f"{name} {world.seed}").choice((0.0, 0.1, 0.3))

    async def run(self) -> None:
        while True:
            try:
                async with (
                    view_of(self._world, self._host) as view,
                    Consumer(
                        view, isolation=IsolationLevel.READ_COMMITTED, max_wait_ms=1_000
                    ) as consumer,
                ):
                    consumer.assign(
                        {TopicPartition(TOPIC, n): at for n, at in self._positions.items()}
                    )
                    while not self._is_done():
                        await self._read(consumer)
                        await asyncio.sleep(self._pause_s)
                    return
            except (ApiError, PeerError):
                await asyncio.sleep(0.2)

    def _is_done(self) -> bool:
        return bool(self._ends) and all(
            self._positions[number] >= end for number, end in self._ends.items()
        )

    async def _read(self, consumer: Consumer) -> None:
        start = self._world.loop.time()
        for batch in await consumer.poll(1_000):
            number = batch.partition.partition
            self._history.seen.append(
                Seen(
                    self._name,
                    number,
                    self._positions[number],
                    batch.header.next_offset,
                    tuple((each.offset, bytes(each.value or b"")) for each in batch.records),
                    batch.last_stable_offset,
                    start,
                )
            )
            self._positions[number] = batch.header.next_offset
