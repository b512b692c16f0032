"""Share groups (KIP-932): members, fetching and acknowledging, offsets, the stored state."""

import asyncio
from typing import Any

from tests.support.versions.talk import Talk, batch, scenario

ABSENT = bytes(15) + b"\7"


def beating(group: str, member: str, epoch: int, **rest: Any) -> dict[str, Any]:
    return {"group_id": group, "member_id": member, "member_epoch": epoch, **rest}


def at(topic_id: bytes, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"topics": [{"topic_id": topic_id, "partitions": list(rows)}]}


async def at_once(talk: Talk, group: str) -> None:
    """Have every change of the group assigned without a wait."""
    row = {"name": "share.assignment.interval.ms", "config_operation": 0, "value": "0"}
    resource = {"resource_type": 32, "resource_name": group, "configs": [row]}
    await talk.tell(44, 1, resources=[resource])


async def prepared(talk: Talk, *values: str) -> tuple[str, str, bytes]:
    """A group that begins at the earliest, with a member that has a topic's one partition."""
    group, topic = talk.name("g"), await talk.topic("t", 1)
    topic_id = talk.topic_id(topic)
    await talk.led(topic, 0)
    if values:
        await talk.append(topic, batch(*values))
    await talk.group_ready(group)
    await talk.tell(
        44,
        1,
        resources=[
            {
                "resource_type": 32,
                "resource_name": group,
                "configs": [
                    {
                        "name": "share.auto.offset.reset",
                        "config_operation": 0,
                        "value": "earliest",
                    }
                ],
            }
        ],
    )
    epoch = 0
    while True:
        names = [topic] if epoch == 0 else None
        answer = await talk.tell(76, 1, **beating(group, "m", epoch, subscribed_topic_names=names))
        assert answer.error_code == 0, answer
        if answer.assignment is not None and answer.assignment.topic_partitions:
            return group, topic, topic_id
        epoch = answer.member_epoch
        await asyncio.sleep(0.05)


async def left(talk: Talk, group: str) -> None:
    answer = await talk.tell(76, 1, **beating(group, "m", -1))
    assert answer.error_code == 0, answer


def fetching(group: str, epoch: int, topic_id: bytes, *acks: Any, **rest: Any) -> dict[str, Any]:
    row = {"partition_index": 0, "acknowledgement_batches": list(acks)}
    return {
        "group_id": group,
        "member_id": "m",
        "share_session_epoch": epoch,
        "max_wait_ms": 500,
        "min_bytes": 1,
        "max_bytes": 1_000_000,
        "max_records": 500,
        "batch_size": 500,
        **at(topic_id, row),
        **rest,
    }


def ack(first: int, last: int, *kinds: int) -> dict[str, Any]:
    return {"first_offset": first, "last_offset": last, "acknowledge_types": list(kinds)}


@scenario(76)
async def share_group_heartbeat(talk: Talk) -> None:
    group = talk.name("g")
    await talk.group_ready(group)
    await at_once(talk, group)
    names = [talk.name("no-such-topic")]
    await talk.bad("no group", **beating("", "m", 0, subscribed_topic_names=names))
    await talk.bad("no member", **beating(group, "", 0, subscribed_topic_names=names))
    await talk.bad("no topics", **beating(group, "m", 0))
    await talk.bad(
        "an empty rack", **beating(group, "m", 0, rack_id="", subscribed_topic_names=names)
    )
    await talk.bad("an epoch below -1", **beating(group, "m", -2, subscribed_topic_names=names))
    await talk.bad("an unknown group", **beating(group, "m", 1))
    await talk.good("joins", **beating(group, "m", 0, subscribed_topic_names=names))
    await talk.good("goes on", **beating(group, "m", 2))
    await talk.bad("an epoch from the future", **beating(group, "m", 7))
    await talk.bad("an unknown member", **beating(group, "n", 1))
    await talk.good("another joins", **beating(group, "n", 0, subscribed_topic_names=names))
    await talk.good("the first goes on in its epoch", **beating(group, "m", 2))
    await talk.good("leaves", **beating(group, "m", -1))
    await talk.bad("leaves again", **beating(group, "m", -1))


@scenario(77)
async def share_group_describe(talk: Talk) -> None:
    group = talk.name("g")
    await talk.group_ready(group)
    names = [talk.name("no-such-topic")]
    await talk.tell(76, 1, **beating(group, "m", 0, subscribed_topic_names=names))
    await talk.good("a group", group_ids=[group])
    await talk.good("its operations", group_ids=[group], include_authorized_operations=True)
    await talk.bad("an unknown group", group_ids=[talk.name("absent")])
    await talk.tell(76, 1, **beating(group, "m", -1))
    await talk.good("an empty group", group_ids=[group])
    await talk.good("none", group_ids=[])


