"""Consumer groups (KIP-848): a heartbeat's every case, descriptions, commits with member epochs.

Version 0 of the heartbeat lets the broker choose member ids; what is asked here
names them, as version 1 demands.
"""

from typing import Any

from tests.support.versions.talk import Talk, scenario

HEARTBEAT = 68
COMMIT = 8


def beat(group: str, member: str, epoch: int = 0, **rest: Any) -> dict[str, Any]:
    """A heartbeat; one that joins says all there is to say."""
    fields: dict[str, Any] = {"group_id": group, "member_id": member, "member_epoch": epoch}
    if epoch == 0:
        fields |= {
            "rebalance_timeout_ms": 60_000,
            "subscribed_topic_names": [],
            "topic_partitions": [],
        }
    return fields | rest


def owned(talk: Talk, topic: str, *partitions: int) -> list[dict[str, Any]]:
    return [{"topic_id": talk.topic_id(topic), "partitions": list(partitions)}]


@scenario(68)
async def consumer_group_heartbeat(talk: Talk) -> None:
    topic = await talk.topic("t", 4)
    group = talk.name("g")
    await talk.group_ready(group)
    names = [topic]
    await wrong_by_itself(talk, group, names)
    await talk.bad("an unknown group", **beat(group, "A", 2))
    await talk.bad("leaving an unknown group", **beat(group, "A", -1))
    await talk.good("the first joins", **beat(group, "A", subscribed_topic_names=names))
    await talk.good("it has everything", **beat(group, "A", 2))
    has = owned(talk, topic, 0, 1, 2, 3)
    await talk.good("it says what it has", **beat(group, "A", 2, topic_partitions=has))
    await talk.good(
        "it says all again",
        **beat(
            group,
            "A",
            2,
            topic_partitions=has,
            rebalance_timeout_ms=60_000,
            subscribed_topic_names=names,
        ),
    )
    await talk.bad("a stranger", **beat(group, "B", 2))
    await talk.bad("an epoch too great", **beat(group, "A", 3))
    await talk.good("it joins again", **beat(group, "A", subscribed_topic_names=names))
    await talk.bad("another instance", **beat(group, "A", 2, instance_id="I"))
    await talk.bad("a stranger leaves", **beat(group, "B", -1))
    await talk.bad("an unknown instance leaves", **beat(group, "A", -2, instance_id="I"))
    await talk.good("it subscribes to nothing", **beat(group, "A", 2, subscribed_topic_names=[]))
    await talk.good("it leaves", **beat(group, "A", -1))
    await talk.bad("it has left", **beat(group, "A", 3))
    await moving(talk, topic)
    await static_members(talk, topic)
    await expressions(talk, topic)
    await classic_instead(talk, topic)


async def wrong_by_itself(talk: Talk, group: str, names: list[str]) -> None:
    def join(**rest: Any) -> dict[str, Any]:
        return beat(group, "A", subscribed_topic_names=names) | rest

    for case, fields in {
        "no group": join(group_id=""),
        "a blank group": join(group_id=" "),
        "an empty instance": join(instance_id=""),
        "an empty rack": join(rack_id=""),
        "no rebalance timeout": join(rebalance_timeout_ms=-1),
        "partitions at once": join(topic_partitions=[{"topic_id": bytes(16), "partitions": [0]}]),
        "null partitions": join(topic_partitions=None),
        "no topics": join(subscribed_topic_names=None),
        "an unknown assignor": join(server_assignor="best"),
        "no such epoch": join(member_epoch=-3),
        "static without instance": join(member_epoch=-2),
        "no member in an epoch": join(member_id="", member_epoch=5),
        "no member leaves": join(member_id="", member_epoch=-1),
    }.items():
        await talk.bad(case, **fields)
    if talk.version >= 1:
        await talk.bad("no member", **join(member_id=""))
        await talk.bad("not an expression", **join(subscribed_topic_regex="["))
        await talk.bad("a back reference", **join(subscribed_topic_regex="(a)\\1"))
        await talk.bad("looking ahead", **join(subscribed_topic_regex="(?=a)b"))


async def moving(talk: Talk, topic: str) -> None:
    """Half of the partitions go from one member to the other."""
    group = talk.name("moving")
    await talk.group_ready(group)
    names = [topic]
    await talk.tell(
        32 + 12,
        1,
        resources=[
            {
                "resource_type": 32,
                "resource_name": group,
                "configs": [
                    {
                        "name": "consumer.assignment.interval.ms",
                        "config_operation": 0,
                        "value": "0",
                    }
                ],
            }
        ],
    )
    await talk.good(
        "A joins", **beat(group, "A", subscribed_topic_names=names, server_assignor="range")
    )
    await talk.good(
        "B joins", **beat(group, "B", subscribed_topic_names=names, server_assignor="range")
    )
    all_four = owned(talk, topic, 0, 1, 2, 3)
    await talk.good("A is to give two up", **beat(group, "A", 2, topic_partitions=all_four))
    await talk.good("A has not yet", **beat(group, "A", 2, topic_partitions=all_four))
    await talk.good("B still waits", **beat(group, "B", 3, topic_partitions=[]))
    await talk.good("A has", **beat(group, "A", 2, topic_partitions=owned(talk, topic, 0, 1)))
    await talk.good(
        "A repeats itself", **beat(group, "A", 2, topic_partitions=owned(talk, topic, 0, 1))
    )
    await talk.bad(
        "A claims too much", **beat(group, "A", 2, topic_partitions=owned(talk, topic, 0, 1, 2))
    )
    await talk.good("B gets them", **beat(group, "B", 3, topic_partitions=[]))
    await talk.good("A leaves", **beat(group, "A", -1))
    await talk.good("B gets all", **beat(group, "B", 3, topic_partitions=owned(talk, topic, 2, 3)))


