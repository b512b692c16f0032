"""Committed and pending offsets."""

from tests.support.group_world import GroupWorld

from ottla.coordinator.group.kinds import Kind
from ottla.coordinator.group.offsets import Offsets
from ottla.coordinator.group.records import CommittedOffset, OffsetStored


def stored(offset: int | None, partition: int = 0, group: str = "g") -> OffsetStored:
    committed = None if offset is None else CommittedOffset(offset, -1, "", 0)
    return OffsetStored(group, "t", partition, committed)


def value(offsets: Offsets, partition: int = 0) -> int | None:
    committed = offsets.get("g", "t", partition)
    return None if committed is None else committed.offset


def test_a_committed_transaction_counts_from_its_end() -> None:
    offsets = Offsets()
    offsets.apply(stored(1), 0, -1)
    offsets.apply(stored(2), 1, 7)
    assert value(offsets) == 1
    assert offsets.is_pending("g", "t", 0)
    assert not offsets.is_pending("g", "t", 1)
    offsets.apply_marker(7, True)
    assert value(offsets) == 2
    assert not offsets.is_pending("g", "t", 0)


def test_an_aborted_transaction_never_counts() -> None:
    offsets = Offsets()
    offsets.apply(stored(2), 0, 7)
    offsets.apply_marker(7, False)
    offsets.apply_marker(7, True)
    assert value(offsets) is None
    assert list(offsets.partitions("g")) == []


def test_a_later_plain_commit_outlives_an_earlier_transactional_one() -> None:
    offsets = Offsets()
    offsets.apply(stored(2), 0, 7)
    offsets.apply(stored(9), 1, -1)
    offsets.apply_marker(7, True)
    assert value(offsets) == 9


def test_a_tombstone_deletes_pending_offsets_too() -> None:
    offsets = Offsets()
    offsets.apply(stored(1), 0, -1)
    offsets.apply(stored(2), 1, 7)
    offsets.apply(stored(None), 2, -1)
    assert not offsets.exists("g", "t", 0)
    offsets.apply_marker(7, True)
    assert value(offsets) is None
    assert offsets.of_group("g") == {}


def test_two_producers_commit_for_one_group() -> None:
    offsets = Offsets()
    offsets.apply(stored(1, 0), 0, 7)
    offsets.apply(stored(2, 1), 1, 8)
    assert set(offsets.partitions("g")) == {("t", 0), ("t", 1)}
    offsets.apply_marker(7, True)
    assert offsets.is_pending("g", "t", 1)
    assert (value(offsets, 0), value(offsets, 1)) == (1, None)
    offsets.apply_marker(8, True)
    assert value(offsets, 1) == 2


def test_the_offsets_of_a_topic_are_found_in_every_group() -> None:
    offsets = Offsets()
    offsets.apply(stored(1), 0, -1)
    offsets.apply(stored(1, group="h"), 1, 7)
    assert list(offsets.groups_with_topics({"t"})) == [stored(None), stored(None, group="h")]
    assert list(offsets.groups_with_topics({"u"})) == []


DAY_MS = 86_400_000


def test_nothing_expires_while_a_transaction_is_open() -> None:
    world = GroupWorld()
    world.shard.apply(stored(1), 0, -1)
    world.shard.apply(stored(2), 1, 7)
    world.advance(30 * DAY_MS)
    assert value(world.shard.offsets) == 1
    assert "g" in world.shard.groups
    world.shard.apply_marker(7, False)
    world.advance(DAY_MS)
    assert value(world.shard.offsets) is None
    assert "g" not in world.shard.groups


def test_a_group_whose_other_offsets_expire_stays_for_those_that_are_pending() -> None:
    offsets = Offsets()
    offsets.apply(stored(1, 0), 0, -1)
    offsets.apply(stored(2, 1), 1, 7)
    group = GroupWorld().shard.new_group(Kind.CLASSIC, "g")
    expired = [stored(None, 0)]
    assert offsets.expired("g", group, 30 * DAY_MS, 7 * DAY_MS) == (expired, False)
    offsets.apply_marker(7, False)
    assert offsets.expired("g", group, 30 * DAY_MS, 7 * DAY_MS) == (expired, True)


def test_a_group_with_nothing_but_pending_offsets_is_not_forgotten() -> None:
    world = GroupWorld()
    world.shard.apply(stored(2), 0, 7)
    world.advance(30 * DAY_MS)
    assert "g" in world.shard.groups
    world.shard.apply_marker(7, True)
    assert value(world.shard.offsets) == 2


def test_a_deleted_group_takes_its_pending_offsets_along() -> None:
    world = GroupWorld()
    world.shard.apply(stored(2), 0, 7)
    assert world.run("delete-group")[-1] == "admin <- g NONE"
    world.shard.apply_marker(7, True)
    assert value(world.shard.offsets) is None
    assert "g" not in world.shard.groups
