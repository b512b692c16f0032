"""Brokers that die at a moment of their own choosing, for tests of what the next start makes of it.

Reached as `broken.py` says, but of a process alone: each ends with SIGKILL on itself.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from ottla.broker.transactions import LocalMarkers

Patch = Callable[[Any, str, Any], None]
"""Sets an attribute."""


def _die(*arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_markers(patch: Patch) -> None:
    """Die when it is committed how a transaction ends, before any partition was told."""
    patch(LocalMarkers, "write", _die)


def die_between_markers(patch: Patch) -> None:
    """Die when one partition of a transaction was told how it ends, and the others not."""
    real_write = LocalMarkers.write_one
    told: list[object] = []

    def write_one(self: LocalMarkers, *arguments: Any) -> None:
        if told:
            _die()
        told.append(arguments)
        real_write(self, *arguments)

    patch(LocalMarkers, "write_one", write_one)


def die_before_complete(patch: Patch) -> None:
    """Die when all partitions of a transaction were told, before that is written down."""
    real_write = LocalMarkers.write

    def write(self: LocalMarkers, prepared: Any, coordinator_epoch: Any, written: Any) -> None:
        real_write(self, prepared, coordinator_epoch, _die)

    patch(LocalMarkers, "write", write)


DYING: dict[str, Callable[[Patch], None]] = {
    switch.__name__: switch
    for switch in (die_before_markers, die_between_markers, die_before_complete)
}
