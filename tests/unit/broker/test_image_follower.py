"""Each new image reaches every part, in order; who waits for one is told, also when none comes."""

import asyncio

import pytest
from tests.unit.broker.parts import Metadata, run

from ottla.metadata import changes
from ottla.metadata.image import BrokerImage, Image
from ottla.model.errors import StorageError


async def put(metadata: Metadata, next_id: int) -> int:
    result = await metadata.store.transact([], [changes.producer_ids_key(next_id)])
    return result.revision


def test_parts_hear_of_every_change_in_order_and_see_its_image() -> None:
    async def scenario(metadata: Metadata) -> None:
        heard: list[tuple[str, int]] = []
        for name in ("first", "second"):
            metadata.follower.add(
                lambda image, delta, name=name: heard.append((name, image.next_producer_id))
            )
        revision = 0
        for number in (1, 2, 3):
            revision = await put(metadata, number)
        await metadata.follower.reached(revision)
        assert heard == [(name, n) for n in (1, 2, 3) for name in ("first", "second")]

    run(scenario)


def test_a_revision_is_reached_when_the_last_part_has_followed_it() -> None:
    async def scenario(metadata: Metadata) -> None:
        states: list[bool] = []
        waiting: list[asyncio.Task[None]] = []

        def part(image: Image, delta: object) -> None:
            # Who asks from within a part waits for the parts behind it.
            waiting.append(asyncio.ensure_future(metadata.follower.reached(image.revision)))

        metadata.follower.add(part)
        metadata.follower.add(lambda image, delta: states.append(waiting[0].done()))
        revision = await put(metadata, 1)
        await metadata.follower.reached(revision)
        await waiting[0]
        assert states == [False]

    run(scenario)


def test_what_the_store_forgot_is_read_anew() -> None:
    async def scenario(metadata: Metadata) -> None:
        heard: list[tuple[int, bool]] = []
        metadata.follower.add(
            lambda image, delta: heard.append((image.next_producer_id, delta.brokers))
        )
        await metadata.follower.reached(await put(metadata, 1))
        metadata.store.forgets = True
        await put(metadata, 2)
        await metadata.store.forgotten.wait()
        broker = changes.broker_key(BrokerImage(7, 0, None, ()))
        seen = await metadata.store.transact([], [broker])
        metadata.store.forgets = False
        await metadata.follower.reached(seen.revision)
        await metadata.follower.reached(await put(metadata, 3))
        assert heard == [(1, False), (2, True), (3, False)]

    run(scenario)


def test_what_was_reached_before_is_not_waited_for() -> None:
    async def scenario(metadata: Metadata) -> None:
        revision = await put(metadata, 1)
        await metadata.follower.reached(revision)
        await metadata.follower.reached(revision)
        await metadata.follower.reached(0)

    run(scenario)


def test_a_loaded_image_counts_as_followed() -> None:
    async def scenario(metadata: Metadata) -> None:
        other = Metadata(metadata.store.database)
        image = await other.follower.load()
        await other.follower.reached(image.revision)
        await other.end()

    run(scenario)


def test_a_part_that_fails_ends_the_following_and_everybodys_wait() -> None:
    async def scenario(metadata: Metadata) -> None:
        def broken(image: Image, delta: object) -> None:
            raise RuntimeError("a part is wrong")

        metadata.follower.add(broken)
        revision = await put(metadata, 1)
        with pytest.raises(StorageError):
            await metadata.follower.reached(revision)
        with pytest.raises(StorageError):
            await metadata.follower.reached(revision)
        (failure,) = metadata.failures
        assert str(failure) == "a part is wrong"

    run(scenario)


def test_closing_ends_everybodys_wait() -> None:
    async def scenario(metadata: Metadata) -> None:
        waiting = asyncio.ensure_future(metadata.follower.reached(1_000))
        await asyncio.sleep(0)
        await metadata.follower.close()
        with pytest.raises(StorageError):
            await waiting
        assert not metadata.failures

    run(scenario)
