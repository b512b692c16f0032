"""Work off the loop, as an argument.

A job gets values and returns a value; it never touches a log's or a
coordinator's state. Only the loop changes state, when the job's result is back.
"""

from collections.abc import Callable, Generator, Iterator
from enum import Enum
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Lane(Enum):
    """Queues that do not wait for each other."""

    FSYNC = "fsync"
    READ = "read"
    UPKEEP = "upkeep"
    CODEC = "codec"


class WorkerDied(Exception):  # noqa: N818  # it says what happened
    """The process in which a job ran ended before it was done."""


class Later(Protocol[T_co]):
    """A result on its way; an `asyncio.Future` is one, so it can be awaited."""

    def add_done_callback(self, callback: Callable[["Later[Any]"], object], /) -> None: ...
    def result(self) -> T_co:
        """Return the job's value, or raise what the job raised."""

    def __await__(self) -> Generator[Any, None, T_co]: ...


class SteppedJob(Protocol):
    """A long job in Python, in short steps: a thread that ran it would starve the loop."""

    @property
    def may_run_elsewhere(self) -> bool:
        """Whether it can be pickled and done in another process."""

    def steps(self) -> Iterator[object]:
        """Yield as each step ends: the bytes it read and wrote, or something to be told."""


class Workers(Protocol):
    def submit(self, lane: Lane, job: Callable[[], T], /) -> Later[T]:
        """Run `job` off the loop; the result is delivered on the loop."""


class FileSyncs(Protocol):
    def sync(self, fd: int, done: Callable[[OSError | None], object], /) -> None:
        """Make the data of the file durable off the loop; `done` hears on the loop how it went."""


class StepWorkers(Workers, Protocol):
    def run_steps(
        self, job: SteppedJob, told: Callable[[Any], bool], bytes_per_second: float, /
    ) -> Later[None]:
        """Run all steps, in another process or between other work, and not too fast.

        `told` is called on the loop with what is no number; False from it stops the job.
        What is returned may be cancelled, and the job stops too.

        Raises:
            WorkerDied: the process that did it is gone.
        """
