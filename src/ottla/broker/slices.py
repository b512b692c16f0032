"""A long job on the loop itself, a slice at a time: where no other process can do it."""

import asyncio
from collections.abc import Callable
from typing import Any

from ottla.broker.pace import Pace
from ottla.model.workers import SteppedJob

SLICE_S = 0.001
"""How long the loop may be held."""


async def run_in_slices(
    job: SteppedJob,
    told: Callable[[Any], bool],
    bytes_per_second: float,
    pause: Callable[[], float] = lambda: 0.0,
    slice_s: float = SLICE_S,
) -> None:
    """Do all steps of `job`; `pause` says how long to leave the loop to others in between."""
    loop = asyncio.get_running_loop()
    pace = Pace(bytes_per_second, loop.time())
    began = loop.time()
    for step in job.steps():
        rest = 0.0
        if not isinstance(step, int):
            if not told(step):
                return
        else:
            rest = pace.rest(step, loop.time())
        if rest > 0 or loop.time() - began >= slice_s:
            await asyncio.sleep(max(rest, pause()))
            began = loop.time()