@scenario(78)
async def share_fetch(talk: Talk) -> None:
    group, _, topic_id = await prepared(talk, "a", "b", "c", "d")
    await talk.bad("no session", **fetching(group, 1, topic_id))
    await talk.bad("first with acknowledgements", **fetching(group, 0, topic_id, ack(0, 0, 1)))
    first = fetching(group, 0, topic_id)
    while True:
        answer = await talk.tell(78, talk.version, **first)
        if answer.responses and answer.responses[0].partitions[0].acquired_records:
            break
    await talk.bad("another epoch", **fetching(group, 5, topic_id))
    await talk.good(
        "acknowledges",
        **fetching(group, 1, topic_id, ack(0, 0, 1), ack(1, 2, 1), max_wait_ms=0),
    )
    await talk.good(
        "acknowledges again", **fetching(group, 2, topic_id, ack(0, 0, 1), max_wait_ms=0)
    )
    await talk.good("an unknown kind", **fetching(group, 3, topic_id, ack(3, 3, 9), max_wait_ms=0))
    await talk.good("the last", **fetching(group, -1, topic_id, ack(3, 3, 1), max_wait_ms=0))
    await talk.bad("after the last", **fetching(group, -1, topic_id))


@scenario(79)
async def share_acknowledge(talk: Talk) -> None:
    group, _, topic_id = await prepared(talk, "a", "b", "c", "d")

    def saying(epoch: int, *acks: Any, topic: bytes = topic_id, **rest: Any) -> dict[str, Any]:
        row = {"partition_index": 0, "acknowledgement_batches": list(acks)}
        return {
            "group_id": group,
            "member_id": "m",
            "share_session_epoch": epoch,
            **at(topic, row),
            **rest,
        }

    await talk.bad("no session", **saying(1, ack(0, 0, 1)))
    while True:
        answer = await talk.tell(78, 1, **fetching(group, 0, topic_id))
        if answer.responses and answer.responses[0].partitions[0].acquired_records:
            break
    await talk.bad("a first epoch", **saying(0, ack(0, 0, 1)))
    await talk.good("accepts", **saying(1, ack(0, 0, 1)))
    await talk.good("again", **saying(2, ack(0, 0, 1), ack(1, 1, 1)))
    await talk.bad("what was never there", **saying(3, ack(90, 99, 1)))
    await talk.bad("backwards", **saying(4, ack(3, 2, 1)))
    await talk.bad("too few kinds", **saying(5, ack(1, 3, 1, 1)))
    await talk.bad("a topic that is not there", **saying(6, ack(0, 0, 1), topic=ABSENT))
    await talk.bad("another epoch", **saying(3, ack(1, 1, 1)))
    await talk.good("each its kind", **saying(7, ack(1, 3, 1, 2, 3)))
    await talk.good("the last", **saying(-1))
    await talk.bad("after the last", **saying(-1))


STATE = {"state_epoch": 5, "start_offset": 10}


async def with_state(talk: Talk) -> tuple[str, bytes]:
    """A topic of one partition with stored state of a made up group; the coordinator is ready."""
    group, topic = talk.name("g"), await talk.topic("t", 1)
    topic_id = talk.topic_id(topic)
    while True:
        row = {"partition": 0, **STATE}
        answer = await talk.tell(83, 0, group_id=group, **at(topic_id, row))
        if answer.results[0].partitions[0].error_code == 0:
            return group, topic_id
        await asyncio.sleep(0.05)


@scenario(83)
async def initialize_share_group_state(talk: Talk) -> None:
    group, topic_id = await with_state(talk)
    row = {"partition": 0, **STATE}
    await talk.good("again", group_id=group, **at(topic_id, row))
    old = {"partition": 0, "state_epoch": 4, "start_offset": 0}
    await talk.bad("an older epoch", group_id=group, **at(topic_id, old))
    await talk.bad("an unknown topic", group_id=group, **at(ABSENT, row))
    await talk.bad("an unknown partition", group_id=group, **at(topic_id, {**row, "partition": 9}))


