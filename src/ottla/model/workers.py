"""Work off the loop, as an argument.

A job gets values and returns a value; it never touches a log's or a
coordinator's state. Only the loop changes state, when the job's result is back.
"""

from collections.abc import Callable, Generator
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


class Later(Protocol[T_co]):
    """A result on its way; an `asyncio.Future` is one, so it can be awaited."""

    def add_done_callback(self, callback: Callable[["Later[Any]"], object], /) -> None: ...
    def result(self) -> T_co:
        """Return the job's value, or raise what the job raised."""

    def __await__(self) -> Generator[Any, None, T_co]: ...


class Workers(Protocol):
    def submit(self, lane: Lane, job: Callable[[], T], /) -> Later[T]:
        """Run `job` off the loop; the result is delivered on the loop."""
