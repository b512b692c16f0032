"""Clients that read: the library's consumer, one with a fetch session, a member of a group."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tools.simulation.history import Committed, Deleted, Fetched, Listed, Outcome, Refused
from tools.simulation.wire import Wire
from tools.simulation.world import TOPIC, World

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer, FetchedBatch
from ottla.client.group_member import GroupMember
from ottla.client.groups import Groups
from ottla.client.offsets import EARLIEST, LATEST, list_offsets
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, Offset, TopicPartition
from ottla.record.batch import batches
from ottla.record.records import read_records
from ottla.wire.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic

FETCH_VERSION = 12
GROUP = "g"
LAST_LOOKS = 8
"""Reads of something old when all is over, by way of whatever index there is."""


def view_of(world: World, host: str) -> ClusterView:
    return ClusterView(
        world.network.host(host),
        world.bootstrap,
        request_timeout_ms=1_500,
        retry_timeout_ms=60_000,
    )


class RecordingConsumer(Consumer):
    """The library's consumer; what each answer says is noted when it comes."""

    def __init__(self, world: World, name: str, view: ClusterView, **options: Any) -> None:
        super().__init__(view, **options)
        self._world = world
        self._name = name

    async def _fetch(
        self, leader: BrokerId, positions: Mapping[TopicPartition, Offset]
    ) -> list[FetchedBatch]:
        world = self._world
        start = world.loop.time()
        fetched = await super()._fetch(leader, positions)
        for batch in fetched:
            records = tuple((each.offset, bytes(each.value or b"")) for each in batch.records)
            world.history.fetched.append(
                Fetched(
                    self._name,
                    batch.partition.partition,
                    records[0][0] if records else -1,
                    records,
                    batch.high_watermark,
                    batch.log_start_offset,
                    start,
                    world.loop.time(),
                )
            )
        return fetched


class LibraryReader:
    """Reads every partition from its start until `targets` says where the end is."""

    def __init__(
        self, world: World, name: str, host: str, targets: Callable[[], dict[int, int] | None]
    ) -> None:
        self._world = world
        self._name = name
        self._host = host
        self._targets = targets

    async def run(self) -> None:
        world = self._world
        partitions = [world.partition(number) for number in range(world.shape.partitions)]
        async with (
            view_of(world, self._host) as view,
            RecordingConsumer(world, self._name, view, max_wait_ms=500) as consumer,
        ):
            consumer.assign(dict.fromkeys(partitions, 0))
            while not self._done(consumer):
                start = world.loop.time()
                try:
                    await consumer.poll(1_000)
                except PeerError:
                    await asyncio.sleep(0.1)
                    continue
                except ApiError as error:
                    await self._refused(view, consumer, error, start)
                    continue

    def _done(self, consumer: Consumer) -> bool:
        targets = self._targets()
        if targets is None:
            return False
        positions = consumer.positions()
        return all(
            positions.get(self._world.partition(number), 0) >= end
            for number, end in targets.items()
        )

    async def _refused(
        self, view: ClusterView, consumer: Consumer, error: ApiError, start: float
    ) -> None:
        """Say so, and go on from the starts: everything is read again."""
        world = self._world
        positions = consumer.positions()
        if error.code is ErrorCode.OFFSET_OUT_OF_RANGE:
            listed = await _until_answered(
                lambda: list_offsets(view, dict.fromkeys(positions, EARLIEST))
            )
            ends = await _until_answered(
                lambda: list_offsets(view, dict.fromkeys(positions, LATEST))
            )
            for partition, position in positions.items():
                if not listed[partition].offset <= position <= ends[partition].offset:
                    world.history.refused.append(
                        Refused(
                            self._name,
                            partition.partition,
                            position,
                            "out of range",
                            start,
                            world.loop.time(),
                        )
                    )
            consumer.assign({partition: each.offset for partition, each in listed.items()})
        else:
            world.history.unexpected.append(f"{self._name}: {error!r}")
            await asyncio.sleep(1)


async def _until_answered(ask: Callable[[], Any]) -> Any:
    while True:
        try:
            return await ask()
        except (ApiError, PeerError):
            await asyncio.sleep(0.2)


