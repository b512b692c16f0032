"""Classic groups: joining to leaving, describing, listing, deleting."""

from typing import Any

from tests.support.group_world import subscription
from tests.support.versions.talk import Talk, scenario

PROTOCOLS = [{"name": "range", "metadata": subscription("t")}]


def joining(group: str, member: str = "", **rest: Any) -> dict[str, Any]:
    return {
        "group_id": group,
        "member_id": member,
        "session_timeout_ms": 30_000,
        "rebalance_timeout_ms": 30_000,
        "protocol_type": "consumer",
        "protocols": PROTOCOLS,
        **rest,
    }


async def member_of(talk: Talk, group: str, *, stable: bool = True, **rest: Any) -> str:
    """A group with one member; return its id."""
    await talk.group_ready(group)
    answer = await talk.tell(11, 5, **joining(group, **rest))
    if answer.error_code == 79:
        answer = await talk.tell(11, 5, **joining(group, answer.member_id, **rest))
    assert answer.error_code == 0, answer
    member = str(answer.member_id)
    if stable:
        assigned = [{"member_id": member, "assignment": b"mine"}]
        synced = await talk.tell(
            14, 3, group_id=group, generation_id=1, member_id=member, assignments=assigned
        )
        assert synced.error_code == 0, synced
    return member


@scenario(11)
async def join_group(talk: Talk) -> None:
    group = talk.name("g")
    await talk.group_ready(group)
    await talk.bad("no group", **joining(""))
    first = await talk.ask("with no member id", **joining(group))
    member = first.member_id
    if first.error_code:
        await talk.good("with the id it was given", **joining(group, member))
    await talk.bad("an unknown member", **joining(group, "nobody"))
    await talk.bad("an unknown group's member", **joining(talk.name("h"), "nobody"))
    await talk.bad("a session too short", **joining(group, member, session_timeout_ms=10))
    await talk.bad("a session too long", **joining(group, member, session_timeout_ms=2**31 - 1))
    await talk.bad("another protocol type", **joining(group, member, protocol_type="connect"))
    other = [{"name": "roundrobin", "metadata": b""}]
    await talk.ask("another protocol", **joining(group, member, protocols=other))
    await talk.bad("no protocols", **joining(talk.name("i"), protocols=[]))
    await talk.bad("no protocol type", **joining(talk.name("i"), protocol_type=""))
    await talk.good("again", **joining(group, member))
    await talk.ask("a reason", **joining(group, member, reason="because"))
    if talk.version >= 5:
        static = talk.name("s")
        await talk.group_ready(static)
        answer = await talk.good("a static member", **joining(static, group_instance_id="one"))
        await talk.good(
            "a static member again", **joining(static, answer.member_id, group_instance_id="one")
        )
        await talk.bad(
            "a static member, another id", **joining(static, "x", group_instance_id="one")
        )
        await talk.bad("an unknown instance", **joining(static, "x", group_instance_id="two"))
        for case, instance in {"empty": "", "illegal": "a/b", "long": "x" * 250}.items():
            request = joining(talk.name(case), group_instance_id=instance)
            await talk.ask(f"an instance id that is {case}", **request)
        await static_among_newer(talk)


async def static_among_newer(talk: Talk) -> None:
    """A static classic member of a group that has members of the newer protocol."""
    topic = await talk.topic("t", 1)
    group = talk.name("newer")
    await talk.group_ready(group)
    newer = {"rebalance_timeout_ms": 60_000, "subscribed_topic_names": [topic]}
    await talk.tell(68, 0, group_id=group, member_id="N", topic_partitions=[], **newer)
    protocols = [{"name": "range", "metadata": subscription(topic)}]
    static = {"group_instance_id": "one", "protocols": protocols}
    await talk.bad("an unknown instance among newer ones", **joining(group, "x", **static))
    old = (
        await talk.good("a static member among newer ones", **joining(group, **static))
    ).member_id
    await talk.good("a static member among newer ones again", **joining(group, old, **static))
    await talk.good("its heir", **joining(group, **static))
    await talk.bad("its old self", **joining(group, old, **static))


@scenario(14)
async def sync_group(talk: Talk) -> None:
    group = talk.name("g")
    member = await member_of(talk, group, stable=False)

    def sync(**rest: Any) -> dict[str, Any]:
        return {
            "group_id": group,
            "generation_id": 1,
            "member_id": member,
            "protocol_type": "consumer",
            "protocol_name": "range",
            "assignments": [{"member_id": member, "assignment": b"mine"}],
            **rest,
        }

    await talk.bad("an older generation", **sync(generation_id=0))
    await talk.bad("a newer generation", **sync(generation_id=2))
    await talk.bad("an unknown member", **sync(member_id="nobody"))
    await talk.bad("an unknown group", **sync(group_id=talk.name("h")))
    await talk.bad("no group", **sync(group_id=""))
    if talk.version >= 3:
        await talk.bad("an unknown instance", **sync(group_instance_id="one"))
    if talk.version >= 5:
        await talk.bad("another protocol type", **sync(protocol_type="connect"))
        await talk.bad("another protocol", **sync(protocol_name="roundrobin"))
        await talk.bad("no protocol type", **sync(protocol_type=None))
        await talk.bad("no protocol", **sync(protocol_name=None))
    await talk.good("the leader", **sync())
    await talk.good("again", **sync(assignments=[]))


