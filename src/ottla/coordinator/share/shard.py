"""The share partitions of one partition of `__share_group_state`: what is stored of each.

Initialize writes a first snapshot; Write adds an update to it, or, after a
number of updates, a new snapshot with everything in it. Read also raises the
leader epoch, so that a former leader of the partition cannot write any more.

Of records before the oldest snapshot in use nothing is needed: `needed_from`.
"""

from collections.abc import Sequence

from ottla.coordinator.outcome import Outcome, Waiter
from ottla.coordinator.share.batches import merged
from ottla.coordinator.share.records import (
    ShareKey,
    ShareRecord,
    Snapshot,
    Update,
    decode,
    encode,
)
from ottla.coordinator.share.runs import RecordState, StateBatch
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import LeaderEpoch, Offset, ProducerId, Uuid

Out = Outcome[ShareRecord]

_STORED = frozenset(RecordState)

UNINITIALIZED = -1
"""A start offset that is decided when the first consumer comes; a count not known."""


class ShareStateShard:
    """Implements `outcome.Shard` for the records of share partitions."""

    def __init__(self, updates_per_snapshot: int) -> None:
        self.updates_per_snapshot = updates_per_snapshot
        self.states: dict[ShareKey, Snapshot] = {}
        self._updates: dict[ShareKey, int] = {}
        self._snapshot_at: dict[ShareKey, Offset] = {}
        self._applied_end: Offset = 0

    # The replicated part

    def encode(self, record: ShareRecord) -> tuple[bytes, bytes | None]:
        return encode(record)

    def decode(self, key: bytes, value: bytes | None) -> ShareRecord | None:
        return decode(key, value)

    def apply(self, record: ShareRecord, offset: Offset, producer_id: ProducerId) -> None:
        """Replay one record, live or on loading."""
        self._applied_end = offset + 1
        key, content = record
        if content is None:
            self.states.pop(key, None)
            self._updates.pop(key, None)
            self._snapshot_at.pop(key, None)
        elif isinstance(content, Snapshot):
            self.states[key] = content._replace(
                batches=merged((), content.batches, content.start_offset)
            )
            self._updates[key] = 0
            self._snapshot_at[key] = offset
        else:
            state = self.states.get(key)
            if state is None or state.snapshot_epoch != content.snapshot_epoch:
                return  # of a snapshot that is gone
            self.states[key] = _with(state, content)
            self._updates[key] += 1

    def apply_marker(self, producer_id: ProducerId, committed: bool) -> None:
        """Share state is written outside of transactions."""

    def loaded(self, now_ms: int) -> Out:
        return Out()

    def unloaded(self) -> Sequence[Waiter]:
        return ()

    def next_deadline_ms(self) -> int | None:
        return None

    def wake(self, now_ms: int) -> Out | None:
        return None

    def needed_from(self) -> Offset:
        """The first record of the log that is still needed."""
        return min(self._snapshot_at.values(), default=self._applied_end)

    # Requests: each raises ApiError

    def initialize(
        self, key: ShareKey, state_epoch: int, start_offset: Offset, waiter: Waiter, now_ms: int
    ) -> Out:
        """Begin anew at `start_offset`, or (-1) where the group's settings will say."""
        self._check_key(key)
        state = self.states.get(key)
        if state is not None and state_epoch != -1 and state_epoch < state.state_epoch:
            raise ApiError(ErrorCode.FENCED_STATE_EPOCH)
        if state is not None and state_epoch == state.state_epoch and start_offset == UNINITIALIZED:
            # Asked again, perhaps late: it has begun, and what became of records may be known.
            return Out(answers=[(waiter, state)])
        snapshot = Snapshot(
            0 if state is None else state.snapshot_epoch + 1,
            state_epoch,
            0,
            start_offset,
            UNINITIALIZED if start_offset == UNINITIALIZED else 0,
            now_ms,
            now_ms,
            (),
        )
        return Out([ShareRecord(key, snapshot)], [(waiter, snapshot)])

    def read(self, key: ShareKey, leader_epoch: LeaderEpoch, waiter: Waiter, now_ms: int) -> Out:
        """The state, to a leader in `leader_epoch` (-1: to anybody)."""
        self._check_key(key)
        state = self._state(key, "Read")
        if leader_epoch != -1 and leader_epoch < state.leader_epoch:
            raise ApiError(ErrorCode.FENCED_LEADER_EPOCH)
        if leader_epoch <= state.leader_epoch:
            return Out(answers=[(waiter, state)])
        record = self._changed(
            key, state, leader_epoch, state.start_offset, state.complete_count, (), now_ms
        )
        return Out([record], [(waiter, state._replace(leader_epoch=leader_epoch))])

    def write(
        self,
        key: ShareKey,
        state_epoch: int,
        leader_epoch: LeaderEpoch,
        start_offset: Offset,
        complete_count: int,
        batches: Sequence[StateBatch],
        waiter: Waiter,
        now_ms: int,
    ) -> Out:
        """Change the state, as the leader in `leader_epoch`."""
        self._check_key(key)
        state = self._state(key, "Write")
        if leader_epoch != -1 and leader_epoch < state.leader_epoch:
            raise ApiError(ErrorCode.FENCED_LEADER_EPOCH)
        if state_epoch != -1 and state_epoch < state.state_epoch:
            raise ApiError(ErrorCode.FENCED_STATE_EPOCH)
        for batch in batches:
            if not 0 <= batch.first_offset <= batch.last_offset or batch[2] not in _STORED:
                raise ApiError(ErrorCode.INVALID_REQUEST)
        record = self._changed(
            key, state, state.leader_epoch, start_offset, complete_count, tuple(batches), now_ms
        )
        return Out([record], [(waiter, True)])

    def delete(self, key: ShareKey, waiter: Waiter) -> Out:
        """Forget a share partition; one that is not known is forgotten already."""
        self._check_key(key)
        records = [ShareRecord(key, None)] if key in self.states else []
        return Out(records, [(waiter, True)])

    def summary(self, key: ShareKey) -> Snapshot | None:
        """What is stored; None where nothing is."""
        self._check_key(key)
        return self.states.get(key)

    def topics_deleted(self, topic_ids: set[Uuid]) -> Out:
        """Forget what was stored of topics that are gone."""
        return Out([ShareRecord(key, None) for key in self.states if key.topic_id in topic_ids])

    def written_anew(self, now_ms: int, interval_ms: int) -> Out:
        """Snapshots of what has not been written for `interval_ms`, so that older records can go."""
        out = Out()
        old = [
            key
            for key, state in self.states.items()
            if now_ms - state.write_timestamp_ms >= interval_ms
        ]
        if len(old) == len(self.states) and all(self._updates[key] == 0 for key in old):
            return out  # nothing is between them that could go
        for key in old:
            state = self.states[key]
            out.records.append(
                ShareRecord(
                    key,
                    state._replace(
                        snapshot_epoch=state.snapshot_epoch + 1, write_timestamp_ms=now_ms
                    ),
                )
            )
        return out

    def _changed(
        self,
        key: ShareKey,
        state: Snapshot,
        leader_epoch: LeaderEpoch,
        start_offset: Offset,
        complete_count: int,
        batches: tuple[StateBatch, ...],
        now_ms: int,
    ) -> ShareRecord:
        """What is to be written. A start that was known before an earlier write moved it moves nothing.

        Else records that are over, whose states are dropped, would be delivered again.
        """
        if UNINITIALIZED < start_offset < state.start_offset:
            start_offset = state.start_offset
            complete_count = _complete(merged(state.batches, batches, start_offset))
        if self._updates[key] < self.updates_per_snapshot:
            return ShareRecord(
                key,
                Update(
                    state.snapshot_epoch,
                    leader_epoch,
                    start_offset,
                    complete_count,
                    merged((), batches, start_offset),
                ),
            )
        update = Update(state.snapshot_epoch, leader_epoch, start_offset, complete_count, batches)
        whole = _with(state, update)
        return ShareRecord(
            key,
            whole._replace(snapshot_epoch=state.snapshot_epoch + 1, write_timestamp_ms=now_ms),
        )

    def _state(self, key: ShareKey, what: str) -> Snapshot:
        state = self.states.get(key)
        if state is None:
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                f"{what} operation on uninitialized share partition not allowed.",
            )
        return state

    @staticmethod
    def _check_key(key: ShareKey) -> None:
        if key.partition < 0:
            raise ApiError(
                ErrorCode.INVALID_REQUEST, "The partition id cannot be a negative number."
            )


def _complete(batches: Sequence[StateBatch]) -> int:
    """How many records are over and done with."""
    return sum(
        batch.last_offset - batch.first_offset + 1
        for batch in batches
        if RecordState(batch.delivery_state).is_terminal
    )


def _with(state: Snapshot, update: Update) -> Snapshot:
    """The state after an update."""
    start = state.start_offset if update.start_offset == -1 else update.start_offset
    return state._replace(
        leader_epoch=update.leader_epoch,
        start_offset=start,
        complete_count=update.complete_count,
        batches=merged(state.batches, update.batches, start),
    )
