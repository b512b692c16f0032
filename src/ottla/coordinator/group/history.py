"""Why a group rebalanced: the last rebalances and their causes, as plain values.

Kept in memory only, for people: the console and the admin HTTP show it.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

MAX_REBALANCES = 20
MAX_CAUSES = 10


class Why(Enum):
    """What made a group leave its generation, or change while it rebalanced."""

    JOINED = "joined"
    REJOINED_AS_LEADER = "leader rejoined"
    CHANGED_METADATA = "changed metadata"
    REPLACED_STATIC = "static member replaced"
    LEFT = "left"
    SESSION_EXPIRED = "session expired"
    DISCONNECTED = "connection closed"
    JOIN_EXPIRED = "did not rejoin in time"
    SYNC_EXPIRED = "did not sync in time"
    OVER_CAPACITY = "group over group.max.size"
    SUBSCRIBED = "changed subscription"
    TOPICS_CHANGED = "topics changed"
    ASSIGNOR_CHANGED = "changed assignor"
    REBALANCE_EXPIRED = "did not give partitions up in time"
    STATIC_LEFT = "static member left, to be back"
    CONVERTED = "group converted"
    TOPOLOGY_CHANGED = "changed topology"
    CONFIG_CHANGED = "group settings changed"
    ASSIGNMENT_NOT_STORED = "assignment could not be stored"


@dataclass(slots=True, frozen=True)
class Cause:
    at_ms: int
    why: Why
    member_id: str
    instance_id: str | None = None
    client_id: str = ""
    reason: str | None = None
    """The client's own words, where it gave any."""


@dataclass(slots=True)
class Rebalance:
    """One rebalance: from its first cause until the new generation begins."""

    started_at_ms: int
    from_generation: int
    causes: list[Cause] = field(default_factory=list)
    more_causes: int = 0
    joined_at_ms: int | None = None
    """When every member had joined, or the time to join was over."""
    stable_at_ms: int | None = None
    generation: int | None = None
    member_count: int = 0


class History:
    """The last `MAX_REBALANCES` rebalances of a group, oldest first."""

    __slots__ = ("rebalances",)

    def __init__(self) -> None:
        self.rebalances: deque[Rebalance] = deque(maxlen=MAX_REBALANCES)

    def begin(self, from_generation: int, cause: Cause) -> None:
        self.rebalances.append(Rebalance(cause.at_ms, from_generation, [cause]))

    def add(self, cause: Cause) -> None:
        """A further cause of the rebalance in progress."""
        if not self.rebalances:
            return
        current = self.rebalances[-1]
        if len(current.causes) < MAX_CAUSES:
            current.causes.append(cause)
        else:
            current.more_causes += 1

    def joined(self, generation: int, member_count: int, now_ms: int) -> None:
        if self.rebalances:
            current = self.rebalances[-1]
            current.generation = generation
            current.member_count = member_count
            current.joined_at_ms = now_ms

    def stable(self, now_ms: int) -> None:
        if self.rebalances and self.rebalances[-1].stable_at_ms is None:
            self.rebalances[-1].stable_at_ms = now_ms
