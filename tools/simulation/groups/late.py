"""Commits of members that may be gone by now, over somebody else's connection."""

import asyncio
import random

from tools.simulation.groups.history import GroupHistory, Kept
from tools.simulation.groups.members import GROUP
from tools.simulation.groups.watched import Numbers
from tools.simulation.history import Outcome
from tools.simulation.wire import Wire
from tools.simulation.world import TOPIC, World

from ottla.model.errors import PeerError
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)

OFFSET_COMMIT_VERSION = 9


class Latecomer:
    """Commits as a member that was there a while ago, in the generation of then."""

    def __init__(
        self,
        world: World,
        history: GroupHistory,
        host: str,
        numbers: Numbers,
        *,
        count: int,
    ) -> None:
        self._world = world
        self._history = history
        self._host = host
        self._numbers = numbers
        self._left = count
        self._chance = random.Random(f"late {world.seed}")

    async def run(self) -> None:
        while self._left:
            try:
                wire = await Wire.connect(self._world, self._host)
                try:
                    while self._left:
                        await asyncio.sleep(self._chance.choice((0.1, 0.3, 0.8)))
                        self._left -= 1
                        await self._commit(wire)
                finally:
                    wire.abort()
            except PeerError:
                await asyncio.sleep(0.1)

    async def _commit(self, wire: Wire) -> None:
        had = [each for each in self._history.held[-40:] if each.partitions]
        if not had:
            return
        held = self._chance.choice(had)
        partition = self._chance.choice(sorted(held.partitions))
        offset = self._numbers.next()
        row = OffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=""
        )
        request = OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=held.epoch,
            member_id=held.member_id,
            group_instance_id=held.instance_id,
            topics=[OffsetCommitRequestTopic(name=TOPIC, partitions=[row])],
        )
        loop = self._world.loop
        start, outcome = loop.time(), Outcome.UNKNOWN
        try:
            answer = await wire.call(request, OFFSET_COMMIT_VERSION)
            if not answer.topics[0].partitions[0].error_code:
                outcome = Outcome.OK
        finally:
            self._history.kept.append(
                Kept(
                    held.member_id,
                    held.instance_id,
                    held.epoch,
                    partition,
                    offset,
                    start,
                    loop.time(),
                    outcome,
                )
            )
