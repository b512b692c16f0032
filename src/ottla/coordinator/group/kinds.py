"""What a shard asks of a group, of whatever kind.

    classic    consumers assign among themselves (KIP-62 and before); also groups
               without members that only hold offsets
    consumer   the coordinator assigns partitions (KIP-848)
    share      members share partitions (KIP-932)
    streams    the coordinator assigns tasks (KIP-1071)

A group id belongs to one group. A kind has its commands in its own module, as
functions over the shard; what the shard itself needs is `Group`.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol

from ottla.coordinator.group.history import History
from ottla.coordinator.group.records import GroupRecord
from ottla.coordinator.outcome import Outcome, Waiter
from ottla.model.ids import PartitionId, TopicName, Uuid

Out = Outcome[GroupRecord]

CommitCheck = Callable[[TopicName, Uuid, PartitionId], None]
"""May this partition be committed? Raises ApiError."""


class Kind(Enum):
    """Kinds by the names ListGroups has for them."""

    CLASSIC = "classic"
    CONSUMER = "consumer"
    SHARE = "share"
    STREAMS = "streams"


def kind_of(record_type: int) -> Kind:
    """The kind of group that writes records of this type."""
    if record_type == 2:
        return Kind.CLASSIC
    if 10 <= record_type <= 15:
        return Kind.SHARE
    return Kind.STREAMS if record_type >= 17 else Kind.CONSUMER


class Group(Protocol):
    """One group. Deadlines it sets have keys (what, group id, ...)."""

    @property
    def kind(self) -> Kind: ...

    @property
    def group_id(self) -> str: ...

    @property
    def history(self) -> History: ...

    @property
    def state_name(self) -> str:
        """As Kafka prints it: Empty, Stable, Assigning ..."""

    @property
    def protocol_type(self) -> str | None: ...

    @property
    def is_empty(self) -> bool:
        """Nobody is a member."""

    @property
    def is_deletable(self) -> bool:
        """An administrator may delete it: it is empty, and nothing is stored of it elsewhere."""

    @property
    def is_forgettable(self) -> bool:
        """Without offsets, it may be deleted by the round of expiry."""

    @property
    def is_gone(self) -> bool:
        """What was applied last says that the group does not exist any more."""

    @property
    def is_simple(self) -> bool:
        """Only offsets are stored of it: any kind of group may take its place."""

    def apply(self, record: GroupRecord, /) -> None:
        """Replay one of its records, or the tombstone of one."""

    def loaded(self, now_ms: int, /) -> Out:
        """Everything was applied: set deadlines. Answers nothing."""

    def wake(self, key: tuple[str, ...], now_ms: int, /) -> Out:
        """One of its deadlines has passed."""

    def drop(self, member_id: str, now_ms: int, /) -> Out:
        """The member's connection closed, and its session shall not be waited for.

        A static member stays: it is to be back.
        """

    def topics_changed(self, topics: frozenset[str], /) -> None:
        """Topics were made, deleted or got partitions. Writes nothing: the next heartbeat may."""

    def waiters(self) -> Iterable[Waiter]:
        """Everyone parked here."""

    def die(self) -> None:
        """It is given up: cancel its deadlines."""

    def tombstones(self) -> list[GroupRecord]:
        """What deletes everything stored of it but its offsets."""

    # Offsets

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        now_ms: int,
        transactional: bool = False,
        api_version: int = 0,
    ) -> CommitCheck | None:
        """May these offsets be committed? A member's commit keeps a classic session alive.

        A check that is returned decides for each partition, and what it raises is of all.

        Raises:
            ApiError: not a member, or not in this generation (member epoch).
        """

    def check_fetch(self, member_id: str | None, epoch: int, /) -> None:
        """May this member read the offsets? Raises ApiError, as `check_commit`."""

    def check_delete_offsets(self) -> None:
        """May offsets be deleted, of topics not subscribed to? Raises ApiError."""

    def is_subscribed_to(self, topic: str, /) -> bool: ...

    def offsets_expire_from(self) -> int | None:
        """When the retention of all offsets began; -1: each by its commit; None: not now."""
