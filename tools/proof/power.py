"""Power cuts and deaths by seed: what a log directory promised is there afterwards.

A seed is a whole life of a few partitions on a disk in memory: idempotent
producers and plain ones, every codec, rolls, flushes by group commit, retention,
DeleteRecords, truncation, topics made anew, clean restarts; and again and again
the power is cut, or the process dies, at some operation on the disk, sometimes
while recovering from the last time. The same seed gives the same life.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from ottla.model.isolation import CompressionType
from ottla.testing.log_model import Wrong
from ottla.testing.log_world import Death, LogWorld, Slot
from ottla.testing.randomness import SeededRandomness

STEPS = 60
PARTITIONS = 2
PRODUCERS = 3
PAGES = (64, 512, 4096)
MODES = {True: "flush.messages=1", False: "default"}
PROGRESS_S = 5.0
CODECS = list(CompressionType)


class Outcome(NamedTuple):
    """What one seed saw; that it came to its end says that all promises held."""

    deaths: int
    batches: int
    batches_lost: int
    """Not flushed, and gone with a power cut."""


class Many(NamedTuple):
    """What a range of seeds saw, added up."""

    deaths: int
    batches: int
    batches_lost: int
    violations: list[str]
    """A seed each, with what was wrong."""


def run_many(first_seed: int, seeds: int, durable: bool, say: Callable[[str], None]) -> Many:
    """Live each of `seeds` seeds from `first_seed` on, and tell how far that is now and then."""
    logging.getLogger("ottla").setLevel(logging.CRITICAL)  # a cut log is what is asked for
    deaths = batches = lost = 0
    violations: list[str] = []
    began = said = time.monotonic()
    for done in range(seeds):
        try:
            outcome = run(first_seed + done, durable)
        except (Wrong, AssertionError, LookupError) as error:
            violations.append(f"seed {first_seed + done}, {MODES[durable]}: {error!r}")
        else:
            deaths += outcome.deaths
            batches += outcome.batches
            lost += outcome.batches_lost
        now = time.monotonic()
        if now - said > PROGRESS_S:
            said = now
            say(
                f"{MODES[durable]}: {done + 1} of {seeds} seeds, {(done + 1) / (now - began):.0f}/s, "
                f"{deaths} deaths, {len(violations)} violations; next seed {first_seed + done + 1}"
            )
    return Many(deaths, batches, lost, violations)


def run(seed: int, durable: bool) -> Outcome:
    """Live one seed; `durable` acknowledges what was flushed (`flush.messages=1`).

    Raises:
        Wrong: a promise was not kept.
    """
    chance = random.Random(f"{seed} {durable}")
    world = LogWorld(
        SeededRandomness(chance.randrange(2**62)),
        durable=durable,
        partitions=PARTITIONS,
        page_bytes=chance.choice(PAGES),
    )
    truncates = chance.random() < 0.3
    for _ in range(STEPS):
        if chance.random() < 0.06:
            world.die_in(chance.randint(1, 40), _death(chance))
        slot = chance.choice(world.slots)
        world.act(lambda slot=slot: _step(world, slot, chance, truncates))  # type: ignore[misc]
    world.disk.dies_at = None
    world.die(_death(chance))
    for slot in world.slots:
        world.check(slot)
    world.restart()
    return Outcome(world.deaths, world.values, world.lost)


def _death(chance: random.Random) -> Death:
    return Death.POWER if chance.random() < 0.8 else Death.PROCESS


def _step(world: LogWorld, slot: Slot, chance: random.Random, truncates: bool) -> None:
    kind = chance.random()
    model = slot.model
    if kind < 0.45:
        world.now_ms += chance.randint(0, 30)
        world.produce(
            slot,
            producer=chance.choice([None, *range(PRODUCERS)]),
            count=chance.randint(1, 4),
            size=chance.choice([0, 40, 120, 300]),
            compression=chance.choice(CODECS),
            timestamp_ms=world.now_ms - chance.choice([0, 0, 0, 60]),
        )
    elif kind < 0.67:
        world.work(chance.randrange(8))
    elif kind < 0.72:
        world.flush(slot)
    elif kind < 0.76:
        world.checkpoint()
    elif kind < 0.80:
        world.send_again(slot, chance.randrange(PRODUCERS))
    elif kind < 0.83:
        world.roll(slot)
    elif kind < 0.86:
        world.retain(slot, size=chance.randrange(5000))
    elif kind < 0.88:
        world.retain(slot, age_ms=chance.randrange(1, 400))
    elif kind < 0.90:
        world.delete_records(slot, chance.randint(model.begin, max(model.begin, model.end)))
    elif kind < 0.92:
        world.remove_due()
    elif kind < 0.94:
        world.flush_now(slot)
    elif kind < 0.96:
        world.restart()
    elif kind < 0.97:
        world.recreate(slot)
    elif not truncates:
        world.leave_a_gap(slot, chance.randrange(PRODUCERS))
    elif kind < 0.99:
        world.truncate(slot, chance.randint(model.begin, max(model.begin, model.end)))
    else:
        world.start_over(slot, model.end + chance.randrange(3))
