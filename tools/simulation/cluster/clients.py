"""Who asks a cluster for where its logs end, and who makes, grows and deletes topics."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from tools.simulation.cluster.history import Administered
from tools.simulation.cluster.world import BROKERS, ClusterWorld
from tools.simulation.history import Deleted, Fetched, Listed, Outcome, Produced
from tools.simulation.readers import delete_records

from ottla.client.admin import Admin
from ottla.client.cluster_view import ClusterView
from ottla.client.offsets import EARLIEST, LATEST, list_offsets
from ottla.client.operations import Operations
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import TopicPartition

T = TypeVar("T")


def view_of(world: ClusterWorld, host: str, *, retry_timeout_ms: int = 5_000) -> ClusterView:
    return ClusterView(
        world.network.host(host),
        world.bootstrap,
        request_timeout_ms=1_500,
        retry_timeout_ms=retry_timeout_ms,
    )


class Watched(list[T]):
    """A list of facts; what they say to be committed is known to a client from then on."""

    def __init__(self, world: ClusterWorld) -> None:
        self._world = world

    def append(self, fact: T, /) -> None:
        super().append(fact)
        saw = self._world.history.saw
        if isinstance(fact, Fetched | Listed):
            saw(fact.partition, fact.high_watermark)
        elif isinstance(fact, Produced) and fact.outcome is Outcome.OK and fact.base_offset >= 0:
            saw(fact.partition, fact.base_offset + len(fact.values))


class Lister:
    """Asks again and again where the logs begin and end."""

    def __init__(self, world: ClusterWorld, host: str) -> None:
        self._world = world
        self._host = host
        self._chance = random.Random(f"lister {world.seed}")

    async def run(self) -> None:
        """For ever."""
        world = self._world
        partitions = [world.partition(number) for number in range(world.shape.partitions)]
        async with view_of(world, self._host) as view:
            while True:
                await asyncio.sleep(self._chance.choice((0.05, 0.5)))
                start = world.loop.time()
                try:
                    starts = await list_offsets(view, dict.fromkeys(partitions, EARLIEST))
                    ends = await list_offsets(view, dict.fromkeys(partitions, LATEST))
                except (ApiError, PeerError):
                    continue
                for partition in partitions:
                    world.history.listed.append(
                        Listed(
                            partition.partition,
                            ends[partition].offset,
                            starts[partition].offset,
                            start,
                            world.loop.time(),
                        )
                    )


class Operator:
    """Creates topics, grows them, deletes them; leaves one alone of which it is in doubt."""

    def __init__(self, world: ClusterWorld, host: str, *, count: int) -> None:
        self._world = world
        self._host = host
        self._count = count
        self._chance = random.Random(f"operator {world.seed}")

    async def run(self) -> None:
        world, chance = self._world, self._chance
        async with view_of(world, self._host) as view:
            admin = Admin(view, timeout_ms=1_000)
            for number in range(self._count):
                await asyncio.sleep(chance.uniform(0.1, 5.0))
                await self._live_of(admin, f"other-{number}")

    async def _live_of(self, admin: Admin, name: str) -> None:
        chance = self._chance
        partitions = chance.randint(1, 2)
        created = admin.create_topic(
            name, partitions=partitions, replication_factor=self._world.shape.replicas
        )
        if not await self._done(name, partitions, created):
            return
        await asyncio.sleep(chance.choice((0.0, 0.5)))
        if chance.random() < 0.5 and not await self._done(
            name, partitions + 1, admin.add_partitions(name, partitions + 1)
        ):
            return
        if chance.random() < 0.6:
            await self._done(name, 0, self._deleted(admin, name))

    async def _deleted(self, admin: Admin, name: str) -> None:
        for error in (await admin.delete_topics([name])).values():
            if error is not None:
                raise error

    async def _done(self, name: str, partitions: int, asked: Awaitable[object]) -> bool:
        world = self._world
        start, outcome = world.loop.time(), Outcome.OK
        try:
            await asked
        except (ApiError, PeerError):
            outcome = Outcome.UNKNOWN
        world.history.administered.append(
            Administered(name, partitions, start, world.loop.time(), outcome)
        )
        return outcome is Outcome.OK


class Pruner:
    """In some worlds, asks for records to be deleted that are known to be committed."""

    def __init__(self, world: ClusterWorld, host: str) -> None:
        self._world = world
        self._host = host
        self._chance = random.Random(f"pruner {world.seed}")

    async def run(self) -> None:
        world, chance = self._world, self._chance
        async with view_of(world, self._host) as view:
            for _ in range(chance.choice((0, 0, 1, 3))):
                await asyncio.sleep(chance.uniform(0.1, world.shape.phase_s / 3))
                partition = world.partition(chance.randrange(world.shape.partitions))
                seen = world.history.seen.get(partition.partition, 0)
                if seen:
                    await self._delete(view, partition, chance.randint(1, seen))

    async def _delete(self, view: ClusterView, partition: TopicPartition, offset: int) -> None:
        start = self._world.loop.time()
        # Asked is enough: it may have happened.
        self._world.history.deleted.append(Deleted(partition.partition, offset, start, start))
        with suppress(ApiError, PeerError):
            await delete_records(view, partition, offset)


class Mover:
    """Moves replicas of what is aimed at, takes that back, and has preferred leaders elected."""

    def __init__(self, world: ClusterWorld, host: str) -> None:
        self._world = world
        self._host = host
        self._chance = random.Random(f"moves {world.seed}")

    async def run(self) -> None:
        world, chance = self._world, self._chance
        async with view_of(world, self._host) as view:
            operations = Operations(view)
            for _ in range(world.shape.moves):
                await asyncio.sleep(chance.uniform(0.1, world.shape.phase_s / world.shape.moves))
                topic = (await world.image()).topics.get(world.aimed_at)
                count = 1 if topic is None else len(topic.partitions)
                partition = TopicPartition(world.aimed_at, chance.randrange(count))
                with suppress(ApiError, PeerError):
                    await self._move(operations, partition)

    async def _move(self, operations: Operations, partition: TopicPartition) -> None:
        chance, shape = self._chance, self._world.shape
        kind = chance.choice(("replicas", "replicas", "back", "leaders"))
        if kind == "leaders":
            await operations.elect(None)
        elif kind == "back":
            await operations.reassign({partition: None})
        else:
            count = chance.randint(2, shape.replicas)
            await operations.reassign({partition: chance.sample(BROKERS, count)})
