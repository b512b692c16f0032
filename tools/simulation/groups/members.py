"""Clients that belong to a group: they come, commit, stall, leave or die, and come back."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from tools.simulation.groups.history import GroupHistory
from tools.simulation.groups.watched import (
    Idle,
    Numbers,
    Watch,
    WatchedClassic,
    WatchedGroups,
    WatchedNewer,
)
from tools.simulation.readers import view_of
from tools.simulation.world import TOPIC, World

from ottla.client.cluster_view import ClusterView
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import Offset, TopicPartition

GROUP = "g"
SESSION_S = 6.0
CLASSIC, NEWER = "classic", "consumer"


class Life:
    """One life of a client: joins, commits now and then, stalls, and leaves or dies."""

    def __init__(
        self,
        world: World,
        history: GroupHistory,
        name: str,
        host: str,
        protocol: str,
        numbers: Numbers,
        *,
        instance_id: str | None = None,
        until: Callable[[dict[TopicPartition, Offset]], bool] | None = None,
    ) -> None:
        """`until`: when this life is over, seeing what it has; else after a number of polls."""
        self._chance = random.Random(f"{name} {world.seed}")
        self._world = world
        self._history = history
        self._name = name
        self._host = host
        self._protocol = protocol
        self._numbers = numbers
        self._instance_id = instance_id
        self._until = until
        self._polls = self._chance.randint(3, 25)
        self._stalls = 1

    async def run(self) -> None:
        while True:
            try:
                async with view_of(self._world, self._host) as view:
                    await self._belong(view)
                return
            except ApiError as error:
                if error.code is ErrorCode.FENCED_INSTANCE_ID:
                    return  # another life has its place
                await asyncio.sleep(0.3)
            except PeerError:
                await asyncio.sleep(0.3)

    async def _belong(self, view: ClusterView) -> None:
        chance = self._chance
        async with self._member(view) as member:
            while not self._is_over(member.positions()):
                await member.poll(chance.choice((100, 400, 1_000)))
                for place in member.positions():
                    if chance.random() < 0.4:
                        member.read_up_to(place, self._numbers.next())
                if self._until is None and self._stalls and chance.random() < 0.05:
                    self._stalls -= 1
                    await asyncio.sleep(chance.choice((1.0, SESSION_S + 0.5, 15.0)))
                    with suppress(ApiError, PeerError):
                        await member._commit()  # before anybody has told it that it is out

    def _is_over(self, positions: dict[TopicPartition, Offset]) -> bool:
        if self._until is not None:
            return self._until(positions)
        self._polls -= 1
        return self._polls < 0

    def _member(self, view: ClusterView) -> WatchedClassic | WatchedNewer:
        async def first(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(partitions, 0)

        member: WatchedClassic | WatchedNewer
        if self._protocol == CLASSIC:
            member = WatchedClassic(
                view,
                GROUP,
                [TOPIC],
                first_offsets=first,
                instance_id=self._instance_id,
                session_timeout_ms=round(SESSION_S * 1000),
                rebalance_timeout_ms=3_000,
                heartbeat_ms=500,
                commit_ms=300,
            )
        else:
            member = WatchedNewer(
                view,
                GROUP,
                [TOPIC],
                first_offsets=first,
                instance_id=self._instance_id,
                rebalance_timeout_ms=3_000,
                commit_ms=300,
                new_id=lambda: self._chance.randbytes(16),
            )
        member.watch = Watch(self._world, self._history, self._name)
        member._groups = WatchedGroups(view, self._world, self._history, self._name)
        member._consumer = Idle()  # type: ignore[assignment]
        return member


class Lives:
    """Lives of one place in the group, one after the other; some begin before the last is over."""

    def __init__(self, world: World, name: str, make: Callable[[int], Life]) -> None:
        """`make` a life by its number."""
        self._chance = random.Random(f"lives {name} {world.seed}")
        self._make = make

    async def run(self) -> None:
        chance = self._chance
        await asyncio.sleep(chance.choice((0.0, 0.1, 1.0)))
        running: list[asyncio.Task[None]] = []
        for number in range(chance.randint(1, 3)):
            if number:
                await asyncio.wait(running, timeout=chance.choice((0.3, 2.0, 5.0)))
                if chance.random() < 0.4:
                    for each in running:
                        each.cancel()  # dies without leaving
            running.append(asyncio.create_task(self._make(number).run()))
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result


class Observer:
    """Asks now and then what is committed, as an administrator would."""

    def __init__(self, world: World, history: GroupHistory, host: str, *, count: int) -> None:
        self._world = world
        self._history = history
        self._host = host
        self._left = count
        self._chance = random.Random(f"observer {world.seed}")

    async def run(self) -> None:
        while self._left:
            self._left -= 1
            await asyncio.sleep(self._chance.choice((0.1, 0.3, 0.9)))
            await self.look()

    async def look(self) -> None:
        world = self._world
        places = [world.partition(number) for number in range(world.shape.partitions)]
        with suppress(ApiError, PeerError):
            async with view_of(world, self._host) as view:
                groups = WatchedGroups(view, world, self._history, "observer")
                await groups.committed(GROUP, places)
