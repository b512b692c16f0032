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
    return await prepared_again(talk, *values, stem="")


async def prepared_again(talk: Talk, *values: str, stem: str = "again") -> tuple[str, str, bytes]:
    """The same, with names of their own."""
    group, topic = talk.name(f"g{stem}"), await talk.topic(f"t{stem}", 1)
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
    await bad_fetches(talk, group, topic_id)
    await deliveries(talk)
    if talk.version >= 2:
        await renewals(talk)


async def bad_fetches(talk: Talk, group: str, topic_id: bytes) -> None:
    """Fetches that name what is not there, or nothing."""
    quick = {"max_wait_ms": 0}
    await talk.ask("an unknown topic", **fetching(group, 0, ABSENT, **quick))
    await talk.ask("and goes on", **fetching(group, 1, topic_id, **quick))
    unknown = fetching(group, 0, topic_id, **quick)
    unknown["topics"][0]["partitions"][0]["partition_index"] = 9
    await talk.ask("an unknown partition", **unknown)
    await talk.bad("no group", **fetching("", 0, topic_id))
    await talk.bad("a null group", **{**fetching(group, 0, topic_id, **quick), "group_id": None})
    await talk.bad("no member", **fetching(group, 0, topic_id, member_id="", **quick))
    await talk.bad("a null member", **fetching(group, 0, topic_id, member_id=None, **quick))
    await talk.ask("an unknown group", **fetching(talk.name("h"), 0, topic_id))
    await talk.ask("not a member", **fetching(group, 0, topic_id, member_id="x", **quick))
    empty = {**fetching(group, 0, topic_id, **quick), "topics": []}
    await talk.ask("no topics", **empty)
    await talk.ask("no topics, the last", **{**empty, "share_session_epoch": -1})
    await talk.ask("an epoch below the last", **fetching(group, -2, topic_id, **quick))
    await talk.ask("less than no bytes", **fetching(group, 0, topic_id, max_bytes=-1, **quick))
    await talk.ask("no bytes", **fetching(group, 0, topic_id, max_bytes=0, **quick))
    await talk.ask("less than no records", **fetching(group, 0, topic_id, max_records=-1, **quick))
    await talk.ask("forgets", **fetching(group, 0, topic_id, **quick))
    forgotten = [{"topic_id": topic_id, "partitions": [0]}, {"topic_id": ABSENT, "partitions": [0]}]
    gone = {**fetching(group, 1, topic_id, **quick), "topics": []}
    await talk.ask("what it forgot", **{**gone, "forgotten_topics_data": forgotten})


async def held(talk: Talk, group: str, topic_id: bytes, **rest: Any) -> None:
    """A new session of the member, with everything there is acquired."""
    while True:
        answer = await talk.tell(78, 1, **fetching(group, 0, topic_id, **rest))
        if answer.responses and answer.responses[0].partitions[0].acquired_records:
            return


async def deliveries(talk: Talk) -> None:
    """What is said of a record, and what it leads to."""
    group, _, topic_id = await prepared_again(talk, "a", "b", "c", "d", "e", "f")
    quick = {"max_wait_ms": 0}
    first = fetching(group, 0, topic_id)
    while True:
        answer = await talk.tell(78, talk.version, **first)
        if answer.responses and answer.responses[0].partitions[0].acquired_records:
            break
    await talk.good("some of each", **fetching(group, 1, topic_id, ack(0, 3, 1, 2, 3, 0)))
    await talk.ask(
        "one behind the other", **fetching(group, 4, topic_id, ack(5, 5, 1), ack(4, 4, 1))
    )
    await talk.ask("a kind below 0", **fetching(group, 5, topic_id, ack(4, 4, -1), **quick))
    await talk.ask("no kind", **fetching(group, 6, topic_id, ack(4, 4), **quick))
    await talk.ask("below 0", **fetching(group, 7, topic_id, ack(-1, 0, 1), **quick))
    await talk.ask("beyond the end", **fetching(group, 8, topic_id, ack(5, 6, 1), **quick))
    await talk.tell(76, 1, **beating(group, "m", -1))
    await talk.ask("after it left", **fetching(group, 9, topic_id, ack(4, 4, 2), **quick))
    await talk.ask("its last", **fetching(group, -1, topic_id, ack(5, 5, 1), **quick))


