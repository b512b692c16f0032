"""What verifying finds."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from ottla.model.ids import Offset


class Kind(Enum):
    """What a finding is about: it says how it can be repaired."""

    BATCH = "batch"
    EPOCH = "leader epoch"
    OFFSET_INDEX = "offset index"
    TIME_INDEX = "time index"
    TRANSACTION_INDEX = "transaction index"
    SNAPSHOT = "producer snapshot"
    EPOCH_FILE = "leader epoch file"
    METADATA = "partition metadata"
    CHECKPOINT = "checkpoint"
    IDENTITY = "meta.properties"


class Finding(NamedTuple):
    """Something is not as a broker leaves it."""

    kind: Kind
    path: str
    position: int | None
    """In bytes; None where the whole file is meant."""
    problem: str

    def __str__(self) -> str:
        place = "" if self.position is None else f"position {self.position}: "
        return f"{self.path}: {place}{self.problem}"


Progress = Callable[[int], None]
"""Hears of so many more bytes of `.log` files that were checked."""


class Checked(NamedTuple):
    """What verifying a partition found out besides its findings."""

    first_offset: Offset
    """Where its oldest segment begins."""
    end_offset: Offset | None
    """None: the end of its last segment cannot be read."""