@scenario(12)
async def heartbeat(talk: Talk) -> None:
    group = talk.name("g")
    member = await member_of(talk, group)

    def beat(**rest: Any) -> dict[str, Any]:
        return {"group_id": group, "generation_id": 1, "member_id": member, **rest}

    await talk.good("alive", **beat())
    await talk.bad("an older generation", **beat(generation_id=0))
    await talk.bad("a newer generation", **beat(generation_id=2))
    await talk.bad("an unknown member", **beat(member_id="nobody"))
    await talk.bad("no member", **beat(member_id=""))
    await talk.bad("an unknown group", **beat(group_id=talk.name("h")))
    await talk.bad("no group", **beat(group_id=""))
    if talk.version >= 3:
        await talk.bad("an unknown instance", **beat(group_instance_id="one"))
        static = talk.name("s")
        member = await member_of(talk, static, group_instance_id="one")
        await talk.good(
            "static", **beat(group_id=static, group_instance_id="one", member_id=member)
        )
        await talk.good("static, unsaid", **beat(group_id=static, member_id=member))
        await talk.bad(
            "static, another member",
            **beat(group_id=static, group_instance_id="one", member_id="nobody"),
        )


@scenario(13)
async def leave_group(talk: Talk) -> None:
    group = talk.name("g")
    member = await member_of(talk, group)

    def leave(group: str, *members: str, instance: str | None = None) -> dict[str, Any]:
        return {
            "group_id": group,
            "member_id": members[0],
            "members": [{"member_id": m, "group_instance_id": instance} for m in members],
        }

    await talk.bad("an unknown member", **leave(group, "nobody"))
    await talk.bad("no member", **leave(group, ""))
    await talk.bad("an unknown group", **leave(talk.name("h"), "nobody"))
    await talk.bad("no group", **leave("", "nobody"))
    if talk.version >= 3:
        await talk.bad("an unknown instance", **leave(group, member, instance="one"))
        static = talk.name("s")
        await member_of(talk, static, group_instance_id="one")
        await talk.bad("another member's instance", **leave(static, "x", instance="one"))
        await talk.good("by instance", **leave(static, "", instance="one"))
        await talk.ask("two at once", **leave(group, "nobody", member))
        await talk.ask("none", group_id=group, members=[])
        member = await member_of(talk, talk.name("i"))
        group = talk.name("i")
    await talk.good("leave", **leave(group, member))
    await talk.bad("leave again", **leave(group, member))


@scenario(15)
async def describe_groups(talk: Talk) -> None:
    group = talk.name("g")
    await member_of(talk, group)
    waiting = talk.name("waiting")
    await member_of(talk, waiting, stable=False)
    static = talk.name("s")
    await member_of(talk, static, group_instance_id="one")
    empty = talk.name("empty")
    await committed(talk, empty)
    unknown = talk.name("unknown")
    for case, name in {
        "stable": group,
        "waiting": waiting,
        "static": static,
        "empty": empty,
    }.items():
        await talk.good(case, groups=[name])
    await talk.good("what may be done", groups=[group], include_authorized_operations=True)
    bad = talk.bad if talk.version >= 6 else talk.ask
    await bad("unknown", groups=[unknown])
    await bad("unknown, what may be done", groups=[unknown], include_authorized_operations=True)
    await talk.ask("no name", groups=[""])
    await talk.ask("known and unknown", groups=[unknown, group])
    await talk.ask("a group twice", groups=[group, group])
    await talk.good("no groups", groups=[])


async def committed(talk: Talk, group: str) -> str:
    """A group with no members and one offset; return the offset's topic."""
    await talk.group_ready(group)
    topic = await talk.topic(f"of-{group[len(talk.prefix) :]}", partitions=2)
    rows = [{"partition_index": 0, "committed_offset": 5, "committed_metadata": "m"}]
    answer = await talk.tell(8, 2, group_id=group, topics=[{"name": topic, "partitions": rows}])
    assert answer.topics[0].partitions[0].error_code == 0, answer
    return topic


@scenario(16)
async def list_groups(talk: Talk) -> None:
    await member_of(talk, talk.name("g"))
    await member_of(talk, talk.name("waiting"), stable=False)
    await member_of(talk, talk.name("connect"), protocol_type="connect")
    await committed(talk, talk.name("empty"))
    await talk.good("all", own=True)
    if talk.version >= 4:
        for states in (
            ["Stable"],
            ["stable"],
            ["STABLE", "Empty"],
            ["CompletingRebalance"],
            ["no"],
        ):
            await talk.good(f"states {states}", own=True, states_filter=states)
    if talk.version >= 5:
        for kinds in (["classic"], ["Classic"], ["consumer"], ["classic", "share"], ["no"], [""]):
            await talk.ask(f"types {kinds}", own=True, types_filter=kinds)
        both = {"states_filter": ["Empty"], "types_filter": ["classic"]}
        await talk.good("state and type", own=True, **both)


@scenario(42)
async def delete_groups(talk: Talk) -> None:
    group, empty, second = talk.name("g"), talk.name("empty"), talk.name("second")
    await member_of(talk, group)
    await committed(talk, empty)
    await committed(talk, second)
    await talk.bad("one with members", groups_names=[group])
    await talk.good("an empty one", groups_names=[empty])
    await talk.bad("it is gone", groups_names=[empty])
    await talk.bad("unknown", groups_names=[talk.name("unknown")])
    await talk.bad("no name", groups_names=[""])
    names = [group, talk.name("unknown"), second, ""]
    await talk.ask("good and bad", groups_names=names)
    await talk.ask("a group twice", groups_names=[group, group])
    await talk.good("no groups", groups_names=[])
