"""Where the state of share partitions is kept, for share groups and for share partitions.

Kafka's word. Alone it is the broker's own `ShareCoordinator`; in a cluster the state of a share
partition is with the leader of some partition of `__share_group_state`, and that is anywhere.
"""

from collections.abc import Sequence
from typing import Protocol

from ottla.coordinator.share.records import ShareKey, Snapshot
from ottla.coordinator.share.runs import StateBatch
from ottla.model.ids import LeaderEpoch, Offset


class Persister(Protocol):
    """Everything raises ApiError: the coordinator's own, or why it could not be asked."""

    async def initialize(self, key: ShareKey, state_epoch: int, start_offset: Offset) -> None:
        """Begin anew; -1 as start lets the first consumer's leader find it."""

    async def read(self, key: ShareKey, leader_epoch: LeaderEpoch) -> Snapshot:
        """The state; a leader of an older epoch cannot write from now on."""

    async def write(
        self,
        key: ShareKey,
        state_epoch: int,
        leader_epoch: LeaderEpoch,
        start_offset: Offset,
        complete_count: int,
        batches: Sequence[StateBatch],
    ) -> None:
        """Store a change."""

    async def delete(self, key: ShareKey) -> None:
        """Forget a share partition."""

    async def summary(self, key: ShareKey) -> Snapshot | None:
        """Where it is, perhaps without its batches; None, or a start of -1, where nothing is stored."""