class SessionReader:
    """Reads with an incremental fetch session, and now and then looks at something old."""

    def __init__(
        self, world: World, name: str, host: str, targets: Callable[[], dict[int, int] | None]
    ) -> None:
        self._world = world
        self._name = name
        self._host = host
        self._targets = targets
        self._chance = random.Random(f"{name} {world.seed}")
        self._positions = dict.fromkeys(range(world.shape.partitions), 0)

    async def run(self) -> None:
        while not self._done():
            try:
                wire = await Wire.connect(self._world, self._host)
                try:
                    await self._converse(wire)
                finally:
                    wire.abort()
            except PeerError:
                await asyncio.sleep(0.1)

    def _done(self) -> bool:
        targets = self._targets()
        return targets is not None and all(
            self._positions[number] >= end for number, end in targets.items()
        )

    async def _converse(self, wire: Wire) -> None:
        session, epoch = 0, 0
        changed = dict(self._positions)
        while not self._done():
            request = _fetch(changed, session, epoch, max_wait_ms=300)
            start, asked = self._world.loop.time(), dict(self._positions)
            answer = await wire.call(request, FETCH_VERSION)
            if answer.error_code:
                session, epoch, changed = 0, 0, dict(self._positions)
                await asyncio.sleep(0.05)
                continue
            session, epoch = answer.session_id, epoch + 1
            failed = False
            for topic in answer.responses:
                for row in topic.partitions:
                    failed |= not self._take(row, asked[row.partition_index], start, move=True)
            changed = {p: at for p, at in self._positions.items() if at != asked[p]}
            if failed:
                await asyncio.sleep(0.1)
                changed = dict(self._positions)
            if self._chance.random() < 0.3:
                await self._look_back(wire)
        for _ in range(LAST_LOOKS):
            await self._look_back(wire)

    async def _look_back(self, wire: Wire) -> None:
        """One fetch, without a session, of something read before."""
        number = self._chance.randrange(len(self._positions))
        asked = self._chance.randint(0, self._positions[number])
        start = self._world.loop.time()
        answer = await wire.call(_fetch({number: asked}, 0, -1, max_wait_ms=0), FETCH_VERSION)
        for topic in answer.responses:
            for row in topic.partitions:
                self._take(row, asked, start, move=False)

    def _take(self, row: Any, asked: int, start: float, *, move: bool) -> bool:
        """Note what an answer says of a partition; False where it is an error."""
        world, number = self._world, row.partition_index
        now = world.loop.time()
        if row.error_code:
            if row.error_code in (ErrorCode.OFFSET_OUT_OF_RANGE, ErrorCode.CORRUPT_MESSAGE):
                why = ErrorCode(row.error_code).name
                world.history.refused.append(Refused(self._name, number, asked, why, start, now))
                if move:
                    self._positions[number] = 0 if asked else self._start_of(number)
            return False
        records = []
        position = asked
        data = row.records or b""
        for header in batches(data):
            if header.next_offset > position:
                for record in read_records(data, header.position):
                    if record.offset >= position:
                        records.append((record.offset, bytes(record.value or b"")))
                position = header.next_offset
        if not records and asked < row.high_watermark:
            world.history.refused.append(Refused(self._name, number, asked, "nothing", start, now))
        world.history.fetched.append(
            Fetched(
                self._name,
                number,
                asked,
                tuple(records),
                row.high_watermark,
                row.log_start_offset,
                start,
                now,
            )
        )
        if move:
            self._positions[number] = position
        return True

    def _start_of(self, number: int) -> int:
        return max(
            (d.offset for d in self._world.history.deleted if d.partition == number), default=0
        )


def _fetch(
    positions: dict[int, int], session: int, epoch: int, *, max_wait_ms: int
) -> FetchRequest:
    partitions = [
        FetchPartition(partition=number, fetch_offset=offset, partition_max_bytes=1 << 20)
        for number, offset in positions.items()
    ]
    topics = [FetchTopic(topic=TOPIC, partitions=partitions)] if partitions else []
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=50 << 20,
        session_id=session,
        session_epoch=epoch,
        topics=topics,
    )


