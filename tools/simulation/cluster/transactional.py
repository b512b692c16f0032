"""One seed: producers write in transactions, and commit offsets with them, while a cluster fails.

The faults and the machines are those of `run`. At the end a committed transaction is there once,
an aborted one is not, one of which its producer never heard is there whole or not at all, what
groups have committed are the offsets of what is there, and no transaction is left open.
"""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tools.simulation import checkers as alone
from tools.simulation.checkers import violations
from tools.simulation.cluster import checkers
from tools.simulation.cluster.clients import Mover, view_of
from tools.simulation.cluster.faults import Faults, plan
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.machine import TOPIC
from tools.simulation.cluster.run import SETTLE_LIMIT_S, SHORT_PHASE_S, Shape, created
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.life import Ran, finished, live_through

from ottla.client.cluster_view import ClusterView, check
from ottla.client.consumer import Consumer
from ottla.client.offsets import LATEST, list_offsets
from ottla.client.transactional_producer import TransactionalProducer
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.model.names import CONSUMER_OFFSETS, TRANSACTION_STATE
from ottla.wire.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic

PRODUCERS = 3
TRANSACTIONS = 12
TIMEOUT_MS = 6_000
CLOSED_LIMIT_S = 60.0

OF_CLUSTER: dict[str, Any] = {
    checker.__name__: checker
    for checker in (
        checkers.two_leaders,
        checkers.replicas_differ,
        checkers.unclean,
        alone.files,
        alone.liveness,
        alone.unexpected,
    )
}
COMMITTED, ABORTED, UNKNOWN = "committed", "aborted", "unknown"


