"""Followers at work: one link, and one Fetch in flight, for each leader that is followed.

A partition moves from one fetcher to another when its leader changes; a fetcher ends with its
last partition. A link that fails is connected anew after `replica.fetch.backoff.ms`, and its
session begins anew with it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from ottla.model.clock import Clock, Timer
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import NO_BROKER, BrokerId, Offset
from ottla.model.isolation import ListOffsetsTimestamp
from ottla.net.peer import Connector, Link, connect
from ottla.replica.fetch_plan import FetchPlan, FetchSettings, Followed, Throttle
from ottla.replica.partition import Partition
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)

log = logging.getLogger("ottla.replica")

IN_ONE_TURN = 1024 * 1024
"""Bytes appended before others have their turn."""


class Settings(FetchSettings, Protocol):
    replica_socket_timeout_ms: int
    socket_connection_setup_timeout_ms: int


Address = tuple[str, int]


class Fetchers:
    """One for each leader that this broker follows."""

    def __init__(
        self,
        broker_id: BrokerId,
        network: Connector,
        *,
        clock: Clock,
        domain_clock: Clock,
        settings: Callable[[], Settings],
        broker_epoch: Callable[[], int],
        address_of: Callable[[BrokerId], Address | None],
        failed: Callable[[Partition, BaseException], None],
        crashed: Callable[[BaseException], None],
        throttle: Throttle | None = None,
    ) -> None:
        """`clock` is the transport clock; `broker_epoch` is that of this broker's registration.

        `address_of` says where a leader is reached, or None while nobody knows; `failed` hears
        of a partition whose log directory is offline now, `crashed` of an error that should not
        be: then nothing is fetched from that leader any more.
        """
        self.broker_id = broker_id
        self.network = network
        self.clock = clock
        self.domain_clock = domain_clock
        self.settings = settings
        self.broker_epoch = broker_epoch
        self.address_of = address_of
        self.failed = failed
        self.crashed = crashed
        self.throttle = throttle
        self._fetchers: dict[BrokerId, Fetcher] = {}
        self._at: dict[Partition, Fetcher] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._fetchers)

    def follow(self, partition: Partition) -> None:
        """The partition's role may have changed: fetch it from its leader, or no more."""
        leader = partition.leader
        wanted = leader not in (NO_BROKER, self.broker_id) and not partition.is_leader
        at = self._at.get(partition)
        if at is not None and not (wanted and at.leader == leader):
            del self._at[partition]
            at.remove(partition)
            # It may have ended before this: what fails on disk leaves its plan by itself.
            if not at.plan.followed and self._fetchers.get(at.leader) is at:
                del self._fetchers[at.leader]
                self._end(at)
        if wanted and not self._closed:
            fetcher = self._fetchers.get(leader)
            if fetcher is None:
                fetcher = self._fetchers[leader] = Fetcher(leader, self)
            self._at[partition] = fetcher
            fetcher.add(partition)

    def _end(self, fetcher: "Fetcher") -> None:
        task = asyncio.get_running_loop().create_task(fetcher.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Fetch nothing any more."""
        self._closed = True
        fetchers = list(self._fetchers.values())
        self._fetchers.clear()
        self._at.clear()
        for fetcher in fetchers:
            await fetcher.close()
        for task in list(self._ending):
            await task


class Fetcher:
    """Fetches from one leader."""

    def __init__(self, leader: BrokerId, fetchers: Fetchers) -> None:
        self.leader = leader
        self._fetchers = fetchers
        self._clock = fetchers.clock
        self._link: Link | None = None
        self._rests: dict[Followed, Timer] = {}
        self._awake = asyncio.Event()
        self._is_down = False
        self.plan = FetchPlan(
            fetchers.broker_id,
            now_ms=fetchers.domain_clock.now_ms,
            rest=self._let_rest,
            failed=fetchers.failed,
            throttle=fetchers.throttle,
        )
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    def add(self, partition: Partition) -> None:
        self.plan.add(partition)
        self._awake.set()

    def remove(self, partition: Partition) -> None:
        followed = self.plan.followed.get((partition.topic_id, partition.partition))
        if followed is not None and followed.partition is partition:
            self.plan.remove(followed.key)
            timer = self._rests.pop(followed, None)
            if timer is not None:
                timer.cancel()

    def _let_rest(self, followed: Followed, delay_ms: int) -> None:
        def over() -> None:
            self._rests.pop(followed, None)
            self.plan.rested(followed)
            self._awake.set()

        old = self._rests.get(followed)
        if old is not None:
            old.cancel()
        self._rests[followed] = self._clock.call_at(self._clock.now_ms() + delay_ms, over)

    async def close(self) -> None:
        for timer in self._rests.values():
            timer.cancel()
        self._rests.clear()
        if not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._drop_link()

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("nothing is copied from broker %d any more", self.leader, exc_info=error)
            self._fetchers.crashed(error)

    # The loop

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            if self.plan.is_idle:
                self.plan.begin_anew()
                await self._awake.wait()
                continue
            try:
                await self._fetch(await self._connected())
            except (PeerError, ApiError) as error:
                self._say_down(error)
                self._drop_link()
                self.plan.begin_anew()
                await self._pause(self._fetchers.settings().replica_fetch_backoff_ms)

    def _say_down(self, error: Exception) -> None:
        level = logging.DEBUG if self._is_down else logging.WARNING
        self._is_down = True
        log.log(level, "nothing can be copied from broker %d: %s", self.leader, error)

    async def _connected(self) -> Link:
        """Return the link; connect if there is none.

        Raises:
            PeerError: nobody knows where the leader is, or nobody answers there.
        """
        if self._link is not None and not self._link.closed:
            return self._link
        self.plan.begin_anew()
        address = self._fetchers.address_of(self.leader)
        if address is None:
            raise PeerError(f"broker {self.leader} is not registered")
        host, port = address
        settings = self._fetchers.settings()
        self._link = await connect(
            self._fetchers.network,
            host,
            port,
            client_id=f"broker-{self._fetchers.broker_id}-fetcher",
            timeout_ms=min(
                settings.replica_socket_timeout_ms, settings.socket_connection_setup_timeout_ms
            ),
        )
        return self._link

    async def _fetch(self, link: Link) -> None:
        """One request and its answer."""
        plan, settings = self.plan, self._fetchers.settings()
        plan.ask_as(self._fetchers.broker_epoch())
        await self._flush()
        if plan.is_idle:
            return
        request = plan.request(settings)
        response = await link.request(request, timeout_ms=settings.replica_socket_timeout_ms)
        if self._is_down:
            self._is_down = False
            log.info("copying from broker %d", self.leader)
        taken = 0
        for size in plan.take(response, settings.replica_fetch_backoff_ms):
            taken += size
            if taken >= IN_ONE_TURN:
                taken = 0
                await asyncio.sleep(0)
        if plan.lost:
            await self._find(link, list(plan.lost))

    async def _flush(self) -> None:
        """Wait until what will be said to be here is on disk, where that is meant."""
        while unflushed := self.plan.unflushed():
            waits = [self._flushed(followed.partition) for followed in unflushed]
            for wait in waits:
                await wait
            for followed in unflushed:
                if followed in self.plan.changed and followed.partition.leader == self.leader:
                    self.plan.learn(followed, followed.partition.leader_high_watermark)

    def _flushed(self, partition: Partition) -> "asyncio.Future[None]":
        """Done once the disk has it, or nobody wants it any more."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell(error: ApiError | None) -> None:
            if not done.done():
                done.set_result(None)

        partition.when_flushed(partition.log.log_end_offset, tell)
        return done

    async def _pause(self, delay_ms: int) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(self._clock.now_ms() + delay_ms, partial(_set, over))
        try:
            await over
        finally:
            timer.cancel()

    # Where the leader's log is

    async def _find(self, link: Link, lost: list[Followed]) -> None:
        """Ask for the ends of the leader's logs, and go there."""
        epochs = {followed: followed.partition.leader_epoch for followed in lost}
        starts = await self._offsets(link, epochs, ListOffsetsTimestamp.EARLIEST)
        ends = await self._offsets(link, epochs, ListOffsetsTimestamp.LATEST)
        backoff_ms = self._fetchers.settings().replica_fetch_backoff_ms
        for followed, epoch in epochs.items():
            if followed not in self.plan.lost:
                continue
            if followed in starts and followed in ends:
                self.plan.place(followed, epoch, starts[followed], ends[followed], backoff_ms)
            else:
                self.plan.let_rest(followed, backoff_ms)

    async def _offsets(
        self, link: Link, epochs: dict[Followed, int], timestamp: ListOffsetsTimestamp
    ) -> dict[Followed, Offset]:
        """What the leader says, of those of which it says it."""
        topics: dict[str, ListOffsetsTopic] = {}
        asked: dict[tuple[str, int], Followed] = {}
        for followed, epoch in epochs.items():
            partition = followed.partition
            topic = topics.setdefault(partition.topic, ListOffsetsTopic(name=partition.topic))
            topic.partitions.append(
                ListOffsetsPartition(
                    partition_index=partition.partition,
                    current_leader_epoch=epoch,
                    timestamp=int(timestamp),
                )
            )
            asked[partition.topic, partition.partition] = followed
        request = ListOffsetsRequest(
            replica_id=self._fetchers.broker_id, topics=list(topics.values())
        )
        timeout_ms = self._fetchers.settings().replica_socket_timeout_ms
        response: ListOffsetsResponse = await link.request(request, timeout_ms=timeout_ms)
        return {
            asked[topic.name, row.partition_index]: row.offset
            for topic in response.topics
            for row in topic.partitions
            if row.error_code == ErrorCode.NONE and (topic.name, row.partition_index) in asked
        }


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