@scenario(84)
async def read_share_group_state(talk: Talk) -> None:
    group, topic_id = await with_state(talk)
    row = {"partition": 0, "leader_epoch": 3}
    await talk.good("a new leader", group_id=group, **at(topic_id, row))
    await talk.bad(
        "an older leader", group_id=group, **at(topic_id, {"partition": 0, "leader_epoch": 2})
    )
    await talk.bad("a group without state", group_id=talk.name("h"), **at(topic_id, row))
    await talk.bad("an unknown topic", group_id=group, **at(ABSENT, row))


def written(**rest: Any) -> dict[str, Any]:
    stretch = {"first_offset": 11, "last_offset": 15, "delivery_state": 2, "delivery_count": 1}
    return {
        "partition": 0,
        "state_epoch": 5,
        "leader_epoch": 1,
        "start_offset": 10,
        "state_batches": [stretch],
        **rest,
    }


@scenario(85)
async def write_share_group_state(talk: Talk) -> None:
    group, topic_id = await with_state(talk)
    await talk.good("a write", group_id=group, **at(topic_id, written()))
    await talk.good("an older leader", group_id=group, **at(topic_id, written(leader_epoch=0)))
    await talk.bad("an older state", group_id=group, **at(topic_id, written(state_epoch=4)))
    await talk.bad("a group without state", group_id=talk.name("h"), **at(topic_id, written()))
    await talk.bad("an unknown topic", group_id=group, **at(ABSENT, written()))


@scenario(86)
async def delete_share_group_state(talk: Talk) -> None:
    group, topic_id = await with_state(talk)
    await talk.good("state", group_id=group, **at(topic_id, {"partition": 0}))
    await talk.good("again", group_id=group, **at(topic_id, {"partition": 0}))
    await talk.bad("an unknown topic", group_id=group, **at(ABSENT, {"partition": 0}))
    await talk.bad("an unknown partition", group_id=group, **at(topic_id, {"partition": 9}))


@scenario(87)
async def read_share_group_state_summary(talk: Talk) -> None:
    group, topic_id = await with_state(talk)
    row = {"partition": 0, "leader_epoch": 0}
    await talk.good("state", group_id=group, **at(topic_id, row))
    await talk.tell(85, 1, group_id=group, **at(topic_id, written(delivery_complete_count=5)))
    await talk.good("written", group_id=group, **at(topic_id, row))
    await talk.good("a group without state", group_id=talk.name("h"), **at(topic_id, row))
    await talk.bad("an unknown topic", group_id=group, **at(ABSENT, row))
    await talk.bad("an unknown partition", group_id=group, **at(topic_id, {**row, "partition": 9}))


@scenario(90)
async def describe_share_group_offsets(talk: Talk) -> None:
    group, topic, _ = await prepared(talk, "a", "b")

    def asking(name: str, topics: Any) -> dict[str, Any]:
        return {"groups": [{"group_id": name, "topics": topics}]}

    one = [{"topic_name": topic, "partitions": [0]}]
    await talk.good("before any fetch", **asking(group, one))
    await talk.good("everything", **asking(group, None))
    await talk.good(
        "an unknown topic",
        **asking(group, [{"topic_name": talk.name("absent"), "partitions": [0]}]),
    )
    await talk.good("an unknown group", **asking(talk.name("h"), one))
    await talk.good("everything of an unknown group", **asking(talk.name("h"), None))


@scenario(91)
async def alter_share_group_offsets(talk: Talk) -> None:
    group, topic, _ = await prepared(talk, "a", "b")

    def asking(name: str, number: int = 0, of: str = topic) -> dict[str, Any]:
        row = {"partition_index": number, "start_offset": 1}
        return {"group_id": name, "topics": [{"topic_name": of, "partitions": [row]}]}

    await talk.bad("a group with members", **asking(group))
    await left(talk, group)
    await talk.good("an empty group", **asking(group))
    await talk.bad("an unknown partition", **asking(group, 7))
    await talk.bad("an unknown topic", **asking(group, of=talk.name("absent")))


@scenario(92)
async def delete_share_group_offsets(talk: Talk) -> None:
    group, topic, _ = await prepared(talk, "a", "b")

    def asking(name: str, of: str = topic) -> dict[str, Any]:
        return {"group_id": name, "topics": [{"topic_name": of}]}

    await talk.bad("a group with members", **asking(group))
    await left(talk, group)
    await talk.bad("an unknown topic", **asking(group, talk.name("absent")))
    await talk.good("an empty group", **asking(group))
    await talk.ask("again", **asking(group))
    await talk.bad("an unknown group", **asking(talk.name("h")))
