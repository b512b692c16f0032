"""Long work cut into slices, with a turn of the loop for others between two of them.

A slice ends when it has taken SLICE_MS or SLICE_STEPS steps. The first is what
counts on a real clock; on virtual time, which stands still while somebody
works, the second, so that two runs are cut at the same places.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ottla.model.clock import Clock
from ottla.model.steps import Steps, at_once

SLICE_MS = 2
"""By a clock of whole milliseconds: between 1 and 2 ms."""

SLICE_STEPS = 500
LOOK_AT_CLOCK = 7
"""A mask: the clock is looked at behind every eighth step."""

FEW = 100
"""Steps that are done at once, without a task: most requests ask about little."""

T = TypeVar("T")


class Slices:
    """`if slices.is_over(): await slices.rest()` behind each step."""

    __slots__ = ("_clock", "_is_first", "_steps", "_until_ms")

    def __init__(self, clock: Clock) -> None:
        """`clock` is the transport clock; the first slice begins."""
        self._clock = clock
        self._begin()
        self._is_first = True

    def _begin(self) -> None:
        self._is_first = False
        self._steps = 0
        self._until_ms = self._clock.now_ms() + SLICE_MS

    def is_over(self) -> bool:
        """A step was done: whether it was the last of its slice."""
        self._steps = steps = self._steps + 1
        if steps & LOOK_AT_CLOCK:
            return False
        return steps >= SLICE_STEPS or self._clock.now_ms() >= self._until_ms

    async def rest(self) -> None:
        """Let others have a turn, and begin another slice."""
        await asyncio.sleep(0)
        self._begin()

    async def rest_before_answer(self) -> None:
        """All steps are done: what took more than a slice has another to encode its answer."""
        if not self._is_first:
            await self.rest()


async def in_slices(clock: Clock, steps: Steps[T]) -> T:
    """Do all steps, and return what they came to."""
    slices = Slices(clock)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            await slices.rest_before_answer()
            return end.value  # type: ignore[no-any-return]
        if slices.is_over():
            await slices.rest()


def answer(clock: Clock, count: int, steps: Steps[T]) -> T | Coroutine[Any, Any, T]:
    """What a handler returns that has `count` steps to do: few are done at once."""
    return at_once(steps) if count <= FEW else in_slices(clock, steps)