class TransactionalHistory(ClusterHistory):
    """With how each transaction ended for its producer."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []

    @property
    def operations(self) -> int:
        return self.ends.total()


class Writer:
    """One transactional id: a transaction after the other, each of a few partitions."""

    def __init__(self, world: ClusterWorld, number: int) -> None:
        self.name = f"p{number}"
        self.written: list[tuple[str, list[str]]] = []
        """How each transaction ended, and its values."""
        self._world = world
        self._host = f"10.0.1.{number}"
        self._chance = random.Random(f"transactional {number} {world.seed}")

    async def run(self) -> None:
        """Write all; at the end nothing of it is open."""
        async with view_of(self._world, self._host) as view:
            producer = await self._begun(view)
            for number in range(TRANSACTIONS):
                await asyncio.sleep(self._chance.choice((0.0, 0.1, 2.0)))
                values: list[str] = []
                end = await self._write(producer, number, values)
                self.written.append((end, values))
                if end is UNKNOWN or producer.failure is not None:
                    await producer.__aexit__()
                    producer = await self._begun(view)
            await self._begun(view)

    async def _begun(self, view: ClusterView) -> TransactionalProducer:
        """One that has the id; whatever was open is aborted."""
        while True:
            producer = TransactionalProducer(
                view,
                self.name,
                timeout_ms=TIMEOUT_MS,
                now_ms=self._world.clock.now_ms,
                below=self._chance.randrange,
                linger_ms=0,
            )
            with suppress(ApiError, PeerError):
                await producer.init()
                return producer
            await asyncio.sleep(0.1)

    async def _write(self, producer: TransactionalProducer, number: int, values: list[str]) -> str:
        partitions = self._world.shape.partitions
        is_whole = False
        producer.begin()
        try:
            for record in range(self._chance.randint(1, 4)):
                value = f"{self.name}-{number}-{record}"
                values.append(value)
                partition = self._chance.randrange(partitions)
                await producer.send(TOPIC, value.encode(), partition=partition)
            offsets = {TopicPartition(TOPIC, 0): number}
            await producer.send_offsets(f"group of {self.name}", offsets)
            await producer.flush()
            is_whole = producer.failure is None
        except (ApiError, PeerError):
            pass
        if not is_whole or self._chance.random() < 0.2:
            with suppress(ApiError, PeerError):
                await producer.abort()
            return ABORTED
        try:
            await producer.commit()
        except (ApiError, PeerError):
            return UNKNOWN
        return COMMITTED


async def offset_of(view: ClusterView, group: str) -> int:
    """What a group has committed; waits for what is pending."""
    request = OffsetFetchRequest(
        group_id=group,
        topics=[OffsetFetchRequestTopic(name=TOPIC, partition_indexes=[0])],
        require_stable=True,
    )

    async def attempt() -> int:
        link = await view.link(await view.coordinator(group))
        answer = await link.request(request, timeout_ms=view.request_timeout_ms, version=7)
        check(answer.error_code)
        row = answer.topics[0].partitions[0]
        check(row.error_code)
        return int(row.committed_offset)

    return await view.ask(attempt)


async def read_all(world: ClusterWorld, view: ClusterView) -> list[str]:
    """Everything that counts, once nothing is open any more."""
    partitions = [TopicPartition(TOPIC, number) for number in range(world.shape.partitions)]
    until_s = world.loop.time() + CLOSED_LIMIT_S
    while True:
        stable = await list_offsets(
            view, dict.fromkeys(partitions, LATEST), isolation=IsolationLevel.READ_COMMITTED
        )
        ends = await list_offsets(view, dict.fromkeys(partitions, LATEST))
        if all(stable[each].offset == ends[each].offset for each in partitions):
            break
        if world.loop.time() > until_s:
            world.history.stuck.append(f"a transaction stays open: {stable} of {ends}")
            break
        await asyncio.sleep(0.2)
    values: list[str] = []
    consumer = Consumer(view, isolation=IsolationLevel.READ_COMMITTED)
    async with consumer:
        consumer.assign(dict.fromkeys(partitions, 0))
        while batches := await consumer.poll(3_000):
            for batch in batches:
                values += [each.value.decode() for each in batch.records if each.value]
    return values


def wrong(
    written: list[tuple[str, list[str]]], read: Counter[str], committed_offset: int
) -> list[str]:
    """What is not as it should be of one producer."""
    found: list[str] = []
    there = -1
    for number, (end, values) in enumerate(written):
        counts = {read[value] for value in values}
        if end == COMMITTED and counts - {1}:
            found.append(f"{values} of a committed transaction are there {counts} times")
        if end == ABORTED and counts - {0}:
            found.append(f"{values} of an aborted transaction are there {counts} times")
        if end == UNKNOWN and counts not in ({0}, {1}):
            found.append(f"{values} are there in parts: {counts}")
        if counts == {1}:
            there = number
    if committed_offset != there:
        found.append(f"the group has committed {committed_offset} and not {there}")
    return found


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    history = TransactionalHistory()

    async def live(world: ClusterWorld, faults: list[Fault]) -> None:
        shape = world.shape
        await created(world, "10.0.1.6")
        writers = [Writer(world, number) for number in range(PRODUCERS)]
        topics = (TOPIC, TRANSACTION_STATE, TRANSACTION_STATE, CONSUMER_OFFSETS)
        world.aimed_at = random.Random(f"aimed at {seed}").choice(topics)
        running = {each.name: asyncio.create_task(each.run()) for each in writers}
        running["mover"] = asyncio.create_task(Mover(world, "10.0.1.6").run())
        looking = asyncio.create_task(world.look())
        faults += plan(seed, shape.phase_s, durable=shape.durable, replicated=shape.replicas > 2)
        happening = Faults(world, [f"10.0.1.{number}" for number in range(7)])
        keeper = asyncio.create_task(happening.keep())
        await happening.run(faults)
        await finished(history, running)
        await world.settled(SETTLE_LIMIT_S)
        if not history.stuck:
            async with view_of(world, "10.0.1.5", retry_timeout_ms=30_000) as view:
                read = Counter(await read_all(world, view))
                for writer in writers:
                    try:
                        offset = await offset_of(view, f"group of {writer.name}")
                    except (ApiError, PeerError) as error:
                        history.stuck.append(f"the group of {writer.name}: {error}")
                    else:
                        history.wrong.extend(wrong(writer.written, read, offset))
        history.ends.update(end for each in writers for end, _ in each.written)
        for each in (keeper, looking):
            each.cancel()
        await world.finish()

    return live_through(
        seed,
        replace(Shape.of(seed), phase_s=SHORT_PHASE_S),
        history,
        live,
        lambda: [*history.wrong, *violations(history, OF_CLUSTER)],
        make=ClusterWorld,
        trace=trace,
        traced=traced,
    )
