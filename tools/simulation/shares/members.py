"""Members of a share group: they acknowledge, renew, stall past their locks, leave or die."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from tools.simulation.history import Outcome
from tools.simulation.readers import view_of
from tools.simulation.shares.history import Alive, Delivered, Holder, Said, ShareHistory, Unheard
from tools.simulation.world import TOPIC, World

from ottla.client.share_member import Ack, Delivery, Place, ShareMember
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, Offset, TopicPartition
from ottla.wire.generated.share_fetch import ShareFetchRequest

GROUP = "g"
LOCK_S, SESSION_S = 2.0, 6.0
QUIET_S = 3 * LOCK_S
"""With nothing to be had for so long, nothing is in anybody's hands any more."""

REFUSED = frozenset(
    {
        ErrorCode.INVALID_RECORD_STATE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.SHARE_SESSION_NOT_FOUND,
        ErrorCode.INVALID_SHARE_SESSION_EPOCH,
    }
)
"""Refused before anything was written."""


class WatchedMember(ShareMember):
    """The library's member; what it is told is noted when it comes."""

    world: World
    history: ShareHistory
    life: str
    session: int = 0
    troubled = 0.0
    """When something last went wrong."""

    async def _in_turn(
        self, leader: BrokerId, epoch: int, link: Any, request: Any, wait_ms: int
    ) -> Any:
        world, holder, fetches = self.world, self._me(), isinstance(request, ShareFetchRequest)
        start, broker = world.loop.time(), world.start_of(leader)
        try:
            response = await super()._in_turn(leader, epoch, link, request, wait_ms)
        except BaseException as error:
            self.troubled = world.loop.time()
            if fetches and not isinstance(error, ApiError):
                self.history.unheard.append(Unheard(self.life, start, self.troubled))
            raise
        end = world.loop.time()
        if epoch:
            self.history.alive.append(Alive(holder, start, end))
        if any(row.error_code for topic in response.responses for row in topic.partitions):
            self.troubled = end
        self._started, self._ended = start, end
        self._broker = broker if broker == world.start_of(leader) else 0
        return response

    async def _fetch(
        self,
        leader: BrokerId,
        partitions: frozenset[TopicPartition],
        wait_ms: int,
        max_records: int,
    ) -> list[Delivery]:
        found = await super()._fetch(leader, partitions, wait_ms, max_records)
        for (partition, offset), value, count in found:
            self.history.delivered.append(
                Delivered(
                    self._me(),
                    (partition.partition, offset),
                    value or b"",
                    count,
                    self._started,
                    self._ended,
                    self._broker,
                )
            )
        return found

    async def _acknowledge(
        self, leader: BrokerId, acks: Mapping[TopicPartition, Mapping[Offset, Ack]]
    ) -> dict[TopicPartition, ApiError | None]:
        holder, start = self._me(), self.world.loop.time()
        outcomes = dict.fromkeys(acks, Outcome.UNKNOWN)
        try:
            verdicts = await super()._acknowledge(leader, acks)
            for partition, error in verdicts.items():
                outcomes[partition] = _outcome(error)
        except ApiError as error:
            outcomes = dict.fromkeys(acks, _outcome(error))
            raise
        finally:
            end = self.world.loop.time()
            for partition, mine in acks.items():
                for offset, ack in mine.items():
                    place = partition.partition, offset
                    said = Said(holder, place, ack, start, end, outcomes[partition])
                    self.history.said.append(said)
        return verdicts

    def _end_session(self, leader: BrokerId) -> None:
        super()._end_session(leader)
        self.session += 1

    def _me(self) -> Holder:
        return Holder(self.life, self.session)


def _outcome(error: ApiError | None) -> Outcome:
    if error is None:
        return Outcome.OK
    return Outcome.FAIL if error.code in REFUSED else Outcome.UNKNOWN


class Life:
    """One life of a member: fetches, says what became of most records, stalls, leaves or dies."""

    def __init__(self, world: World, history: ShareHistory, name: str, host: str) -> None:
        self._chance = random.Random(f"{name} {world.seed}")
        self._world = world
        self._history = history
        self._name = name
        self._host = host
        self._left = self._chance.randint(3, 25)
        self._stalls = 1
        self._held: set[Place] = set()

    async def run(self) -> None:
        while True:
            try:
                async with view_of(self._world, self._host) as view:
                    member = WatchedMember(
                        view, GROUP, [TOPIC], new_id=lambda: self._chance.randbytes(16)
                    )
                    member.world, member.history = self._world, self._history
                    member.life = self._name
                    async with member:
                        await self._belong(member)
                return
            except (ApiError, PeerError):
                self._held.clear()
                await asyncio.sleep(0.3)

    async def _belong(self, member: WatchedMember) -> None:
        chance = self._chance
        while self._left:
            self._left -= 1
            most = chance.choice((1, 4, 500))
            found = await member.fetch(chance.choice((100, 400, 1_000)), max_records=most)
            self._held.update(each.place for each in found)
            if self._stalls and self._held and chance.random() < 0.1:
                self._stalls -= 1
                await asyncio.sleep(chance.choice((0.5, LOCK_S + 0.3, SESSION_S + 0.5)))
            await self._acknowledge(member)

    async def _acknowledge(self, member: WatchedMember) -> None:
        """Of most records; the others it keeps, and says it later, perhaps too late."""
        chance = self._chance
        acks: dict[Place, Ack] = {}
        for place in sorted(self._held):
            if chance.random() < 0.85:
                kinds = (Ack.ACCEPT, Ack.RELEASE, Ack.REJECT, Ack.RENEW)
                acks[place] = chance.choices(kinds, (5, 3, 1, 1))[0]
        if not acks:
            return
        await asyncio.sleep(chance.choice((0.0, 0.01, 0.2)))
        try:
            await member.acknowledge(acks)
        except (ApiError, PeerError):
            member._view.distrust()
            await asyncio.sleep(0.1)
        self._held.difference_update(place for place, ack in acks.items() if ack is not Ack.RENEW)


class Last(Life):
    """Accepts whatever there is, until there has been nothing for so long that nobody has any."""

    async def _belong(self, member: WatchedMember) -> None:
        loop = self._world.loop
        quiet_since = loop.time()
        while (
            loop.time() < max(quiet_since, member.troubled) + QUIET_S
            or len(member.assigned) < self._world.shape.partitions
        ):
            found = await member.fetch(500)
            if found:
                self._held = {each.place for each in found}
                quiet_since = loop.time()
                await self._accept(member)

    async def _accept(self, member: WatchedMember) -> None:
        try:
            await member.acknowledge(dict.fromkeys(self._held, Ack.ACCEPT))
        except (ApiError, PeerError):
            member._view.distrust()
