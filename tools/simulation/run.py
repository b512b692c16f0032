"""One seed: a world, its clients, its faults, and what the checkers say of it."""

import asyncio
import gc
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from tools.simulation.checkers import violations
from tools.simulation.faults import Fault, Faults, plan
from tools.simulation.history import History
from tools.simulation.producers import LibraryProducer, PipelineProducer
from tools.simulation.readers import GROUP, Asker, LibraryReader, Member, SessionReader, view_of
from tools.simulation.world import World

from ottla.client.groups import Groups
from ottla.model.errors import ApiError, PeerError
from ottla.testing.loop import DeadlockError, SpinError, VirtualLoop

PATIENCE_S = 90.0
"""So long after everything was healed, whoever has not finished is stuck."""


@dataclass(frozen=True)
class Shape:
    """How one world differs from others."""

    durable: bool
    """Acknowledged after fsync (`flush.messages=1`)."""
    partitions: int
    delay_ms: float
    max_piece: int
    coalesce: float
    job_ms: float
    """How long a sync, or another job of a worker, takes at most."""
    cold: float
    segment_ms: int
    index_interval_bytes: int
    group: bool

    @classmethod
    def of(cls, seed: int) -> "Shape":
        chance = random.Random(f"shape {seed}")
        return cls(
            durable=chance.random() < 0.6,
            partitions=chance.randint(1, 2),
            delay_ms=chance.choice((0.2, 2.0, 20.0)),
            max_piece=50 if chance.random() < 0.1 else 64 * 1024,
            coalesce=chance.choice((0.0, 0.5)),
            job_ms=chance.choice((1.0, 5.0, 50.0, 200.0)),
            cold=chance.choice((0.0, 0.0, 0.3)),
            segment_ms=chance.choice((50, 300, 10**9)),
            index_interval_bytes=chance.choice((0, 0, 200, 4096)),
            group=chance.random() < 0.4,
        )

    @property
    def settings(self) -> dict[str, str]:
        return {"log.flush.interval.messages": "1"} if self.durable else {}

    @property
    def topic_configs(self) -> dict[str, str]:
        return {
            "segment.ms": str(self.segment_ms),
            "segment.jitter.ms": "0",
            "index.interval.bytes": str(self.index_interval_bytes),
        }


class Ran(NamedTuple):
    """What became of a seed."""

    seed: int
    digest: str
    """Of everything that travelled and was logged."""
    faults: list[Fault]
    operations: int
    violations: list[str]
    history: History
    virtual_s: float


def run(seed: int, *, trace: list[str] | None = None) -> Ran:
    """Live through a seed. `trace` gets every line of what happened."""
    history, shape, digest = History(), Shape.of(seed), hashlib.sha256()

    def note(line: str) -> None:
        digest.update(line.encode())
        if trace is not None:
            trace.append(line)

    loop = VirtualLoop(seed)
    tasks: list[asyncio.Task[Any]] = []
    loop.set_task_factory(remembering(tasks))
    faults: list[Fault] = []
    try:
        with _without_garbage_collection():
            loop.run_until_complete(_main(seed, shape, history, note, faults))
    except (DeadlockError, SpinError) as error:
        history.stuck.append(f"{type(error).__name__}: {error}")
    finally:
        virtual_s = loop.time()
        clear(loop, tasks)
    found = violations(history)
    return Ran(seed, digest.hexdigest(), faults, history.operations, found, history, virtual_s)


async def _main(seed: int, shape: Shape, history: History, trace: Any, faults: list[Fault]) -> None:
    loop = asyncio.get_running_loop()
    world = World(seed, shape, history, trace)
    loop.set_exception_handler(world.handle)
    with _logging_to(world):
        if not await world.start():
            history.stuck.append("the broker does not start on an empty disk")
            return
        await _live(seed, world, faults)


async def _live(seed: int, world: World, faults: list[Fault]) -> None:
    history, shape = world.history, world.shape
    hosts = [f"10.0.1.{number}" for number in range(7)]
    writers: dict[str, Any] = {
        "idem": LibraryProducer(world, "idem", hosts[0], idempotent=True, count=12),
        "plain": LibraryProducer(world, "plain", hosts[1], idempotent=False, count=8),
        "pipe": PipelineProducer(world, "pipe", hosts[2], count=16),
    }
    ends: dict[int, int] | None = None
    readers: dict[str, Any] = {
        "reader": LibraryReader(world, "reader", hosts[3], lambda: ends),
        "session": SessionReader(world, "session", hosts[4], lambda: ends),
    }
    if shape.group:
        readers["member"] = Member(world, "member", hosts[6], lambda: ends)
    asker = Asker(world, "asker", hosts[5], count=6)
    running = {name: asyncio.create_task(each.run()) for name, each in writers.items()}
    running["asker"] = asyncio.create_task(asker.run())
    reading = {name: asyncio.create_task(each.run()) for name, each in readers.items()}
    faults += plan(seed, len(hosts), shape.durable)
    happening = Faults(world, hosts)
    await happening.run(faults)
    keeper = asyncio.create_task(happening.keep())
    await _wait(history, running)
    ends = {number: log.log_end_offset for number, log in world.topic_logs()}
    await _wait(history, reading)
    if shape.group:
        await _committed(world, hosts[6])
    keeper.cancel()
    await world.finish()


async def _wait(history: History, tasks: dict[str, "asyncio.Task[None]"]) -> None:
    done, pending = await asyncio.wait(tasks.values(), timeout=PATIENCE_S)
    for name, task in tasks.items():
        if task in pending:
            history.stuck.append(f"{name} has not finished")
            task.cancel()
        elif task.exception() is not None:
            history.unexpected.append(f"{name}: {task.exception()!r}")
    del done


async def _committed(world: World, host: str) -> None:
    """What the group has committed in the end."""
    async with view_of(world, host) as view:
        partitions = [world.partition(number) for number in range(world.shape.partitions)]
        for _ in range(20):
            try:
                found = await Groups(view).committed(GROUP, partitions)
            except (ApiError, PeerError):
                await asyncio.sleep(0.5)
                continue
            for partition, committed in found.items():
                world.history.final.committed[GROUP, partition.partition] = committed.offset
            return
        world.history.stuck.append("the committed offsets are not told")


def remembering(tasks: "list[asyncio.Task[Any]]") -> Any:
    def factory(loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        tasks.append(task)
        return task

    return factory


def clear(loop: VirtualLoop, tasks: "list[asyncio.Task[Any]]") -> None:
    """End what the dead and the unfinished left: now, and not when memory is tidied up."""
    loop.set_exception_handler(lambda loop, context: None)
    for task in tasks:
        if not task.done():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr]
        elif not task.cancelled():
            task.exception()
    loop.forget()
    loop.close()


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Nothing happens at moments that depend on how full memory is."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Handler(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.log(record)


@contextmanager
def _logging_to(world: World) -> Iterator[None]:
    logger = logging.getLogger("ottla")
    handler, level, propagate = _Handler(world), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def kinds(ran: Ran) -> Counter[str]:
    return Counter(fault.kind for fault in ran.faults)