async def renewals(talk: Talk) -> None:
    """Longer locks (KIP-1222)."""
    group, _, topic_id = await prepared_again(talk, "a", "b", stem="renew")
    nothing = {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 0, "max_records": 0}
    await held(talk, group, topic_id)
    await talk.good(
        "renews", **fetching(group, 1, topic_id, ack(0, 0, 4), is_renew_ack=True, **nothing)
    )
    await talk.ask(
        "renews and wants records", **fetching(group, 2, topic_id, ack(0, 0, 4), is_renew_ack=True)
    )
    await talk.ask(
        "renews without a word", **fetching(group, 2, topic_id, ack(0, 0, 4), max_wait_ms=0)
    )
    await talk.ask(
        "accepts and renews",
        **fetching(group, 3, topic_id, ack(0, 1, 1, 4), is_renew_ack=True, **nothing),
    )
    await talk.ask(
        "renews what is over",
        **fetching(group, 4, topic_id, ack(0, 0, 4), is_renew_ack=True, **nothing),
    )


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
    group, _, topic_id = await prepared_again(talk, "a", "b", "c")
    await held(talk, group, topic_id)
    await talk.bad("no group", **{**saying(1, ack(0, 0, 1), member_id="n"), "group_id": ""})
    await talk.bad("a null group", **{**saying(1, ack(0, 0, 1)), "group_id": None})
    await talk.bad("no member", **saying(1, ack(0, 0, 1), member_id=""))
    await talk.bad("a null member", **saying(1, ack(0, 0, 1), member_id=None))
    await talk.ask("another member", **saying(1, ack(0, 0, 1), member_id="x"))
    unknown = saying(1, ack(0, 0, 1), topic=topic_id)
    unknown["topics"][0]["partitions"][0]["partition_index"] = 9
    await talk.ask("an unknown partition", **{**unknown, "group_id": group})
    here = {"topic": topic_id, "group_id": group}
    await talk.ask("nothing", **saying(2, **here))
    await talk.ask("a kind below 0", **saying(3, ack(0, 0, -1), **here))
    await talk.ask("an unknown kind", **saying(4, ack(0, 0, 9), **here))
    await talk.ask("below 0", **saying(5, ack(-1, 0, 1), **here))
    await talk.ask("renews", **saying(6, ack(0, 0, 4), **here))
    if talk.version >= 2:
        await talk.ask("renews, as it says", **saying(7, ack(0, 0, 4), is_renew_ack=True, **here))
        await talk.ask(
            "accepts, as if it renewed", **saying(8, ack(0, 0, 1), is_renew_ack=True, **here)
        )
    await talk.tell(76, 1, **beating(group, "m", -1))
    await talk.ask("after it left", **saying(9 if talk.version >= 2 else 7, ack(1, 1, 1), **here))
    await talk.ask("its last", **saying(-1, ack(2, 2, 1), **here))


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
    await talk.ask("no group", **asking("", one))
    await talk.ask("everything of no group", **asking("", None))
    below = [{"topic_name": topic, "partitions": [-1]}]
    await talk.ask("a partition below 0", **asking(group, below))
    await talk.ask("no groups", groups=[])
    await talk.ask("no topics", **asking(group, []))
    classic = talk.name("c")
    await talk.tell(
        8,
        7,
        group_id=classic,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[{"name": topic, "partitions": [{"partition_index": 0, "committed_offset": 1}]}],
    )
    await talk.ask("a group of another kind", **asking(classic, one))


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
    await talk.ask("a group that is not there", **asking(talk.name("h")))
    described = {"groups": [{"group_id": talk.name("h"), "topics": None}]}
    talk.note("what it made", "", await talk.tell(90, 1, **described), 1)
    await talk.ask("no group", **asking(""))
    classic = talk.name("c")
    await talk.tell(
        8,
        7,
        group_id=classic,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[{"name": topic, "partitions": [{"partition_index": 0, "committed_offset": 1}]}],
    )
    await talk.ask("a group of another kind", **asking(classic))
    await talk.ask("no topics", group_id=group, topics=[])
    row = {"partition_index": 0, "start_offset": -5}
    await talk.ask("below 0", group_id=group, topics=[{"topic_name": topic, "partitions": [row]}])


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
    await talk.bad("no group", **asking(""))
    await talk.ask("no topics", group_id=group, topics=[])
