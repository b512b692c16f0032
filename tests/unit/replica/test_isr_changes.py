"""ISR changes in the store: when they hold, when they do not, and what counts meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.unit.broker.parts import Metadata
from tests.unit.replica.parts import TOPIC_ID, among, append, make_partition

from ottla.metadata import changes
from ottla.metadata.changes import Delta
from ottla.metadata.image import BrokerImage, Image
from ottla.replica.isr_changes import RETRY_MS, IsrChanges
from ottla.replica.partition import Partition
from ottla.testing.clock import ManualClock

US = 1
LAG_MS = 1_000
KEY = changes.partition_name(TOPIC_ID, 0)


class World(Metadata):
    """A leader of three replicas, over a store that can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.partition = make_partition(leads=False)
        self.epochs: dict[int, int] = {}
        self.errors: list[BaseException] = []
        self.changes: IsrChanges

    async def begin_with(self, isr: tuple[int, ...], min_isr: int) -> None:
        await super().begin()
        for broker in (1, 2, 3):
            await self.register(broker)
        state = among(0, isr=isr)
        await self.store.transact(
            [], [changes.partition_key(TOPIC_ID, 0, state), changes.topic_key(TOPIC_ID, "t", 1)]
        )
        self.changes = IsrChanges(
            US,
            self.store,
            self.clock,
            own_epoch=lambda: self.epochs[US],
            image=lambda: self.follower.image,
            reached=self.follower.reached,
            lag_max_ms=lambda: LAG_MS,
            failed=self.errors.append,
        )
        self.partition.min_isr = min_isr
        self.partition.may_join = self.changes.look
        self.follower.add(self._follow)
        # Seen by the part that was just added: the next change of any key.
        result = await self.store.transact([], [changes.producer_ids_key(1)])
        await self.follower.reached(result.revision)
        self._follow(self.follower.image, Delta(frozenset("t"), frozenset(), frozenset(), False))
        self.changes.start([self.partition])
        append(self.partition, 3)
        self.store.transactions = 0

    def _follow(self, image: Image, delta: Delta) -> None:
        if "t" not in delta.topics:
            return
        state = image.topics["t"].partitions[0]
        if state.leader == US:
            self.partition.become_leader(state, self.clock.now_ms())
        else:
            self.partition.become_follower(state)

    async def register(self, broker: int, *, fenced: bool = False, anew: bool = True) -> None:
        name, value = changes.broker_key(BrokerImage(broker, 0, None, (), fenced))
        if anew:
            await self.store.transact([], [], [name])
        result = await self.store.transact([], [(name, value)])
        await self.follower.reached(result.revision)
        self.epochs[broker] = self.follower.image.brokers[broker].epoch

    async def change(self, **fields: Any) -> None:
        """As the controller changes it."""
        state = self.stored
        after = state._replace(partition_epoch=state.partition_epoch + 1, **fields)
        await self.store.transact([], [changes.partition_key(TOPIC_ID, 0, after)])

    @property
    def stored(self) -> Any:
        value = self.store.database.items[KEY]
        revision = self.store.database.versions[KEY].mod_revision
        return changes._partition_state(value, revision)

    def fetched(self, broker: int, end: int = 3, *, epoch: int | None = None) -> None:
        incarnation = self.epochs[broker] if epoch is None else epoch
        self.partition.follower_fetched(broker, end, 0, incarnation, self.clock.now_ms())

    async def rest(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def pass_time(self, by_ms: int) -> None:
        await self.rest()
        for _ in range(by_ms // 50):
            self.clock.advance(50)
            await self.rest()


Scenario = Callable[[World], Coroutine[Any, Any, None]]


def run(scenario: Scenario, isr: tuple[int, ...] = (1, 2, 3), min_isr: int = 1) -> None:
    async def whole() -> None:
        world = World()
        await world.begin_with(isr, min_isr)
        try:
            await scenario(world)
            assert world.errors == []
        finally:
            await world.changes.close()
            await world.end()

    asyncio.run(whole())


def isr_of(partition: Partition) -> tuple[int, ...]:
    assert partition.leadership is not None
    return partition.leadership.state.isr


def test_who_has_caught_up_joins() -> None:
    async def scenario(world: World) -> None:
        world.fetched(2)
        await world.rest()
        assert world.stored.isr == isr_of(world.partition) == (1, 2)
        assert world.stored.partition_epoch == 1
        assert world.partition.leadership is not None
        assert world.partition.leadership.state.revision == world.stored.revision
        assert world.partition.leadership.proposed is None

    run(scenario, (1,))


def test_who_lags_leaves_and_the_others_commit() -> None:
    async def scenario(world: World) -> None:
        for _ in range(30):
            world.fetched(2)
            await world.pass_time(50)
        assert world.stored.isr == isr_of(world.partition) == (1, 2)
        assert world.partition.high_watermark == 3

    run(scenario)


def test_who_leaves_an_isr_that_becomes_too_small_is_eligible() -> None:
    async def scenario(world: World) -> None:
        await world.pass_time(1_500)
        assert (world.stored.isr, world.stored.elr) == ((1,), (2, 3))
        assert world.partition.is_under_min_isr
        assert world.partition.high_watermark == 0

    run(scenario, min_isr=2)


@pytest.mark.parametrize("why", ["fenced", "an incarnation before", "one nobody knows yet"])
def test_who_is_not_usable_does_not_join(why: str) -> None:
    async def scenario(world: World) -> None:
        epoch = world.epochs[2]
        if why == "fenced":
            await world.register(2, fenced=True, anew=False)
        elif why == "an incarnation before":
            await world.register(2)
        else:
            epoch += 1
        world.store.transactions = 0
        world.fetched(2, epoch=epoch)
        await world.rest()
        assert (world.store.transactions, world.stored.isr) == (0, (1,))

    run(scenario, (1,))


def test_who_becomes_usable_joins_though_it_has_nothing_to_fetch() -> None:
    async def scenario(world: World) -> None:
        await world.register(2, fenced=True, anew=False)
        world.fetched(2)
        await world.rest()
        assert world.stored.isr == (1,)
        await world.register(2, anew=False)
        world.changes.look(world.partition)
        await world.rest()
        assert world.stored.isr == (1, 2)

    run(scenario, (1,))


def test_who_was_put_out_joins_when_it_goes_on_and_is_who_it_was() -> None:
    async def scenario(world: World) -> None:
        world.fetched(2)
        await world.change(isr=(1, 3))
        await world.rest()
        world.partition.follower_goes_on(2, world.epochs[2] + 1)
        await world.rest()
        assert world.stored.isr == (1, 3), "we do not know where another incarnation is"
        world.partition.follower_goes_on(2, world.epochs[2])
        await world.rest()
        assert world.stored.isr == (1, 2, 3)

    run(scenario)


def test_who_has_begun_anew_meanwhile_does_not_join() -> None:
    """The image does not say it yet; the store does."""

    async def scenario(world: World) -> None:
        world.store.first = [changes.broker_key(BrokerImage(2, 0, None, ()))]
        name = changes.broker_name(2)
        del world.store.database.items[name], world.store.database.versions[name]
        world.fetched(2)
        await world.rest()
        assert world.stored.isr == isr_of(world.partition) == (1,)
        assert world.partition.leadership is not None
        assert world.partition.leadership.proposed is None
        world.epochs[2] = world.follower.image.brokers[2].epoch
        world.fetched(2)
        await world.pass_time(RETRY_MS)
        assert world.stored.isr == (1, 2)

    run(scenario, (1,))


def test_who_asks_again_while_a_change_does_not_hold_waits_as_long() -> None:
    async def scenario(world: World) -> None:
        epoch = world.epochs[US]
        await world.register(US)
        world.epochs[US] = epoch
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: problems.append(what))
        asked: list[int] = []

        async def reached(revision: int) -> None:
            if not asked:  # while the first one is on its way
                asked.append(revision)
                world.changes.look(world.partition)

        world.changes._reached = reached
        world.fetched(2)
        await world.rest()
        tries = world.store.transactions
        assert (asked, tries) == ([world.follower.image.revision], 4)
        try:
            await world.pass_time(3 * RETRY_MS)
        except KeyError as error:
            problems.append(error)
        assert not problems
        assert tries < world.store.transactions < tries + 5

    run(scenario, (1,))


def test_who_is_registered_no_more_changes_nothing() -> None:
    async def scenario(world: World) -> None:
        epoch = world.epochs[US]
        await world.register(US)
        world.epochs[US] = epoch
        world.fetched(2)
        await world.pass_time(2_000)
        assert world.stored.isr == isr_of(world.partition) == (1,)
        assert world.store.transactions < 10, "it does not try all the time"

    run(scenario, (1,))


def test_a_change_by_another_is_learnt_and_ours_made_on_top() -> None:
    async def scenario(world: World) -> None:
        after = world.stored._replace(isr=(1, 3), partition_epoch=1)
        world.store.first = [changes.partition_key(TOPIC_ID, 0, after)]
        world.fetched(2)
        await world.rest()
        assert world.stored.isr == isr_of(world.partition) == (1, 2, 3)
        assert world.stored.partition_epoch == 2

    run(scenario, (1,))


def test_a_deposed_leader_changes_nothing_and_steps_down() -> None:
    async def scenario(world: World) -> None:
        after = world.stored._replace(leader=3, leader_epoch=1, isr=(3,), partition_epoch=1)
        world.store.first = [changes.partition_key(TOPIC_ID, 0, after)]
        world.fetched(2)
        await world.rest()
        assert (world.stored.isr, world.partition.leader) == ((3,), 3)
        assert not world.partition.is_leader

    run(scenario, (1,))


@pytest.mark.parametrize("fails", ["before", "after"])
def test_while_an_outcome_is_unknown_old_and_proposed_members_count(fails: str) -> None:
    async def scenario(world: World) -> None:
        world.store.fails = fails
        world.fetched(2)
        await world.rest()
        assert world.partition.high_watermark == 3
        assert world.partition.leadership is not None
        assert world.partition.leadership.proposed == (1, 2)
        append(world.partition, 1)
        assert world.partition.high_watermark == 3, "2 may be in sync, and has not fetched it"
        world.store.fails = ""
        await world.pass_time(RETRY_MS)
        assert world.partition.leadership.proposed is None
        assert world.stored.isr == isr_of(world.partition) == (1, 2)
        assert world.stored.partition_epoch == 1, "made once"
        world.fetched(2, 4)
        assert world.partition.high_watermark == 4

    run(scenario, (1,))


def test_an_outcome_that_is_never_known_ends_with_the_epoch() -> None:
    async def scenario(world: World) -> None:
        world.store.fails = "before"
        world.fetched(2)
        await world.rest()
        world.partition.become_follower(among(1, leader=3))
        world.store.fails = ""
        await world.pass_time(RETRY_MS)
        assert world.stored.isr == (1,)

    run(scenario, (1,))


def test_many_change_together_and_one_that_does_not_hold_spoils_no_other() -> None:
    async def scenario(world: World) -> None:
        others = []
        for number in (1, 2):
            partition = make_partition(leads=False)
            partition.partition = number
            partition.may_join = world.changes.look
            result = await world.store.transact(
                [], [changes.partition_key(TOPIC_ID, number, among(0, isr=(1,)))]
            )
            state = among(0, isr=(1,))._replace(revision=result.revision)
            partition.become_leader(state)
            append(partition, 3)
            others.append(partition)
        world.store.transactions = 0
        wrong = others[0]
        await world.store.transact(
            [], [changes.partition_key(TOPIC_ID, 1, among(9, leader=3, isr=(3,)))]
        )
        for partition in (world.partition, *others):
            partition.follower_fetched(2, 3, 0, world.epochs[2], 0)
        await world.rest()
        assert isr_of(world.partition) == isr_of(others[1]) == (1, 2)
        assert isr_of(wrong) == (1,)
        assert world.store.transactions == 1 + 1 + 3, "together, then each alone"

    run(scenario, (1,))


def test_an_error_that_should_not_be_is_told() -> None:
    async def scenario(world: World) -> None:
        def own_epoch() -> int:
            raise AssertionError("for the test")

        world.changes._own_epoch = own_epoch
        world.fetched(2)
        await world.rest()
        assert [type(error) for error in world.errors] == [AssertionError]
        world.errors.clear()

    run(scenario, (1,))
