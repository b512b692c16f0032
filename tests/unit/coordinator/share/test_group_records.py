"""The records of share groups, written and read back."""

from tests.support.share_world import ShareWorld, play, topic_id

from ottla.coordinator.group.records import ModernStored, decode, encode
from ottla.coordinator.share import group_records as rows
from ottla.coordinator.share.group import ShareGroup, ShareMember
from ottla.metadata.image import Image


def read_back(record: object) -> ModernStored:
    again = decode(*encode(record))  # type: ignore[arg-type]
    assert isinstance(again, ModernStored)
    return again


def member() -> ShareMember:
    one = ShareMember("m")
    one.rack_id, one.client_id, one.client_host = "r", "c", "/h"
    one.topics = ("u", "t")
    one.epoch, one.previous_epoch, one.assigned = 3, 2, {topic_id(): (0, 1)}
    return one


def test_every_record_has_its_type_and_comes_back() -> None:
    topics = {topic_id(): ("t", (0, 1))}
    records = [
        rows.member("g", member()),
        rows.epoch("g", 3, -5),
        rows.target_epoch("g", 3, 1_000),
        rows.target("g", "m", {topic_id(): (0, 1)}),
        rows.current("g", member()),
        rows.state("g", topics, {}, {topic_id("u"): "u"}),
        *rows.member_gone("g", "m"),
    ]
    again = [read_back(record) for record in records]
    assert [record.record_type for record in again] == [10, 11, 12, 13, 14, 15, 14, 13, 10]
    assert again == records


def test_what_a_record_says_is_what_is_read() -> None:
    value = read_back(rows.state("g", {topic_id(): ("t", (1,))}, {}, {topic_id("u"): "u"})).value
    assert rows.read_state(value) == ({topic_id(): ("t", (1,))}, {}, {topic_id("u"): "u"})  # type: ignore[arg-type]
    assert rows.read_state(None) == ({}, {}, {})
    target = read_back(rows.target("g", "m", {topic_id(): (0, 2)})).value
    assert rows.assignment(target.topic_partitions) == {topic_id(): (0, 2)}  # type: ignore[union-attr]


def test_a_group_is_the_same_after_its_log_is_read_again() -> None:
    def shown(group: ShareGroup) -> object:
        members = {
            one.member_id: (one.epoch, one.previous_epoch, one.topics, one.assigned, one.client_id)
            for one in group.members.values()
        }
        stored = (group.initialized, group.initializing, group.deleting, group.metadata_hash)
        return members, group.epoch, group.target_epoch, group.target, stored

    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t", rack_id="r")
        await world.beat("b", "t", "u")
        await world.beat("a")
        before = shown(world.group)
        await world.restart()
        assert shown(world.group) == before
        assert world.groups.surroundings.image != Image()

    play(scenario)
