"""What dies stops at once, wherever it was, and nothing else does."""

import asyncio

import pytest

from ottla.testing.lives import LIFE, DiedError, Life, check_alive
from ottla.testing.loop import run


def test_timers_and_tasks_of_a_life_end_with_it_and_others_go_on() -> None:
    steps: list[str] = []

    async def ticking(name: str) -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            steps.append(name)
            asyncio.get_running_loop().call_later(0.5, steps.append, f"{name} later")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        life = Life(loop)
        mortal = loop.create_task(ticking("mortal"), context=life.context.copy())
        immortal = loop.create_task(ticking("immortal"))
        loop.call_at(2.2, life.end)
        await immortal
        await asyncio.sleep(1)
        assert not mortal.done()
        mortal.cancel()

    run(main())
    assert steps.count("mortal") == 2
    assert steps.count("mortal later") == 1
    assert steps.count("immortal") == steps.count("immortal later") == 4


def test_what_is_scheduled_after_a_death_in_its_midst_does_not_happen() -> None:
    steps: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        life = Life(loop)

        def dying() -> None:
            life.end()
            loop.call_soon(steps.append, "soon")
            loop.call_later(1, steps.append, "later")
            with pytest.raises(DiedError):
                check_alive()

        loop.call_soon(dying, context=life.context.copy())
        await asyncio.sleep(2)
        assert LIFE.get() is None
        check_alive()

    run(main())
    assert steps == []


def test_the_dead_hear_nothing_of_what_the_living_do() -> None:
    steps: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        life, happened = Life(loop), asyncio.Event()

        async def waiting() -> None:
            await happened.wait()
            steps.append("heard")

        mortal = loop.create_task(waiting(), context=life.context.copy())
        await asyncio.sleep(1)
        life.end()
        await asyncio.sleep(1)
        happened.set()
        await asyncio.sleep(1)
        assert not mortal.done()

    run(main())
    assert steps == []