class Asker:
    """Asks where partitions begin and end, and once for records to be deleted."""

    def __init__(self, world: World, name: str, host: str, *, count: int) -> None:
        self._world = world
        self._host = host
        self._count = count
        self._chance = random.Random(f"{name} {world.seed}")
        self._deletes_at = self._chance.randrange(3 * count)

    async def run(self) -> None:
        world = self._world
        async with view_of(world, self._host) as view:
            for number in range(self._count):
                await asyncio.sleep(self._chance.uniform(0.1, 1.0))
                partition = world.partition(self._chance.randrange(world.shape.partitions))
                start = world.loop.time()
                try:
                    latest = (await list_offsets(view, {partition: LATEST}))[partition].offset
                    between = world.loop.time()
                    earliest = (await list_offsets(view, {partition: EARLIEST}))[partition].offset
                except (ApiError, PeerError):
                    continue
                history, now = world.history, world.loop.time()
                history.listed.append(Listed(partition.partition, latest, -1, start, between))
                history.listed.append(Listed(partition.partition, -1, earliest, between, now))
                if number == self._deletes_at and latest:
                    await self._delete(view, partition, self._chance.randint(1, latest))

    async def _delete(self, view: ClusterView, partition: TopicPartition, offset: int) -> None:
        start = self._world.loop.time()
        # Asked is enough: it may have happened.
        self._world.history.deleted.append(Deleted(partition.partition, offset, start, start))
        with suppress(ApiError, PeerError):
            await delete_records(view, partition, offset)


async def delete_records(view: ClusterView, partition: TopicPartition, offset: int) -> None:
    """Ask for the records below `offset` to go. Raises: ApiError, PeerError."""
    row = DeleteRecordsPartition(partition_index=partition.partition, offset=offset)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsTopic(name=partition.topic, partitions=[row])], timeout_ms=1_000
    )
    await view.send(request, (await view.leader(partition)).leader)


class _RecordingGroups(Groups):
    """Notes every commit of the member."""

    def __init__(self, view: ClusterView, world: World) -> None:
        super().__init__(view)
        self._world = world

    async def commit(self, group: str, offsets: Any, **options: Any) -> Any:
        world = self._world
        start = world.loop.time()
        outcome = Outcome.UNKNOWN
        try:
            answer = await super().commit(group, offsets, **options)
            outcome = Outcome.OK
            return answer
        finally:
            for partition, offset in offsets.items():
                world.history.committed.append(
                    Committed(group, partition.partition, offset, start, world.loop.time(), outcome)
                )


class Member:
    """The only member of a group: reads, and commits what it has read."""

    def __init__(
        self, world: World, name: str, host: str, targets: Callable[[], dict[int, int] | None]
    ) -> None:
        self._world = world
        self._name = name
        self._host = host
        self._targets = targets

    async def run(self) -> None:
        while True:
            try:
                await self._belong()
                return
            except (ApiError, PeerError):
                await asyncio.sleep(0.2)

    async def _belong(self) -> None:
        world = self._world

        async def first(partitions: Any) -> dict[TopicPartition, int]:
            return dict.fromkeys(partitions, 0)

        async with view_of(world, self._host) as view:
            member = GroupMember(
                view,
                GROUP,
                [TOPIC],
                first_offsets=first,
                session_timeout_ms=6_000,
                rebalance_timeout_ms=3_000,
                heartbeat_ms=1_000,
                commit_ms=300,
            )
            member._groups = _RecordingGroups(view, world)
            member._consumer = RecordingConsumer(world, self._name, view, reset=EARLIEST)
            async with member:
                while not self._done(member):
                    for batch in await member.poll(500):
                        member.read_up_to(batch.partition, batch.header.next_offset)

    def _done(self, member: GroupMember) -> bool:
        targets = self._targets()
        if targets is None or not member.stable:
            return False
        positions = member.positions()
        return all(
            positions.get(self._world.partition(number), -1) >= end
            for number, end in targets.items()
        )
