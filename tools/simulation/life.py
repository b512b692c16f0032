"""One life of a world on virtual time: its program runs, then checkers look at its history."""

import asyncio
import gc
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from tools.simulation.faults import Fault
from tools.simulation.history import History
from tools.simulation.world import World

from ottla.testing.loop import DeadlockError, SpinError, VirtualLoop

PATIENCE_S = 90.0
"""So long after everything was healed, whoever has not finished is stuck."""


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
    shape: Any


Program = Callable[[Any, list[Fault]], Awaitable[None]]
"""What happens in a world that has started; notes the faults it plans."""


def live_through(
    seed: int,
    shape: Any,
    history: History,
    program: Program,
    violations: Callable[[], list[str]],
    *,
    make: Callable[..., Any] = World,
    trace: list[str] | None = None,
    traced: bool = True,
) -> Ran:
    """Run `program` in a world of this seed and shape, which `make` makes.

    `trace` gets every line of what happened. Without `traced` nothing is taken down, and the
    digest says nothing: that is a little quicker.
    """
    digest = hashlib.sha256()

    def note(line: str) -> None:
        digest.update(line.encode())
        if trace is not None:
            trace.append(line)

    async def main() -> None:
        world = make(seed, shape, history, note if traced else None)
        loop.set_exception_handler(world.handle)
        with _logging_to(world):
            if not await world.start():
                history.stuck.append("it does not start on an empty disk")
                return
            await program(world, faults)

    loop = VirtualLoop(seed)
    tasks: list[asyncio.Task[Any]] = []
    loop.set_task_factory(remembering(tasks))
    faults: list[Fault] = []
    try:
        with _without_garbage_collection():
            loop.run_until_complete(main())
    except (DeadlockError, SpinError) as error:
        history.stuck.append(f"{type(error).__name__}: {error}")
    finally:
        virtual_s = loop.time()
        clear(loop, tasks)
    found = violations()
    return Ran(
        seed, digest.hexdigest(), faults, history.operations, found, history, virtual_s, shape
    )


async def finished(history: History, tasks: dict[str, "asyncio.Task[None]"]) -> None:
    """Wait until all have finished; who has not is stuck, who raised was not foreseen."""
    done, pending = await asyncio.wait(tasks.values(), timeout=PATIENCE_S)
    for name, task in tasks.items():
        if task in pending:
            history.stuck.append(f"{name} has not finished")
            task.cancel()
        elif task.exception() is not None:
            history.unexpected.append(f"{name}: {task.exception()!r}")
    del done


def remembering(tasks: "list[asyncio.Task[Any]]") -> Any:
    def factory(loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        tasks.append(task)
        return task

    return factory


def clear(loop: VirtualLoop, tasks: "list[asyncio.Task[Any]]") -> None:
    """End what the dead and the unfinished left: now, and not when memory is tidied up."""
    loop.set_exception_handler(lambda loop, context: None)
    # What those say who are closed in the middle of something is not of the life.
    logging.disable(logging.CRITICAL)
    for task in tasks:
        if not task.done():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr]
        elif not task.cancelled():
            task.exception()
    logging.disable(logging.NOTSET)
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
    def __init__(self, world: Any) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.log(record)


@contextmanager
def _logging_to(world: Any) -> Iterator[None]:
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
