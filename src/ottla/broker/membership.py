"""This broker's place in a cluster: registered, alive by a lease, fenced, leaving.

A registration is a key that vanishes with the broker's lease; its create-revision is the
broker's epoch, and whatever it changes in the store compares that. In this order:

1.  Take the place: of an earlier incarnation with the same log directories at once, of
    anybody else with this id when its lease has run out.
2.  Register, fenced: nobody elects or places on it.
3.  Leave every ISR and ELR where the log may lack something that was committed, and lead
    nothing: an epoch belongs to one incarnation.
4.  Unfence.

Whose lease runs out while it lives, because it was stopped or cut off, does it all anew.
"""

import asyncio
import logging
from collections.abc import Callable, Container
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from ottla.broker.image_follower import ImageFollower
from ottla.metadata import changes
from ottla.metadata.changes import KeyValue
from ottla.metadata.election import MinIsr, came_back, forget, resigned, went_offline
from ottla.metadata.features import LISTS_OFFLINE, OTTLA_VERSION, level, refuse_unsupported
from ottla.metadata.image import BrokerImage, Image, KnownBroker, PartitionImage, TopicImage
from ottla.metadata.store import (
    Compare,
    LeaseId,
    LeaseNotFoundError,
    Revision,
    RevisionKind,
    Store,
    TransactResult,
)
from ottla.model.clock import Clock, Timer
from ottla.model.errors import PeerError, StorageError
from ottla.model.ids import NO_BROKER, PartitionId, Uuid

KEEP_ALIVES = 4
"""Keep-alives in the time a lease lasts."""

PER_TRANSACTION = 60
"""Partitions changed in one transaction: each is compared and put."""

RETRY_MS = 100
PATIENCE = 3
"""How many sessions of another broker with our id we wait for."""

log = logging.getLogger("ottla.cluster")


class Doubt(Enum):
    """What may be wrong with a log that was in sync."""

    NONE = "none"
    UNFLUSHED = "the machine lost what was not flushed"
    CUT = "recovery cut off what was committed"
    MISSING = "there is no log"


class Found(NamedTuple):
    """What became of a log."""

    doubt: Doubt
    is_offline: bool = False
    """It is in a log directory that is offline."""


