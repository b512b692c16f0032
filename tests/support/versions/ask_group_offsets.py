"""OffsetCommit, OffsetFetch, OffsetDelete."""

from typing import Any

from tests.support.versions.ask_groups import committed, member_of
from tests.support.versions.talk import Talk, scenario

NOBODY = b"no such topic id"


@scenario(8)
async def offset_commit(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2)
    group = talk.name("g")
    await talk.group_ready(group)

    def commit(
        offset: int = 5, partition: int = 0, name: str = topic, **rest: Any
    ) -> dict[str, Any]:
        row = {"partition_index": partition, "committed_offset": offset}
        row["committed_metadata"] = rest.pop("metadata", "note")
        row["committed_leader_epoch"] = rest.pop("epoch", 0)
        return {"group_id": group, "topics": [of(name, row)], **rest}

    def of(name: str, *rows: dict[str, Any]) -> dict[str, Any]:
        known = name in talk.topics.values()
        topic_id = talk.topic_id(name) if known else NOBODY
        return {"name": name, "topic_id": topic_id, "partitions": list(rows)}

    await talk.good("without a group", **commit())
    await talk.good("null metadata", **commit(metadata=None))
    await talk.good("empty metadata", **commit(metadata=""))
    await talk.good("no leader epoch", **commit(epoch=-1))
    await talk.ask("leader epoch -2", **commit(epoch=-2))
    await talk.ask("offset -1", **commit(-1))
    await talk.ask("offset -2", **commit(-2))
    await talk.bad("long metadata", **commit(metadata="x" * 4097))
    await talk.good("metadata of the longest", **commit(metadata="x" * 4096))
    await talk.bad("unknown topic", **commit(name=talk.name("unknown")))
    await talk.bad("illegal topic", **commit(name="a/b"))
    await talk.ask("partition out of range", **commit(partition=2))
    await talk.ask("partition below zero", **commit(partition=-1))
    await talk.ask("no group", **commit(group_id=""))
    await talk.tell(42, 1, groups_names=[""])  # others count on its absence
    await talk.ask("a member of an empty group", **commit(member_id="x"))
    await talk.bad(
        "a generation of no group",
        **commit(group_id=talk.name("h"), member_id="x", generation_id_or_member_epoch=3),
    )
    await talk.bad("a generation, no member", **commit(generation_id_or_member_epoch=3))
    row = {"partition_index": 0, "committed_offset": 1, "committed_metadata": ""}
    bad_row = {**row, "partition_index": 9}
    await talk.ask(
        "good and bad",
        group_id=group,
        topics=[of(talk.name("unknown"), row), of(topic, bad_row, row)],
    )
    await talk.ask("a partition twice", group_id=group, topics=[of(topic, row, row)])
    await talk.ask("a topic twice", group_id=group, topics=[of(topic, row), of(topic, row)])
    await talk.good("no topics", group_id=group, topics=[])
    await talk.good("no partitions", group_id=group, topics=[of(topic)])
    if talk.version >= 10:
        nameless = {"topic_id": bytes(16), "partitions": [row]}
        await talk.bad("no topic id", group_id=group, topics=[nameless])
    await talk.ask("kept for a while", **commit(retention_time_ms=1000))
    live = talk.name("live")
    member = await member_of(talk, live)
    mine = {"group_id": live, "member_id": member, "generation_id_or_member_epoch": 1}
    await talk.good("a member", **commit(**mine))
    await talk.bad("an older generation", **commit(**{**mine, "generation_id_or_member_epoch": 0}))
    await talk.bad("an unknown member", **commit(**{**mine, "member_id": "nobody"}))
    await talk.bad("nobody of a group with members", **commit(group_id=live))
    if talk.version >= 7:
        await talk.bad("an unknown instance", **commit(**mine, group_instance_id="one"))
    waiting = talk.name("waiting")
    member = await member_of(talk, waiting, stable=False)
    await talk.ask(
        "while it rebalances",
        **commit(group_id=waiting, member_id=member, generation_id_or_member_epoch=1),
    )


