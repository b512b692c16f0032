"""What is stored of share partitions, and read back."""

import pytest

from ottla.coordinator.outcome import Outcome, Waiter
from ottla.coordinator.share.batches import merged
from ottla.coordinator.share.records import ShareKey, ShareRecord, Snapshot
from ottla.coordinator.share.runs import StateBatch
from ottla.coordinator.share.shard import ShareStateShard
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import NO_PRODUCER_ID

KEY = ShareKey("g", bytes(15) + b"\1", 0)
WAITER = Waiter()


class World:
    """A shard, and its log."""

    def __init__(self, updates_per_snapshot: int = 2) -> None:
        self.shard = ShareStateShard(updates_per_snapshot)
        self.log: list[tuple[bytes, bytes | None]] = []

    def carry_out(self, outcome: Outcome[ShareRecord]) -> object:
        for record in outcome.records:
            self.log.append(self.shard.encode(record))
            self.shard.apply(record, len(self.log) - 1, NO_PRODUCER_ID)
        return outcome.answers[0][1] if outcome.answers else None

    def write(self, start: int, *batches: StateBatch, epoch: int = 1) -> None:
        self.carry_out(self.shard.write(KEY, epoch, 0, start, len(batches), batches, WAITER, 1_000))

    def initialize(self, epoch: int = 1) -> None:
        self.carry_out(self.shard.initialize(KEY, epoch, 0, WAITER, 1_000))

    def state(self) -> Snapshot:
        state = self.shard.summary(KEY)
        assert state is not None
        return state


def test_what_was_written_is_there_after_a_restart() -> None:
    world = World()
    world.initialize()
    world.write(0, StateBatch(0, 9, 2, 1))
    world.write(10, StateBatch(10, 19, 0, 1))
    world.write(10, StateBatch(15, 19, 2, 2))
    world.write(10, StateBatch(10, 12, 4, 1))
    again = World()
    for offset, (key, value) in enumerate(world.log):
        record = again.shard.decode(key, value)
        assert record is not None
        again.shard.apply(record, offset, NO_PRODUCER_ID)
    assert again.state() == world.state()
    assert world.state().batches == (
        StateBatch(10, 12, 4, 1),
        StateBatch(13, 14, 0, 1),
        StateBatch(15, 19, 2, 2),
    )


def test_a_new_snapshot_follows_so_many_updates_and_frees_the_log_before_it() -> None:
    world = World(updates_per_snapshot=2)
    world.initialize()
    for number in range(4):
        world.write(number, StateBatch(number, number, 2, 1))
    kinds = [key[1] for key, _ in world.log]
    assert kinds == [0, 1, 1, 0, 1]
    assert world.state().snapshot_epoch == 1
    assert world.shard.needed_from() == 3


def test_who_led_before_cannot_write() -> None:
    world = World()
    world.initialize()
    world.carry_out(world.shard.read(KEY, 3, WAITER, 0))
    with pytest.raises(ApiError) as fenced:
        world.shard.write(KEY, 1, 2, 0, 0, (), WAITER, 0)
    assert fenced.value.code is ErrorCode.FENCED_LEADER_EPOCH
    with pytest.raises(ApiError) as fenced:
        world.shard.read(KEY, 2, WAITER, 0)
    assert fenced.value.code is ErrorCode.FENCED_LEADER_EPOCH


def test_state_of_an_older_epoch_is_fenced() -> None:
    world = World()
    world.initialize(epoch=5)
    with pytest.raises(ApiError) as fenced:
        world.write(0, epoch=4)
    assert fenced.value.code is ErrorCode.FENCED_STATE_EPOCH
    with pytest.raises(ApiError) as fenced:
        world.initialize(epoch=4)
    assert fenced.value.code is ErrorCode.FENCED_STATE_EPOCH


def test_nothing_is_read_or_written_before_it_is_initialized() -> None:
    world = World()
    with pytest.raises(ApiError) as refused:
        world.write(0)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert world.shard.summary(KEY) is None


def test_a_deleted_topic_takes_its_state_along() -> None:
    world = World()
    world.initialize()
    world.carry_out(world.shard.topics_deleted({KEY.topic_id}))
    assert world.shard.summary(KEY) is None
    assert world.log[-1][1] is None
    assert world.shard.needed_from() == len(world.log)


def test_forged_stretches_are_refused() -> None:
    world = World()
    world.initialize()
    for bad in (StateBatch(5, 4, 0, 1), StateBatch(0, 1, 9, 1), StateBatch(-1, 1, 0, 1)):
        with pytest.raises(ApiError) as refused:
            world.write(0, bad)
        assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_newer_stretches_lie_over_older_ones() -> None:
    old = [StateBatch(0, 9, 0, 1)]
    new = [StateBatch(3, 4, 2, 1), StateBatch(5, 5, 2, 1)]
    assert merged(old, new, 2) == (
        StateBatch(2, 2, 0, 1),
        StateBatch(3, 5, 2, 1),
        StateBatch(6, 9, 0, 1),
    )


@pytest.mark.parametrize("updates_per_snapshot", [0, 500])
def test_a_start_from_before_an_earlier_write_moved_it_moves_nothing(
    updates_per_snapshot: int,
) -> None:
    world = World(updates_per_snapshot)
    world.initialize()
    world.write(3, StateBatch(4, 5, 2, 1))
    world.write(6, StateBatch(3, 3, 2, 1))
    world.write(3, StateBatch(6, 6, 0, 1), StateBatch(7, 8, 2, 1))
    state = world.state()
    assert (state.start_offset, state.complete_count) == (6, 2)
    assert state.batches == (StateBatch(6, 6, 0, 1), StateBatch(7, 8, 2, 1))
