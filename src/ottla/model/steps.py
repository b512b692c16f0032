"""Long work as steps: a generator that yields where somebody else may have a turn.

A core that may have thousands of things to do yields behind each of them, and
leaves to its caller how many to do at once. What it looked up before a `yield`
may have changed behind it.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Yields between two steps; returns what they came to."""


def at_once(steps: Steps[T]) -> T:
    """Do all steps, and return what they came to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
