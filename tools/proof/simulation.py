"""Many seeds of `tools.simulation`, in several processes, each told apart by its number alone.

`WORLDS` are what can be lived through: records, transactions, groups, shares, a cluster.
"""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tools.simulation.worlds import WORLDS

CHUNK = 20
EVERY_S = 10.0
MOST_FAILURES = 20
"""Seeds that are named, each with the first that was wrong."""


class Chunk(NamedTuple):
    """What some seeds came to."""

    seeds: int
    operations: int
    virtual_s: float
    faults: Counter[str]
    deaths: int
    violations: list[tuple[int, str]]
    """(seed, line)"""


def of(what: str, first: int, count: int) -> Chunk:
    """Run `count` seeds from `first` on."""
    run = WORLDS[what]
    operations, virtual_s, deaths = 0, 0.0, 0
    faults: Counter[str] = Counter()
    found: list[tuple[int, str]] = []
    for seed in range(first, first + count):
        ran = run(seed, traced=False)
        operations += ran.operations
        virtual_s += ran.virtual_s
        deaths += len(ran.history.deaths)
        faults.update(fault.kind for fault in ran.faults)
        found += [(seed, line) for line in ran.violations]
    gc.collect()
    return Chunk(count, operations, virtual_s, faults, deaths, found)


def _of(job: tuple[str, int, int]) -> Chunk:
    return of(*job)


def prove(what: str, first: int, seeds: int, processes: int, say: Callable[[str], None]) -> Chunk:
    """Run `seeds` seeds from `first` on; each that fails is named with how to see it again."""
    ends = range(first, first + seeds, CHUNK)
    jobs = [(what, at, min(CHUNK, first + seeds - at)) for at in ends]
    total = Chunk(0, 0, 0.0, Counter(), 0, [])
    failed: set[int] = set()
    began = said = time.monotonic()
    for chunk in _chunks(jobs, processes):
        total = Chunk(
            total.seeds + chunk.seeds,
            total.operations + chunk.operations,
            total.virtual_s + chunk.virtual_s,
            total.faults + chunk.faults,
            total.deaths + chunk.deaths,
            total.violations + chunk.violations,
        )
        for seed, line in dict(reversed(chunk.violations)).items():
            if len(failed := failed | {seed}) <= MOST_FAILURES:
                say(f"seed {seed}: {line}\n  python -m tools.simulation {seed} --world {what}")
        now = time.monotonic()
        if now - said > EVERY_S or total.seeds == seeds:
            said = now
            rate = total.seeds / (now - began)
            say(
                f"{total.seeds} of {seeds} seeds, {rate:.1f} a second, "
                f"{len(total.violations)} violations, {(seeds - total.seeds) / rate:.0f} s left"
            )
    return total


def _chunks(jobs: list[tuple[str, int, int]], processes: int) -> Iterator[Chunk]:
    if processes == 1:
        yield from map(_of, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_of, jobs)
