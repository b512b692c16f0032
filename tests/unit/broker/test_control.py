"""Changes are decided one at a time on the newest image, and answered once followed."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from tests.unit.broker.parts import Metadata, run

from ottla.broker.control import MAX_KEYS, MAX_TRIES
from ottla.handlers.slices import SLICE_STEPS
from ottla.metadata import changes
from ottla.metadata.controller import Writes
from ottla.metadata.image import ConfigResource, Image, PartitionImage
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.isolation import ResourceType
from ottla.model.steps import Steps


def counted(image: Image) -> tuple[Writes, int]:
    """Raise the next producer id by one: a change that must see the one before."""
    following = image.next_producer_id + 1
    return Writes((changes.producer_ids_key(following),)), following


def refuse(image: Image) -> tuple[Writes, Any]:
    raise ApiError(ErrorCode.POLICY_VIOLATION, "no")


def test_changes_asked_for_at_once_are_decided_one_after_the_other() -> None:
    async def scenario(metadata: Metadata) -> None:
        asked = [metadata.control.change(counted) for _ in range(50)]
        assert await asyncio.gather(*asked) == list(range(1, 51))

    run(scenario)


def test_a_change_is_answered_when_every_part_has_followed_it() -> None:
    async def scenario(metadata: Metadata) -> None:
        followed: list[int] = []
        metadata.follower.add(lambda image, delta: followed.append(image.next_producer_id))
        assert await metadata.control.change(counted) == 1
        assert followed == [1]
        assert metadata.follower.image.next_producer_id == 1

    run(scenario)


def test_a_decision_that_writes_nothing_asks_no_store() -> None:
    async def scenario(metadata: Metadata) -> None:
        assert await metadata.control.change(lambda image: (Writes(), "as it is")) == "as it is"
        assert metadata.store.transactions == 0

    run(scenario)


def test_a_refusal_changes_nothing_and_lets_the_next_through() -> None:
    async def scenario(metadata: Metadata) -> None:
        with pytest.raises(ApiError) as refused:
            await metadata.control.change(refuse)
        assert refused.value.code is ErrorCode.POLICY_VIOLATION
        assert await metadata.control.change(counted) == 1

    run(scenario)


def test_who_is_not_the_controller_any_more_changes_nothing() -> None:
    async def scenario(metadata: Metadata) -> None:
        await metadata.store.transact([], [changes.controller_key(2)])
        with pytest.raises(ApiError) as refused:
            await metadata.control.change(counted)
        assert refused.value.code is ErrorCode.NOT_CONTROLLER
        assert "producer_ids" not in metadata.store.database.items

    run(scenario)


@pytest.mark.parametrize(("fails", "following"), [("before", 1), ("after", 2)])
def test_what_a_failed_transaction_did_is_learnt_before_the_next(
    fails: str, following: int
) -> None:
    """Decided on the old image, a topic would be created twice under one name."""

    async def scenario(metadata: Metadata) -> None:
        metadata.store.fails = fails
        with pytest.raises(ApiError) as failed:
            await metadata.control.change(counted)
        assert failed.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
        metadata.store.fails = ""
        assert await metadata.control.change(counted) == following

    run(scenario)


def test_who_asks_while_the_store_is_not_reached_is_told_to_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(metadata: Metadata) -> None:
        async def silent(*_: object, **__: object) -> NoReturn:
            raise PeerError("no answer")

        with monkeypatch.context() as patched:
            patched.setattr(metadata.store, "transact", silent)
            with pytest.raises(ApiError) as failed:
                await metadata.control.change(counted)
        assert failed.value.code is ErrorCode.REQUEST_TIMED_OUT
        assert await metadata.control.change(counted) == 1

    run(scenario)


def test_who_waits_behind_an_attempt_without_an_answer_waits_for_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(metadata: Metadata) -> None:
        waiting: list[asyncio.Future[Any]] = []
        attempts = 0

        async def silent(*_: object, **__: object) -> NoReturn:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                waiting.append(asyncio.ensure_future(metadata.control.change(counted)))
                await asyncio.sleep(0)
                metadata.clock.advance(5_000)
                waiting.append(asyncio.ensure_future(metadata.control.change(counted)))
                await asyncio.sleep(0)
            raise PeerError("no answer")

        with monkeypatch.context() as patched:
            patched.setattr(metadata.store, "transact", silent)
            patched.setattr(metadata.store, "load", silent)
            with pytest.raises(ApiError):
                await metadata.control.change(counted)
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        codes = [outcome.code for outcome in outcomes if isinstance(outcome, ApiError)]
        assert codes == [ErrorCode.REQUEST_TIMED_OUT] * 2
        assert attempts == 2, "one for the first two, and one for who came last"

    run(scenario)


def test_a_change_that_nobody_follows_fails_instead_of_waiting_for_ever() -> None:
    async def scenario(metadata: Metadata) -> None:
        def broken(image: Image, delta: object) -> None:
            raise RuntimeError("a part is wrong")

        metadata.follower.add(broken)
        asked = [asyncio.ensure_future(metadata.control.change(counted)) for _ in range(2)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        codes = [outcome.code for outcome in outcomes if isinstance(outcome, ApiError)]
        assert codes == [ErrorCode.UNKNOWN_SERVER_ERROR] * 2
        assert len(metadata.failures) == 1

    run(scenario)


def test_changes_asked_for_at_once_are_written_together() -> None:
    async def scenario(metadata: Metadata) -> None:
        await asyncio.gather(*(metadata.control.change(counted) for _ in range(50)))
        assert metadata.store.transactions == 2, "the first, and those that came meanwhile"

    run(scenario)


def set_group(number: int) -> Callable[[Image], tuple[Writes, int]]:
    resource = ConfigResource(ResourceType.GROUP, f"g{number}")
    return lambda image: (Writes((changes.config_key(resource, {}),)), len(image.configs))


def test_not_more_than_so_many_keys_are_written_together() -> None:
    async def scenario(metadata: Metadata) -> None:
        asked = [metadata.control.change(set_group(each)) for each in range(3 * MAX_KEYS)]
        assert await asyncio.gather(*asked) == list(range(3 * MAX_KEYS))
        assert metadata.store.transactions == 4

    run(scenario)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_who_was_decided_on_what_failed_fails_along(fails: str) -> None:
    def unless_taken(image: Image) -> tuple[Writes, int]:
        if image.next_producer_id == 2:
            raise ApiError(ErrorCode.TOPIC_ALREADY_EXISTS)
        return counted(image)

    async def scenario(metadata: Metadata) -> None:
        control = metadata.control
        first = asyncio.ensure_future(control.change(counted))
        await asyncio.sleep(0)  # it is written alone, and well
        asked = [control.change(each) for each in (counted, unless_taken, lambda _: (Writes(), 1))]
        metadata.store.fails = fails
        outcomes = await asyncio.gather(first, *asked, return_exceptions=True)
        assert outcomes[0] == 1
        codes = [outcome.code for outcome in outcomes[1:] if isinstance(outcome, ApiError)]
        assert codes == [ErrorCode.UNKNOWN_SERVER_ERROR] * 3
        metadata.store.fails = ""
        assert await control.change(counted) == (2 if fails == "before" else 3)

    run(scenario)


def test_a_refusal_among_others_is_that_of_one_alone() -> None:
    async def scenario(metadata: Metadata) -> None:
        control = metadata.control
        asked = [control.change(each) for each in (counted, counted, refuse, counted)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(outcomes[2], ApiError)
        assert outcomes[2].code is ErrorCode.POLICY_VIOLATION
        assert [outcomes[0], outcomes[1], outcomes[3]] == [1, 2, 3]

    run(scenario)


def test_what_is_deleted_was_followed_before() -> None:
    """Created and deleted in one transaction, it would never have been there."""
    made = changes.config_key(ConfigResource(ResourceType.GROUP, "g"), {})

    def make(image: Image) -> tuple[Writes, None]:
        return Writes((made,)), None

    def unmake(image: Image) -> tuple[Writes, int]:
        return Writes((), (made[0],)), len(image.configs)

    async def scenario(metadata: Metadata) -> None:
        seen: list[int] = []
        metadata.follower.add(lambda image, delta: seen.append(len(image.configs)))
        asked = [metadata.control.change(each) for each in (counted, make, unmake, make)]
        assert (await asyncio.gather(*asked))[2] == 1
        assert seen == [0, 1, 0, 1]
        assert made[0] in metadata.store.database.items

    run(scenario)


def test_a_change_whose_asker_is_gone_holds_nobody_up() -> None:
    async def scenario(metadata: Metadata) -> None:
        control = metadata.control
        asked = [asyncio.ensure_future(control.change(counted)) for _ in range(3)]
        await asyncio.sleep(0)
        asked[1].cancel()
        assert await asked[2] == 3
        assert await control.change(counted) == 4

    run(scenario)


def partition(number: int, epoch: int = 0) -> tuple[str, bytes]:
    return changes.partition_key(b"t" * 16, number, PartitionImage(1, epoch, 0, (1,), (1,)))


TOPIC = changes.topic_key(b"t" * 16, "t", 2)


def raise_epoch(image: Image) -> tuple[Writes, int]:
    epoch = image.topics["t"].partitions[0].leader_epoch + 1
    return Writes((partition(0, epoch),)), epoch


def test_a_change_of_what_a_leader_changed_meanwhile_is_decided_again() -> None:
    async def scenario(metadata: Metadata) -> None:
        made = await metadata.store.transact([], [partition(0), partition(1), TOPIC])
        await metadata.follower.reached(made.revision)
        decided: list[int] = []

        def interrupted(image: Image) -> tuple[Writes, int]:
            writes, epoch = raise_epoch(image)
            decided.append(epoch)
            if len(decided) < 3:
                metadata.store.first = [partition(0, 10 * len(decided))]
            return writes, epoch

        asked = [metadata.control.change(each) for each in (counted, interrupted, counted)]
        assert await asyncio.gather(*asked) == [1, 21, 2]
        assert decided == [1, 11, 21]

    run(scenario)


def test_a_change_that_never_meets_a_partition_at_rest_is_given_up() -> None:
    async def scenario(metadata: Metadata) -> None:
        made = await metadata.store.transact([], [partition(0), partition(1), TOPIC])
        await metadata.follower.reached(made.revision)
        decided = 0

        def interrupted(image: Image) -> tuple[Writes, int]:
            nonlocal decided
            decided += 1
            metadata.store.first = [partition(0, decided)]
            return raise_epoch(image)

        with pytest.raises(ApiError) as failed:
            await metadata.control.change(interrupted)
        assert failed.value.code is ErrorCode.REQUEST_TIMED_OUT
        assert decided == MAX_TRIES + 1

    run(scenario)


def test_a_change_too_large_for_the_store_is_written_in_portions() -> None:
    def make(image: Image) -> tuple[Writes, str]:
        puts = [partition(number) for number in range(20)]
        return Writes((*puts, changes.topic_key(b"t" * 16, "t", 20))), "made"

    async def scenario(metadata: Metadata) -> None:
        metadata.store.max_keys = 8
        assert await metadata.control.change(make) == "made"
        assert len(metadata.follower.image.topics["t"].partitions) == 20
        assert metadata.store.transactions == 4

    run(scenario)


def test_a_closed_control_decides_nothing() -> None:
    async def scenario(metadata: Metadata) -> None:
        metadata.control.close()
        with pytest.raises(ApiError) as refused:
            await metadata.control.change(counted)
        assert refused.value.code is ErrorCode.NOT_CONTROLLER
        assert metadata.store.transactions == 0

    run(scenario)


def test_a_long_decision_leaves_others_their_turns_and_the_next_is_made_behind_it() -> None:
    turns = 0

    def long(image: Image) -> Steps[tuple[Writes, Any]]:
        for _ in range(5 * SLICE_STEPS):
            yield
        return counted(image)

    async def scenario(metadata: Metadata) -> None:
        nonlocal turns
        changes = [asyncio.ensure_future(metadata.control.change(each)) for each in (long, counted)]
        while not changes[0].done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 5
        assert await asyncio.gather(*changes) == [1, 2]

    run(scenario)


def test_who_is_decided_for_by_somebody_that_is_cancelled_is_told() -> None:
    begun = asyncio.Event()

    def long(image: Image) -> Steps[tuple[Writes, Any]]:
        for _ in range(5 * SLICE_STEPS):
            yield
        return counted(image)

    def told(image: Image) -> Steps[tuple[Writes, Any]]:
        begun.set()
        return (yield from long(image))

    complaints: list[Any] = []

    async def scenario(metadata: Metadata) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: complaints.append(what))
        first, *others = [
            asyncio.ensure_future(metadata.control.change(each)) for each in (long, counted, told)
        ]
        await begun.wait()
        first.cancel()
        for other in others:
            with pytest.raises(ApiError) as failed:
                await other
            assert failed.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
        assert await metadata.control.change(counted) == 1

    run(scenario)
    gc.collect()
    assert not complaints, "nobody is there any more to look at the answer of the cancelled one"
