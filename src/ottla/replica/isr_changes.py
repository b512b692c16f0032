"""Changing ISRs in the metadata store: each by its leader, by compare-and-set.

A change holds only if the partition's key is what the leader last knew, if this broker's own
registration is still there, and if that of each member it adds is the one seen when it was
judged, of the incarnation that fetched (KIP-903). So neither a deposed leader changes anything,
nor does anybody join who has begun anew, and empty perhaps, since its last fetch.

From before a change is sent until its outcome is known, the leader counts old and proposed
members together. An outcome is unknown when the store did not answer: the same change is asked
for again until the store does. If it holds then, the first one had not been made and cannot be
any more; if not, the image says what was.

Changes go out together, as many as a transaction may have. Where one of them does not hold, none
was made, and each is tried alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from ottla.metadata import changes
from ottla.metadata.election import change_isr
from ottla.metadata.image import Image, PartitionImage
from ottla.metadata.store import Compare, Revision, RevisionKind, Store
from ottla.model.clock import Clock, Timer
from ottla.model.errors import PeerError, StorageError
from ottla.model.ids import BrokerId
from ottla.replica.isr import joiners, laggards
from ottla.replica.leadership import FollowerState, Leadership
from ottla.replica.partition import Partition

log = logging.getLogger("ottla.replica")

TOGETHER = 50
"""Partitions changed in one transaction; etcd takes 128 comparisons."""

RETRY_MS = 500
"""After no answer, or where a registration was not what the image says."""

CHECKS_PER_LAG = 4
"""How often laggards are looked for within `replica.lag.time.max.ms`."""

LOOKED_AT_PER_TURN = 200


class _Change(NamedTuple):
    partition: Partition
    leadership: Leadership
    before: PartitionImage
    after: PartitionImage
    joined: tuple[FollowerState, ...]

    @property
    def is_ours(self) -> bool:
        """Whether this broker still leads in the epoch it was proposed in."""
        return self.partition.leadership is self.leadership


class IsrChanges:
    """Looks for members that lag and followers that may join, and writes what follows."""

    def __init__(
        self,
        broker_id: BrokerId,
        store: Store,
        clock: Clock,
        *,
        own_epoch: Callable[[], Revision],
        image: Callable[[], Image],
        reached: Callable[[Revision], Awaitable[None]],
        lag_max_ms: Callable[[], int],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`clock` is the transport clock.

        `own_epoch` is the create-revision of this process's own registration; `reached` returns
        once all replicas here follow the image of a revision; `failed` hears of an error that
        should not be.
        """
        self._broker_id = broker_id
        self._store = store
        self._clock = clock
        self._own_epoch = own_epoch
        self._image = image
        self._reached = reached
        self._lag_max_ms = lag_max_ms
        self._failed = failed
        self._asked: dict[Partition, bool] = {}
        """What to look at, and whether it is to be written alone."""
        self._waiting: dict[Partition, Timer] = {}
        self._worker: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, replicas: Iterable[Partition]) -> None:
        """Look for laggards among `replicas` from now on; it is read anew each time."""
        self._checker = asyncio.get_running_loop().create_task(self._check_for_ever(replicas))
        self._checker.add_done_callback(self._ended)

    async def close(self) -> None:
        """Change nothing any more; what is in flight may be made or not."""
        self._closed = True
        for timer in self._waiting.values():
            timer.cancel()
        for task in (self._worker, self._checker):
            if task is not None and not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def look(self, partition: Partition) -> None:
        """A follower may join: see whether it may, soon."""
        if self._closed or partition in self._waiting:
            return
        self._asked.setdefault(partition, False)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())
            self._worker.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("ISRs are not changed any more", exc_info=error)
            self._failed(error)

    # Laggards

    async def _check_for_ever(self, replicas: Iterable[Partition]) -> None:
        while True:
            await self._sleep(max(1, self._lag_max_ms() // CHECKS_PER_LAG))
            for number, partition in enumerate(list(replicas)):
                leadership = partition.leadership
                if leadership is not None and self._laggards(partition, leadership):
                    self.look(partition)
                if number % LOOKED_AT_PER_TURN == LOOKED_AT_PER_TURN - 1:
                    await asyncio.sleep(0)

    def _laggards(self, partition: Partition, leadership: Leadership) -> set[BrokerId]:
        return laggards(
            leadership,
            leader_end=partition.log.log_end_offset,
            now_ms=self._clock.now_ms(),
            lag_max_ms=self._lag_max_ms(),
        )

    async def _sleep(self, delay_ms: int) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self._clock.call_at(self._clock.now_ms() + delay_ms, wake)
        try:
            await woken
        finally:
            timer.cancel()

    # Proposing

    async def _work(self) -> None:
        while self._asked:
            proposed = self._propose()
            if proposed:
                await self._write(proposed)

    def _propose(self) -> list[_Change]:
        """Take what is asked for; from here on the proposed members count."""
        proposed: list[_Change] = []
        while self._asked and len(proposed) < TOGETHER:
            partition = next(iter(self._asked))
            alone = self._asked[partition]
            if alone and proposed:
                break
            del self._asked[partition]
            change = self._change(partition)
            if change is not None:
                partition.propose_isr(change.after.isr)
                proposed.append(change)
                if alone:
                    break
        return proposed

    def _change(self, partition: Partition) -> _Change | None:
        leadership = partition.leadership
        if leadership is None:
            return None
        before = leadership.state
        out = self._laggards(partition, leadership)
        caught_up = joiners(
            leadership,
            high_watermark=partition.high_watermark,
            epoch_start=partition.epoch_start,
        )
        joined = [
            follower
            for follower in caught_up
            if self._is_usable(follower) and follower.broker_id not in before.offline_replicas
        ]
        members = {*before.isr, *(follower.broker_id for follower in joined)} - out
        if members == set(before.isr) and not leadership.has_spare_elr:
            return None
        after = change_isr(before, members, leadership.min_isr)
        return _Change(partition, leadership, before, after, tuple(joined))

    def _is_usable(self, follower: FollowerState) -> bool:
        broker = self._image().brokers.get(follower.broker_id)
        return broker is not None and broker.is_usable and broker.epoch == follower.broker_epoch

    # Writing

    async def _write(self, proposed: list[_Change]) -> None:
        """Write these changes, and settle every one of them."""
        while proposed := [change for change in proposed if change.is_ours]:
            try:
                result = await self._store.transact(
                    self._compares(proposed),
                    [
                        changes.partition_key(
                            change.partition.topic_id, change.partition.partition, change.after
                        )
                        for change in proposed
                    ],
                )
                if not result.ok:
                    await self._reached(result.revision)
            except (PeerError, StorageError) as error:
                log.warning("the ISRs of %d partitions may have changed: %s", len(proposed), error)
                await self._sleep(RETRY_MS)
                continue
            for change in proposed:
                if change.is_ours:
                    self._settle(change, result.revision if result.ok else None, len(proposed) > 1)
            return

    def _compares(self, proposed: list[_Change]) -> list[Compare]:
        me = Compare(changes.broker_name(self._broker_id), self._own_epoch(), RevisionKind.CREATED)
        compares = {me.key: me}
        for change in proposed:
            partition = change.partition
            key = changes.partition_name(partition.topic_id, partition.partition)
            compares[key] = Compare(key, change.before.revision)
            for follower in change.joined:
                key = changes.broker_name(follower.broker_id)
                compares[key] = Compare(key, follower.broker_epoch, RevisionKind.CREATED)
        return list(compares.values())

    def _settle(self, change: _Change, revision: Revision | None, together: bool) -> None:
        partition, leadership = change.partition, change.leadership
        if revision is not None:
            log.info(
                "%s: in sync are %s now, and were %s",
                partition.name,
                change.after.isr,
                change.before.isr,
            )
            partition.settle_isr(change.after._replace(revision=revision), self._clock.now_ms())
            self._asked.setdefault(partition, False)
            return
        partition.settle_isr(None)
        if together or leadership.state.revision != change.before.revision:
            self._asked[partition] = together
        else:
            # It was a registration that is not as the image says: nothing is to be gained soon.
            self._wait(partition)

    def _wait(self, partition: Partition) -> None:
        def over() -> None:
            del self._waiting[partition]
            self.look(partition)

        if partition in self._waiting:
            return
        self._waiting[partition] = self._clock.call_at(self._clock.now_ms() + RETRY_MS, over)
