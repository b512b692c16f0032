"""What clients of a simulated cluster saw, and what only the simulation can see."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tools.simulation.history import History, Outcome


class Held(NamedTuple):
    """Who was to have everything committed of a partition, and how far their logs went."""

    at: float
    partition: int
    eligible: tuple[int, ...]
    """ISR and eligible replicas in the store, or who led last where those are empty."""
    ends: dict[int, int | None]
    """Where the log of each replica ends; None: not known, its machine lost what was not synced."""
    seen: int
    """The highest high watermark that a client had been told then."""


class Leads(NamedTuple):
    """A broker that takes itself for the leader."""

    topic: str
    partition: int
    epoch: int
    broker: int
    life: int


class Administered(NamedTuple):
    """A topic was created with so many partitions, grown to so many, or (0) deleted."""

    topic: str
    partitions: int
    start: float
    end: float
    outcome: Outcome


class Replica(NamedTuple):
    """What a broker has of a partition in the end."""

    log_start: int
    high_watermark: int
    log_end: int
    batches: dict[int, tuple[int, bytes]]
    """By base offset: the next offset, and the bytes."""
    epochs: tuple[tuple[int, int], ...]
    """(leader epoch, first offset)"""


@dataclass
class ClusterHistory(History):
    held: list[Held] = field(default_factory=list)
    leaders: dict[Leads, float] = field(default_factory=dict)
    """When each was seen first."""
    administered: list[Administered] = field(default_factory=list)
    topics: dict[int, dict[str, int]] = field(default_factory=dict)
    """By broker: the topics and their partitions in the end."""
    replicas: dict[tuple[int, int], Replica] = field(default_factory=dict)
    """By (partition, broker), in the end."""
    unclean: list[str] = field(default_factory=list)
    """What brokers said of elections and truncations that lose something."""
    seen: dict[int, int] = field(default_factory=dict)
    """The highest high watermark that a client was told, by partition."""

    def saw(self, partition: int, high_watermark: int) -> None:
        if high_watermark > self.seen.get(partition, 0):
            self.seen[partition] = high_watermark