class Membership:
    def __init__(
        self,
        store: Store,
        follower: ImageFollower,
        clock: Clock,
        me: KnownBroker,
        incarnation: Uuid,
        *,
        session_ms: int,
        min_isr: MinIsr,
        is_cordoned: bool = False,
        found: Callable[[TopicImage, PartitionId, bool], Found],
        lapsed: Callable[[bool], None] = lambda is_past_lease: None,
    ) -> None:
        """`clock` is the transport clock; `found` says what became of our log of a partition, which
        may, or may not, still be as the process found it. `is_cordoned`: our own settings say that
        nothing new is to be placed here.

        No other process, nor this one at another time, has the same `incarnation`.
        `lapsed` hears when the lease may have run out, and when it is sure again.
        """
        self.me = me
        self.epoch: Revision = -1
        """Of this incarnation; -1: it is not registered."""
        self.lease: LeaseId = 0
        self.lives_until_ms = 0
        """Until then nobody else can think that this broker is gone."""
        self._store = store
        self._follower = follower
        self._clock = clock
        self._session_ms = session_ms
        self._min_isr = min_isr
        self._found = found
        self._lapsed = lapsed
        self._lapse: Timer | None = None
        self._beating: asyncio.Task[None] | None = None
        self._coming_back: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        """The lease ran out, or somebody has our place: we were taken for dead."""
        self._had_place = False
        """This process was registered already: whoever is registered now is another one."""
        self._as_found = True
        """Not yet was left what was in doubt at the start; who is in a set later has caught up."""
        self._leaving = False
        self._registered = BrokerImage(
            me.broker_id,
            0,
            me.rack,
            me.endpoints,
            incarnation=incarnation,
            cordoned=is_cordoned,
        )

    @property
    def registration(self) -> Compare:
        """Holds as long as this incarnation is registered."""
        return Compare(changes.broker_name(self.me.broker_id), self.epoch, RevisionKind.CREATED)

    # Coming

    async def register(self) -> None:
        """Be registered, fenced, in no set where we may lack something, and without leadership.

        Raises:
            StorageError: another broker with this id lives, or a level is finalized that this
                build does not support, or the store failed.
            PeerError: the store could not be reached.
        """
        self.epoch = -1
        result = await self._enter(await self._follower.at(0))
        while not result.ok:
            # Somebody we had not heard of; or ourselves, and the answer was lost.
            result = await self._enter(await self._follower.at(result.revision))
        self.epoch = result.revision
        self._had_place = True
        image = await self._follower.at(result.revision)
        # A level may have been finalized while we were about to register.
        refuse_unsupported(image.features, self.me.features)
        await self._leave_sets(image)
        if self._as_found:
            await self._make_known()
            self._as_found = False
        log.info("broker %d registered, epoch %d", self.me.broker_id, self.epoch)

    async def _enter(self, image: Image) -> TransactResult:
        refuse_unsupported(image.features, self.me.features)
        await self._take_place(image)
        sent_ms = self._clock.now_ms()
        self.lease = await self._store.grant_lease(self._session_ms)
        self._live_until(sent_ms + self._session_ms)
        self._beat()
        key = changes.broker_name(self.me.broker_id)
        self._registered = self._registered._replace(
            fenced=True, leaving=False, directories=self.me.directories
        )
        return await self._store.transact(
            [Compare(key, 0)],
            [
                changes.broker_key(self._registered),
                changes.known_broker_key(self._known_until_left(image)),
            ],
            leases={key: self.lease},
        )

    def _known_until_left(self, image: Image) -> KnownBroker:
        """Who we are; of boot and log directories what was known before.

        What may be wrong with our logs follows from those, and who dies before the sets are left
        has to find it again.
        """
        before = image.known_brokers.get(self.me.broker_id)
        if before is None or not self._as_found:
            return self.me
        return self.me._replace(boot_id=before.boot_id, directories=before.directories)

    async def _make_known(self) -> None:
        known = self._follower.image.known_brokers.get(self.me.broker_id)
        if known == self.me:
            return
        result = await self._store.transact(
            [self.registration], [changes.known_broker_key(self.me)]
        )
        if not result.ok:
            raise LeaseNotFoundError(f"the registration of broker {self.me.broker_id} is gone")

    async def unfence(self) -> None:
        """Be elected and placed on from now on.

        Raises: as `register`; StorageError, the registration is gone.
        """
        await self._put(self._registered._replace(fenced=False))

    def start(self) -> None:
        """Come back, from now on, whenever the lease ran out."""
        self._coming_back = asyncio.get_running_loop().create_task(self._come_back())

    async def _take_place(self, image: Image) -> None:
        """Wait for, or end, the registration that has our place."""
        me = self.me
        patience_ms = self._clock.now_ms() + PATIENCE * self._session_ms
        said = False
        while (other := image.brokers.get(me.broker_id)) is not None:
            if self._is_earlier_life(other):
                gone = [changes.broker_name(me.broker_id)]
                if image.controller_id == me.broker_id:
                    gone.append(changes.CONTROLLER)
                same = Compare(gone[0], other.epoch, RevisionKind.CREATED)
                result = await self._store.transact([same], [], gone)
                image = await self._follower.at(result.revision)
                continue
            if self._clock.now_ms() >= patience_ms:
                where = ", ".join(f"{each.host}:{each.port}" for each in other.endpoints)
                raise StorageError(
                    f"another broker with node.id {me.broker_id} is alive ({where}); give this one "
                    "an id and log directories of its own"
                )
            if not said:
                said = True
                log.warning("waiting for another broker registered as %d to go", me.broker_id)
            await self._pause()
            image = await self._follower.newest()

    def _is_earlier_life(self, other: BrokerImage) -> bool:
        """Whether it can only be ourselves, or a process that died.

        That one had our directories, which are locked. A copy of a directory has the same id,
        and is not locked by who has the original; but two that live do not both listen where we
        do, and once we had this place, whoever has it now is alive.
        """
        if other.incarnation is not None and other.incarnation == self._registered.incarnation:
            return True
        return (
            not self._had_place
            and other.endpoints == self.me.endpoints
            and not set(other.directories).isdisjoint(self.me.directories)
        )

    def follow(self, image: Image) -> None:
        """See whether we are still who is registered."""
        if image.revision < self.epoch or self.epoch < 0:
            return  # The image of before, or we know already.
        mine = image.brokers.get(self.me.broker_id)
        if mine is None or mine.epoch != self.epoch:
            self._taken_for_dead("the registration is gone")

    def _taken_for_dead(self, why: object) -> None:
        log.warning("broker %d was taken for dead: %s", self.me.broker_id, why)
        self.epoch = -1
        self._lapsed(True)
        self._still()
        self._lost.set()

    async def _leave_sets(self, image: Image) -> None:
        """Resign, and leave the sets where our log may lack something; until it is so."""
        while True:
            puts, compare = [], []
            for topic, number, state in self._ours(image):
                after = self._after_registration(topic, number, state)
                if after != state:
                    key, value = changes.partition_key(topic.topic_id, number, after)
                    puts.append((key, value))
                    compare.append(Compare(key, state.revision))
            if not puts:
                return
            image = await self._write(puts, compare)

    async def leave_lost(self, is_lost: Callable[[TopicImage, PartitionId], bool]) -> None:
        """Lead nothing, and be in no ISR, where a log directory went offline while we live.

        To be called again until there is nothing left to do: what comes between is left for then.
        """

        def left(topic: TopicImage, number: PartitionId, state: PartitionImage) -> PartitionImage:
            return self._went_offline(topic, state) if is_lost(topic, number) else state

        await self._leave_where(left, "what is lost here")

    async def leave_crowded(self, crowded: Container[tuple[Uuid, PartitionId]]) -> None:
        """Have others lead and commit without us what there is no room for here.

        Not where too few would be left to commit anything.
        """
        me = self.me.broker_id

        def left(topic: TopicImage, number: PartitionId, state: PartitionImage) -> PartitionImage:
            others = len(state.isr) - (me in state.isr)
            enough = max(1, min(self._min_isr(topic), len(state.replicas)))
            if (topic.topic_id, number) not in crowded or others < enough:
                return state
            return forget(state, me, self._min_isr(topic))

        await self._leave_where(left, "what there is no room for here")

    async def _leave_where(
        self, left: Callable[[TopicImage, PartitionId, PartitionImage], PartitionImage], what: str
    ) -> None:
        puts, compare = [], []
        for topic, number, state in self._ours(self._follower.image):
            after = left(topic, number, state)
            if after != state:
                key, value = changes.partition_key(topic.topic_id, number, after)
                puts.append((key, value))
                compare.append(Compare(key, state.revision))
        if puts and self.epoch >= 0:
            try:
                await self._write(puts, compare)
            except (PeerError, StorageError) as error:
                log.warning("others do not lead yet %s: %s", what, error)

    def _ours(self, image: Image) -> list[tuple[TopicImage, PartitionId, PartitionImage]]:
        me = self.me.broker_id
        return [
            (topic, number, state)
            for topic in image.topics.values()
            for number, state in enumerate(topic.partitions)
            if me in (*state.replicas, state.leader, state.last_known_leader)
        ]

    def _after_registration(
        self, topic: TopicImage, number: PartitionId, state: PartitionImage
    ) -> PartitionImage:
        me = self.me.broker_id
        after = state
        found = self._found(topic, number, self._as_found)
        counts = me in (*state.isr, *state.elr, state.leader, state.last_known_leader)
        if counts and found.doubt is not Doubt.NONE:
            missing = found.doubt is Doubt.MISSING
            after = forget(state, me, self._min_isr(topic), missing=missing)
            if after.last_known_leader == me != state.last_known_leader:
                log.warning(
                    "%s-%d has no other replica in sync: %s", topic.name, number, found.doubt.value
                )
        if found.is_offline:
            return resigned(self._went_offline(topic, after), me)
        return resigned(came_back(after, me), me)

    def _went_offline(self, topic: TopicImage, state: PartitionImage) -> PartitionImage:
        me = self.me.broker_id
        if level(self._follower.image.features, OTTLA_VERSION) >= LISTS_OFFLINE:
            return went_offline(state, me, self._min_isr(topic))
        # A controller that does not know who is offline would elect us as soon as we are eligible.
        # Where nobody else has it, all there is may be back once the directory is mended.
        others = {*state.isr, *state.elr} - {me}
        return forget(state, me, self._min_isr(topic)) if others else state

    async def _write(self, puts: list[KeyValue], compare: list[Compare]) -> Image:
        """Write in several transactions; those in the way of which somebody came are left out."""
        revision = 0
        for start in range(0, len(puts), PER_TRANSACTION):
            end = start + PER_TRANSACTION
            result = await self._store.transact(
                [self.registration, *compare[start:end]], puts[start:end]
            )
            revision = result.revision
            if not result.ok:
                break
        image = await self._follower.at(revision)
        mine = image.brokers.get(self.me.broker_id)
        if mine is None or mine.epoch != self.epoch:
            raise LeaseNotFoundError(f"the registration of broker {self.me.broker_id} is gone")
        return image

    async def _put(self, registered: BrokerImage) -> None:
        """Change our own registration."""
        name, value = changes.broker_key(registered)
        result = await self._store.transact(
            [self.registration], [(name, value)], leases={name: self.lease}
        )
        if not result.ok:
            raise LeaseNotFoundError(f"the registration of broker {self.me.broker_id} is gone")
        self._registered = registered
        await self._follower.at(result.revision)

    # Living

    def _live_until(self, until_ms: int) -> None:
        self.lives_until_ms = until_ms
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = self._clock.call_at(until_ms, lambda: self._lapsed(True))
        self._lapsed(False)

    def _beat(self) -> None:
        """Keep the lease alive, the registration that needs it is still on its way."""
        if self._beating is not None:
            self._beating.cancel()
        self._lost.clear()
        self._beating = asyncio.get_running_loop().create_task(self._keep_alive(self.lease))

    def _still(self) -> None:
        """Keep the lease alive no more; nor does its time say anything."""
        if self._lapse is not None:
            self._lapse.cancel()
        if self._beating is not None and self._beating is not asyncio.current_task():
            self._beating.cancel()

    async def _keep_alive(self, lease: LeaseId) -> None:
        while True:
            await self._pause(self._session_ms // KEEP_ALIVES)
            sent_ms = self._clock.now_ms()
            try:
                await self._store.keep_alive(lease)
                self._live_until(sent_ms + self._session_ms)
            except LeaseNotFoundError as error:
                self._taken_for_dead(error)
                return
            except (PeerError, StorageError) as error:
                log.warning("the metadata store does not answer: %s", error)

    async def _come_back(self) -> None:
        while True:
            await self._lost.wait()
            try:
                await self.register()
                if not self._leaving:
                    await self.unfence()
            except (PeerError, StorageError) as error:
                log.warning("broker %d cannot register: %s", self.me.broker_id, error)
                self._lost.set()
                await self._pause()

    async def _pause(self, time_ms: int = RETRY_MS) -> None:
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.now_ms() + time_ms, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    # Going

    async def leave(self, patience_ms: int) -> None:
        """Have others lead what this broker leads, as far as they can; serve until then."""
        self._leaving = True
        try:
            await self._put(self._registered._replace(leaving=True))
        except (PeerError, StorageError) as error:
            log.warning("leaving without a word: %s", error)
            return
        until_ms = self._clock.now_ms() + patience_ms
        while self._clock.now_ms() < until_ms:
            image = self._follower.image
            led = sum(
                state.leader == self.me.broker_id
                for topic in image.topics.values()
                for state in topic.partitions
            )
            if not led or image.controller_id == NO_BROKER:
                return
            await self._pause()
        log.warning("%d partitions are still led by broker %d", led, self.me.broker_id)

    async def end(self) -> None:
        """Be gone: others need not wait for the lease to run out."""
        if self._lapse is not None:
            self._lapse.cancel()
        for task in (self._coming_back, self._beating):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self.lease:
            with suppress(PeerError, StorageError):
                await self._store.revoke_lease(self.lease)
