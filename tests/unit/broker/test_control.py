"""Changes are decided one at a time on the newest image, and answered once followed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.broker.parts import Metadata

from ottla.metadata import changes
from ottla.metadata.controller import Writes
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode


def counted(image: Image) -> tuple[Writes, int]:
    """Raise the next producer id by one: a change that must see the one before."""
    following = image.next_producer_id + 1
    return Writes((changes.producer_ids_key(following),)), following


def refuse(image: Image) -> tuple[Writes, Any]:
    raise ApiError(ErrorCode.POLICY_VIOLATION, "no")


def run(scenario: Callable[[Metadata], Any]) -> None:
    async def main() -> None:
        metadata = await Metadata().begin()
        try:
            async with asyncio.timeout(20):
                await scenario(metadata)
        finally:
            await metadata.end()

    asyncio.run(main())


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
