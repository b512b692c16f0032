"""What the controller does without being asked: elections, finished reassignments, sweeping.

After every change of brokers or topics it looks at all partitions, and settles those that are
not as they should be, a few dozen in a transaction. What it looked at may have changed when it
decides: then it decides on what is there.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from ottla.broker.control import Control
from ottla.handlers.slices import in_slices
from ottla.metadata import changes
from ottla.metadata.changes import Delta
from ottla.metadata.controller import Writes
from ottla.metadata.election import MinIsr, settle
from ottla.metadata.image import Image, PartitionImage, TopicImage
from ottla.metadata.reassignment import is_imbalanced, usable_brokers
from ottla.model.clock import Clock
from ottla.model.errors import ApiError
from ottla.model.ids import NO_BROKER, BrokerId, PartitionId, Uuid
from ottla.model.steps import Steps

PER_CHANGE = 50
"""Partitions settled in one transaction, where etcd allows 128 operations."""

LOOK_AT = 200
"""Partitions looked at in one step."""

Place = tuple[Uuid, PartitionId]

log = logging.getLogger("ottla.cluster")


class Duties:
    """Follows images while this broker is the controller."""

    def __init__(
        self,
        control: Control,
        clock: Clock,
        image: Callable[[], Image],
        min_isr: MinIsr,
        unclean: Callable[[TopicImage], bool],
    ) -> None:
        """`image` returns the newest; `unclean` says whether a topic allows unclean elections."""
        self._control = control
        self._clock = clock
        self._image = image
        self._min_isr = min_isr
        self._unclean = unclean
        self._task: asyncio.Task[None] | None = None
        self._balancing: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._controlled = 0
        """The revision of the controller's key when this broker last was it."""
        self._unfinished: frozenset[Uuid] = frozenset()
        """Topics that the controller before us began to create."""

    def follow(self, image: Image, delta: Delta) -> None:
        if not self._control.is_controller:
            self._controlled = 0
            return
        began = self._controlled != image.controller_revision
        self._controlled = image.controller_revision
        if began:
            self._unfinished = frozenset(image.unlisted)
        if began or delta.brokers or delta.topics or delta.resources:
            self._woken.set()
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._work())

    def balance_leaders(self) -> None:
        """Have the preferred replicas lead again that are in sync by now."""
        if self._control.is_controller and (self._balancing is None or self._balancing.done()):
            self._balancing = asyncio.get_running_loop().create_task(self._balance())

    async def close(self) -> None:
        for task in (self._task, self._balancing):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _balance(self) -> None:
        places = await in_slices(self._clock, self._imbalanced(self._image()))
        for start in range(0, len(places), PER_CHANGE):
            try:
                await self._control.change(
                    partial(self._prefer, places[start : start + PER_CHANGE])
                )
            except ApiError as error:
                log.warning("preferred replicas do not lead yet: %s", error)
                return

    def _imbalanced(self, image: Image) -> Steps[list[Place]]:
        usable = usable_brokers(image)
        found: list[Place] = []
        seen = 0
        for topic in list(image.topics.values()):
            for number, state in enumerate(topic.partitions):
                if is_imbalanced(state, usable):
                    found.append((topic.topic_id, number))
                seen += 1
                if seen % LOOK_AT == 0:
                    yield
        return found

    def _prefer(self, places: Sequence[Place], image: Image) -> tuple[Writes, int]:
        usable = usable_brokers(image)
        puts = []
        for topic_id, number in places:
            topic = image.topic_by_id(topic_id)
            if topic is None or number >= len(topic.partitions):
                continue
            state = topic.partitions[number]
            if is_imbalanced(state, usable):
                after = settle(state, usable, self._min_isr(topic), preferred=True)
                puts.append(changes.partition_key(topic_id, number, after))
        return Writes(tuple(puts)), len(puts)

    async def _work(self) -> None:
        while self._woken.is_set():
            self._woken.clear()
            image = self._image()
            places = await in_slices(self._clock, self._unsettled(image))
            for start in range(0, len(places), PER_CHANGE):
                await self._change(partial(self._settle, places[start : start + PER_CHANGE]))
            orphans = _orphans(self._image(), self._unfinished)
            self._unfinished = frozenset()
            for start in range(0, len(orphans), PER_CHANGE):
                await self._change(partial(_sweep, orphans[start : start + PER_CHANGE]))

    async def _change(self, decide: Callable[[Image], tuple[Writes, int]]) -> None:
        try:
            await self._control.change(decide)
        except ApiError as error:
            log.warning("partitions are not settled yet: %s", error)
            if self._control.is_controller:
                self._clock.call_at(self._clock.now_ms() + 100, self._again)

    def _again(self) -> None:
        self._woken.set()
        if self._control.is_controller and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._work())

    def _unsettled(self, image: Image) -> Steps[list[Place]]:
        usable = usable_brokers(image)
        found: list[Place] = []
        seen = 0
        for topic in list(image.topics.values()):
            for number, state in enumerate(topic.partitions):
                if self._settled(topic, state, usable) is not state:
                    found.append((topic.topic_id, number))
                seen += 1
                if seen % LOOK_AT == 0:
                    yield
        return found

    def _settled(
        self, topic: TopicImage, state: PartitionImage, usable: frozenset[BrokerId]
    ) -> PartitionImage:
        if (
            state.leader in usable
            and usable.issuperset(state.isr)
            and not state.adding
            and not state.removing
        ):
            return state  # nearly all are so, nearly always
        unclean = self._unclean(topic)
        return settle(state, usable, self._min_isr(topic), unclean=unclean)

    def _settle(self, places: Sequence[Place], image: Image) -> tuple[Writes, int]:
        usable = usable_brokers(image)
        puts = []
        for topic_id, number in places:
            topic = image.topic_by_id(topic_id)
            if topic is None or number >= len(topic.partitions):
                continue
            state = topic.partitions[number]
            after = self._settled(topic, state, usable)
            if after is not state:
                puts.append(changes.partition_key(topic_id, number, after))
                _say(topic, number, state, after)
        return Writes(tuple(puts)), len(puts)


def _say(
    topic: TopicImage, number: PartitionId, before: PartitionImage, after: PartitionImage
) -> None:
    """An election that may have lost something is worth a line; any other is for who looks closer."""
    leader = after.leader
    if leader not in (NO_BROKER, *before.isr, *before.elr):
        log.warning(
            "%s-%d: broker %d is elected, epoch %d, though it may lack committed records",
            topic.name,
            number,
            leader,
            after.leader_epoch,
        )
    elif leader in before.doubtful:
        log.warning(
            "%s-%d: broker %d is elected, epoch %d: its log directory failed before, and nobody "
            "else that is here has all of it for sure",
            topic.name,
            number,
            leader,
            after.leader_epoch,
        )
    elif leader != before.leader:
        log.debug("%s-%d: leader %d, epoch %d", topic.name, number, leader, after.leader_epoch)


def _orphans(image: Image, unfinished: frozenset[Uuid]) -> list[str]:
    """Partitions of deleted topics, and of those that nobody creates any more."""
    return [
        changes.partition_name(topic_id, number)
        for topic_id, states in image.unlisted.items()
        if topic_id in image.deleting or topic_id in unfinished
        for number in states
    ]


def _sweep(keys: Sequence[str], image: Image) -> tuple[Writes, int]:
    return Writes(deletes=tuple(keys)), len(keys)