@scenario(9)
async def offset_fetch(talk: Talk) -> None:
    group = talk.name("g")
    topic = await committed(talk, group)

    def fetch(*topics: tuple[str, list[int]], group_id: str = group, **rest: Any) -> dict[str, Any]:
        rows = [of(name, numbers) for name, numbers in topics]
        old = {
            "group_id": group_id,
            "topics": [{"name": name, "partition_indexes": numbers} for name, numbers in topics],
        }
        return {**old, "groups": [{"group_id": group_id, "topics": rows}], **rest}

    def of(name: str, numbers: list[int]) -> dict[str, Any]:
        known = name in talk.topics.values()
        topic_id = talk.topic_id(name) if known else NOBODY
        return {"name": name, "topic_id": topic_id, "partition_indexes": numbers}

    def everything(group_id: str) -> dict[str, Any]:
        return {
            "group_id": group_id,
            "topics": None,
            "groups": [{"group_id": group_id, "topics": None}],
        }

    await talk.good("one offset", **fetch((topic, [0])))
    await talk.good("none committed", **fetch((topic, [1])))
    await talk.good("two partitions", **fetch((topic, [1, 0])))
    await talk.ask("partition out of range", **fetch((topic, [9, -1])))
    await talk.ask("unknown topic", **fetch((talk.name("unknown"), [0])))
    await talk.ask("illegal topic", **fetch(("a/b", [0])))
    await talk.ask("unknown group", **fetch((topic, [0]), group_id=talk.name("h")))
    await talk.ask("no group", **fetch((topic, [0]), group_id=""))
    await talk.ask("a partition twice", **fetch((topic, [0, 0])))
    await talk.ask("a topic twice", **fetch((topic, [0]), (topic, [1])))
    await talk.good("no partitions", **fetch((topic, [])))
    await talk.good("no topics", **fetch())
    if talk.version >= 2:
        await talk.good("everything", **everything(group))
        await talk.ask("everything of an unknown group", **everything(talk.name("h")))
    if talk.version >= 7:
        await talk.good("stable", **fetch((topic, [0]), require_stable=True))
    if talk.version >= 8:
        one = {"group_id": group, "topics": [of(topic, [0])]}
        other = {"group_id": talk.name("h"), "topics": None}
        await talk.ask("two groups", groups=[one, other])
        await talk.ask("a group twice", groups=[one, one])
        await talk.good("no groups", groups=[])
    if talk.version >= 9:
        mine = {"group_id": group, "topics": [of(topic, [0])], "member_id": "x", "member_epoch": 3}
        await talk.ask("a member of a group without", groups=[mine])
        live = talk.name("live")
        member = await member_of(talk, live)
        for case, name, epoch in (
            ("its member", member, 1),
            ("a stranger", "x", 1),
            ("old", member, 0),
        ):
            row = {**mine, "group_id": live, "member_id": name, "member_epoch": epoch}
            await talk.ask(f"of a classic group: {case}", groups=[row])
        gone = {**mine, "group_id": talk.name("none")}
        await talk.ask("a member of no group", groups=[gone])
    if talk.version >= 10:
        nameless = {
            "group_id": group,
            "topics": [{"topic_id": bytes(16), "partition_indexes": [0]}],
        }
        await talk.ask("no topic id", groups=[nameless])


@scenario(47)
async def offset_delete(talk: Talk) -> None:
    group = talk.name("g")
    topic = await committed(talk, group)

    def delete(*topics: tuple[str, list[int]], group_id: str = group) -> dict[str, Any]:
        return {
            "group_id": group_id,
            "topics": [
                {"name": name, "partitions": [{"partition_index": i} for i in numbers]}
                for name, numbers in topics
            ],
        }

    await talk.bad("unknown group", **delete((topic, [0]), group_id=talk.name("h")))
    await talk.bad("no group", **delete((topic, [0]), group_id=""))
    await talk.bad("unknown topic", **delete((talk.name("unknown"), [0])))
    await talk.bad("illegal topic", **delete(("a/b", [0])))
    await talk.bad("partition out of range", **delete((topic, [9])))
    await talk.good("none committed", **delete((topic, [1])))
    await talk.good("no partitions", **delete((topic, [])))
    await talk.good("no topics", **delete())
    await talk.ask("good and bad", **delete((talk.name("unknown"), [0]), (topic, [0, 9])))
    await talk.ask("a partition twice", **delete((topic, [0, 0])))
    await talk.good("gone already", **delete((topic, [0])))
    live = talk.name("live")
    await member_of(talk, live)
    await talk.ask("of a group with members", **delete((topic, [0]), group_id=live))
    other = talk.name("connect")
    await member_of(talk, other, protocol_type="connect")
    await talk.ask("of another protocol", **delete((topic, [0]), group_id=other))
