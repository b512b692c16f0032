"""One at a time for each key."""

import asyncio

import pytest

from ottla.coordinator.share.turns import Turns, together
from ottla.model.errors import ApiError, ErrorCode


def test_one_waits_for_the_other_and_not_for_another_key() -> None:
    async def scenario() -> None:
        turns, said = Turns(), list[str]()

        async def work(key: str, name: str, end: asyncio.Event) -> None:
            async with turns.of(key):
                said.append(name)
                await end.wait()

        ends = [asyncio.Event() for _ in range(4)]
        names = (("g", "a"), ("g", "b"), ("h", "c"), ("g", "d"))
        tasks = [asyncio.create_task(work(*names[number], end)) for number, end in enumerate(ends)]
        for number, expected in ((0, "ac"), (1, "acb"), (3, "acbd"), (2, "acbd")):
            for _ in range(9):
                await asyncio.sleep(0)
            assert "".join(said) == expected
            ends[number].set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_who_fails_lets_the_next_one_in() -> None:
    async def scenario() -> None:
        turns = Turns()
        with pytest.raises(ValueError, match="no"):
            async with turns.of("g"):
                raise ValueError("no")
        async with turns.of("g"):
            pass

    asyncio.run(scenario())


def test_of_many_each_fails_for_itself() -> None:
    async def one(number: int) -> None:
        if number == 1:
            raise ApiError(ErrorCode.NOT_COORDINATOR)

    async def scenario() -> None:
        first, second, third = await together(one(number) for number in range(3))
        assert (first, third) == (None, None)
        assert second is not None
        assert second.code is ErrorCode.NOT_COORDINATOR

    asyncio.run(scenario())
