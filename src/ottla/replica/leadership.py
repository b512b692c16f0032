"""What a leader knows of its followers in one leader epoch, and what that commits (pure).

A follower's fetch offset says "I hold everything below", on disk where acknowledged means
flushed. What every in-sync replica holds is committed. While a change of the ISR is in flight,
or its outcome is not known, the old and the proposed members count together; and nothing more
is committed while the ISR that the store knows is smaller than it must be: then whoever left
it as one of too few still has all that was ever committed (KIP-966).
"""

from collections.abc import Container, Iterable

from ottla.metadata.election import needed
from ottla.metadata.image import PartitionImage
from ottla.model.ids import BrokerId, Offset

UNKNOWN: Offset = -1
NEVER_MS = -(2**62)
NO_EPOCH = -1


class FollowerState:
    """One follower, as its last fetch told."""

    __slots__ = (
        "broker_epoch",
        "broker_id",
        "caught_up_ms",
        "end_offset",
        "fetched_ms",
        "leader_end",
        "log_start_offset",
    )

    def __init__(self, broker_id: BrokerId, caught_up_ms: int) -> None:
        self.broker_id = broker_id
        self.end_offset: Offset = UNKNOWN
        self.log_start_offset: Offset = UNKNOWN
        self.broker_epoch = NO_EPOCH
        """The incarnation that fetched."""
        self.caught_up_ms = caught_up_ms
        """When it last had everything the leader had then."""
        self.fetched_ms = NEVER_MS
        self.leader_end: Offset = UNKNOWN
        """Where the leader's log ended at that fetch."""

    def fetched(
        self,
        end_offset: Offset,
        log_start_offset: Offset,
        broker_epoch: int,
        leader_end: Offset,
        now_ms: int,
    ) -> None:
        if end_offset >= leader_end:
            self.caught_up_ms = max(self.caught_up_ms, now_ms)
        elif end_offset >= self.leader_end >= 0:
            # It has what there was when it fetched before.
            self.caught_up_ms = max(self.caught_up_ms, self.fetched_ms)
        self.end_offset = end_offset
        self.log_start_offset = log_start_offset
        self.broker_epoch = broker_epoch
        self.leader_end = leader_end
        self.fetched_ms = now_ms

    def served(self, leader_end: Offset, now_ms: int) -> None:
        """It was sent what it waited for, up to where the log ends now."""
        self.leader_end = leader_end
        self.fetched_ms = now_ms


class Leadership:
    """The followers of a partition, its ISR, and the one that is proposed."""

    __slots__ = ("_counted", "appended_bytes", "followers", "min_isr", "proposed", "state")

    def __init__(self, state: PartitionImage, min_isr: int, now_ms: int) -> None:
        self.state = state
        self.min_isr = min_isr
        self.proposed: tuple[BrokerId, ...] | None = None
        """The ISR of a change that is in flight, or of which nobody knows whether it was made."""
        self.followers: dict[BrokerId, FollowerState] = {}
        self.appended_bytes = 0
        """Since the high watermark was at the log's end."""
        self._counted: tuple[FollowerState, ...] = ()
        self._take(state, now_ms)

    @property
    def me(self) -> BrokerId:
        return self.state.leader

    @property
    def is_under_min_isr(self) -> bool:
        """Whether nothing is committed: too few are in sync, or were when the store heard last.

        Who is still eligible there would be elected without what is committed from now on.
        """
        return bool(self.state.elr) or not self._has_enough

    @property
    def has_spare_elr(self) -> bool:
        """Whether `min.insync.replicas` was lowered to where nobody is to be eligible any more."""
        return bool(self.state.elr) and self._has_enough

    @property
    def _has_enough(self) -> bool:
        return len(self.state.isr) >= needed(self.state, self.min_isr)

    def update(self, state: PartitionImage, now_ms: int) -> bool:
        """Take over a newer state of the same leader epoch; return whether it was newer."""
        known = self.state
        if (state.partition_epoch, state.revision) <= (known.partition_epoch, known.revision):
            return False
        self._take(state, now_ms)
        return True

    def _take(self, state: PartitionImage, now_ms: int) -> None:
        old, self.state = self.state, state
        followers: dict[BrokerId, FollowerState] = {}
        for broker in state.replicas:
            if broker == state.leader:
                continue
            known = self.followers.get(broker) or FollowerState(broker, NEVER_MS)
            if broker in state.isr and (broker not in old.isr or broker not in self.followers):
                # A member has the time of one who has just been caught up to fetch first.
                known.caught_up_ms = now_ms
            followers[broker] = known
        self.followers = followers
        self._count()

    def propose(self, isr: tuple[BrokerId, ...] | None) -> None:
        """Count these members too from now on; None: no more than the ISR."""
        self.proposed = isr
        self._count()

    def _count(self) -> None:
        members: Iterable[BrokerId] = {*self.state.isr, *(self.proposed or ())}
        self._counted = tuple(
            follower for broker, follower in self.followers.items() if broker in members
        )

    def committed(self, own_end: Offset) -> Offset:
        """The offset below which everything is committed; -1: no more than before."""
        if self.is_under_min_isr:
            return UNKNOWN
        for follower in self._counted:
            if follower.end_offset < own_end:
                own_end = follower.end_offset
        return own_end

    def take_appended(self, before: Offset, committed: Offset, end: Offset) -> int:
        """About how many of the bytes appended lie below `committed`, and not below `before`."""
        total = self.appended_bytes
        share = total if committed >= end else total * (committed - before) // (end - before)
        self.appended_bytes = total - share
        return share

    def low_watermark(self, own_start: Offset, alive: Container[BrokerId]) -> Offset:
        """The least offset at which a replica begins whose broker lives."""
        starts = [
            follower.log_start_offset
            for broker, follower in self.followers.items()
            if broker in alive
        ]
        return min(own_start, *starts) if starts else own_start