async def static_members(talk: Talk, topic: str) -> None:
    group = talk.name("static")
    await talk.group_ready(group)
    join = {"subscribed_topic_names": [topic], "instance_id": "I"}
    await talk.good("a static member joins", **beat(group, "A", **join))
    await talk.bad("another with its instance", **beat(group, "B", **join))
    await talk.bad("another beats for it", **beat(group, "B", 2, instance_id="I"))
    await talk.bad("another leaves for it", **beat(group, "B", -1, instance_id="I"))
    await talk.good("it leaves for a while", **beat(group, "A", -2, instance_id="I"))
    await talk.bad("it is away", **beat(group, "A", 2, instance_id="I"))
    await talk.good("it comes back as another", **beat(group, "B", **join))
    await talk.bad("its old self", **beat(group, "A", 2, instance_id="I"))
    await talk.good("it leaves for good", **beat(group, "B", -1, instance_id="I"))


async def expressions(talk: Talk, topic: str) -> None:
    if talk.version < 1:
        return
    group = talk.name("regex")
    await talk.group_ready(group)
    await talk.good(
        "with an expression, too",
        **beat(group, "A", subscribed_topic_names=[topic], subscribed_topic_regex="no-such-.*"),
    )
    await talk.good("it goes without", **beat(group, "A", 2, subscribed_topic_regex=""))


async def classic_instead(talk: Talk, topic: str) -> None:
    """A group that only holds offsets becomes a consumer group."""
    group = talk.name("simple")
    await talk.group_ready(group)
    rows = [{"partition_index": 0, "committed_offset": 3, "committed_metadata": ""}]
    await talk.tell(COMMIT, 2, group_id=group, topics=[{"name": topic, "partitions": rows}])
    await talk.bad("of a simple group", **beat(group, "A", 2))
    await talk.good(
        "in place of a simple group", **beat(group, "A", subscribed_topic_names=[topic])
    )


@scenario(69)
async def consumer_group_describe(talk: Talk) -> None:
    topic = await talk.topic("t", 2)
    group = talk.name("g")
    await talk.group_ready(group)
    await talk.bad("no group", group_ids=[""])
    await talk.bad("an unknown group", group_ids=[group])
    await talk.good("nothing", group_ids=[])
    joined = beat(group, "A", subscribed_topic_names=[topic], rack_id="r", instance_id="I")
    await talk.tell(HEARTBEAT, 1, **joined)
    await talk.good("one member", group_ids=[group])
    await talk.good("twice", group_ids=[group, group])
    await talk.good("what is allowed", group_ids=[group], include_authorized_operations=True)
    rows = [
        {"partition_index": number, "committed_offset": 1, "committed_metadata": ""}
        for number in (0, 1)
    ]
    topics = [{"name": topic, "partitions": rows}]
    for case, member, epoch in (
        ("its epoch", "A", 2),
        ("an epoch to come", "A", 3),
        ("an epoch that was", "A", 1),
        ("a stranger", "B", 2),
        ("nobody", "", -1),
    ):
        answer = await talk.tell(
            COMMIT,
            9,
            group_id=group,
            member_id=member,
            generation_id_or_member_epoch=epoch,
            topics=topics,
        )
        talk.note(f"committing in {case}", "", answer, 9)
        asked = [
            {
                "group_id": group,
                "member_id": member or None,
                "member_epoch": epoch,
                "topics": [{"name": topic, "partition_indexes": [0]}],
            }
        ]
        answer = await talk.tell(9, 9, groups=asked)
        talk.note(f"fetching in {case}", "", answer, 9)
    answer = await talk.tell(
        COMMIT, 8, group_id=group, member_id="A", generation_id_or_member_epoch=2, topics=topics
    )
    talk.note("committing by an old version", "", answer, 8)
    talk.note("deleting it", "", await talk.tell(42, 2, groups_names=[group]), 2)
    talk.note("as a classic group", "", await talk.tell(15, 6, groups=[group]), 6)
    await talk.tell(HEARTBEAT, 1, **beat(group, "A", -1, instance_id="I"))
    await talk.good("nobody left", group_ids=[group])
    listed = await talk.tell(16, 5, types_filter=["consumer"])
    talk.note("listing", "", listed, 5, own=True)
    talk.note("deleting it empty", "", await talk.tell(42, 2, groups_names=[group]), 2)
    await talk.bad("deleted", group_ids=[group])
