"""Streams groups (KIP-1071): heartbeats, topologies that fit and that do not, descriptions."""

from typing import Any

from tests.support.versions.talk import Talk, scenario

HEARTBEAT = 88
COMMIT = 8


async def ready(talk: Talk, group: str, **settings: str) -> None:
    """A coordinator for the group, which assigns tasks without a wait."""
    await talk.group_ready(group)
    values = {
        "streams.assignment.interval.ms": "0",
        "streams.initial.rebalance.delay.ms": "0",
        **{name.replace("_", "."): value for name, value in settings.items()},
    }
    rows = [{"name": k, "config_operation": 0, "value": v} for k, v in values.items()]
    resource = {"resource_type": 32, "resource_name": group, "configs": rows}
    await talk.tell(44, 1, resources=[resource])


def subtopology(*sources: str, **rest: Any) -> dict[str, Any]:
    return {"subtopology_id": "0", "source_topics": list(sources), **rest}


def topology(*subtopologies: dict[str, Any], epoch: int = 0) -> dict[str, Any]:
    return {"epoch": epoch, "subtopologies": list(subtopologies)}


def joining(group: str, member: str, shape: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {
        "group_id": group,
        "member_id": member,
        "rebalance_timeout_ms": 60_000,
        "topology": shape,
        "process_id": f"process-{member}",
        "active_tasks": [],
        "standby_tasks": [],
        "warmup_tasks": [],
        **rest,
    }


def beating(group: str, member: str, epoch: int, **rest: Any) -> dict[str, Any]:
    return {"group_id": group, "member_id": member, "member_epoch": epoch, **rest}


def having(*active: int, standby: tuple[int, ...] = ()) -> dict[str, Any]:
    """What a member says it has of subtopology 0."""

    def rows(numbers: tuple[int, ...]) -> list[dict[str, Any]]:
        return [{"subtopology_id": "0", "partitions": list(numbers)}] if numbers else []

    return {"active_tasks": rows(active), "standby_tasks": rows(standby), "warmup_tasks": []}


@scenario(88)
async def streams_group_heartbeat(talk: Talk) -> None:
    topic = await talk.topic("t", 4)
    other = await talk.topic("u", 3)
    shape = topology(subtopology(topic))
    await refused(talk, shape)
    await invalid_topologies(talk, topic)
    await one_member(talk, shape)
    await two_members(talk, shape)
    await standbys(talk)
    await unfit_topics(talk, topic, other)
    await other_topologies(talk, topic)
    await endpoints(talk, shape)
    await shut_down(talk, shape)
    await in_place_of_others(talk, topic, shape)


async def refused(talk: Talk, shape: dict[str, Any]) -> None:
    """What is wrong with a request by itself."""
    group = talk.name("refused")
    await ready(talk, group)
    await talk.bad("an empty group id", **joining("", "A", shape))
    await talk.bad("an empty member id", **joining(group, " ", shape))
    await talk.bad("an empty rack", **joining(group, "A", shape, rack_id=""))
    await talk.bad("an instance id", **joining(group, "A", shape, instance_id="I"))
    await talk.bad("no timeout", **joining(group, "A", shape, rebalance_timeout_ms=-1))
    await talk.bad("no topology", **joining(group, "A", shape, topology=None))
    owned = [{"subtopology_id": "0", "partitions": [0]}]
    for name in ("active_tasks", "standby_tasks", "warmup_tasks"):
        await talk.bad(f"joins with {name}", **joining(group, "A", shape, **{name: owned}))
        await talk.bad(f"joins without {name}", **joining(group, "A", shape, **{name: None}))
    offset = [{"subtopology_id": "0", "partition": 0, "offset": 1}]
    await talk.bad("offsets of tasks", **joining(group, "A", shape, task_offsets=offset))
    await talk.bad("end offsets of tasks", **joining(group, "A", shape, task_end_offsets=offset))
    await talk.bad("some tasks", **beating(group, "A", 1, active_tasks=[]))
    await talk.bad("a topology later", **beating(group, "A", 1, topology=shape))
    await talk.bad("a static member leaves", **beating(group, "A", -2))
    await talk.bad("an epoch below -2", **beating(group, "A", -3))
    await talk.bad("of no group", **beating(group, "A", 1))
    await talk.bad("leaves no group", **beating(group, "A", -1))
    long = [{"key": f"k{number}", "value": "v" * 30_000} for number in range(60)]
    await talk.bad("more than a record may have", **joining(group, "A", shape, client_tags=long))
    await talk.bad("nothing came of it", **beating(group, "A", 2))


async def invalid_topologies(talk: Talk, topic: str) -> None:
    """What no topics could make right."""
    group = talk.name("invalid")
    await ready(talk, group)

    async def tried(case: str, *subtopologies: dict[str, Any]) -> None:
        await talk.bad(case, **joining(group, "A", topology(*subtopologies)))

    await tried("an expression", subtopology(topic, source_topic_regex=["a.*"]))
    await tried("a topic of Kafka's", subtopology("__consumer_offsets"))
    await tried("illegal names", subtopology("a b", repartition_sink_topics=["c/d"]))
    changelog = {"name": talk.name("log"), "partitions": 2}
    await tried("a changelog's count", subtopology(topic, state_changelog_topics=[changelog]))
    await tried("no sources", subtopology())
    again = {"name": talk.name("again")}
    await tried("a sink nobody fills", subtopology(topic, repartition_source_topics=[again]))
    loop = subtopology(repartition_sink_topics=[again["name"]], repartition_source_topics=[again])
    await tried("a loop", loop)


async def one_member(talk: Talk, shape: dict[str, Any]) -> None:
    group = talk.name("one")
    await ready(talk, group)
    await talk.good("joins", **joining(group, "A", shape, client_tags=[{"key": "k", "value": "v"}]))
    await talk.good("goes on", **beating(group, "A", 2))
    await talk.good("says what it has", **beating(group, "A", 2, **having(0, 1, 2, 3)))
    await talk.bad("a task there is not", **beating(group, "A", 2, **having(4)))
    foreign = [{"subtopology_id": "9", "partitions": [0]}]
    rest = {"standby_tasks": [], "warmup_tasks": []}
    await talk.bad("a foreign subtopology", **beating(group, "A", 2, active_tasks=foreign, **rest))
    await talk.bad("an epoch to come", **beating(group, "A", 3))
    await talk.bad("an epoch that was", **beating(group, "A", 1))
    await talk.bad("an unknown member", **beating(group, "B", 2))
    await talk.good("in another rack", **beating(group, "A", 2, rack_id="r"))
    await talk.good("joins again", **joining(group, "A", shape, rack_id="r"))
    await talk.bad("a stranger leaves", **beating(group, "B", -1))
    await talk.good("leaves", **beating(group, "A", -1))
    await talk.bad("left", **beating(group, "A", 3))
    await talk.good("comes back", **joining(group, "A", shape))


async def two_members(talk: Talk, shape: dict[str, Any]) -> None:
    group = talk.name("two")
    await ready(talk, group)
    await talk.good("A joins", **joining(group, "A", shape))
    await talk.good("B joins", **joining(group, "B", shape))
    everything = having(0, 1, 2, 3)
    await talk.good("A is to give two up", **beating(group, "A", 2, **everything))
    await talk.good("A has not yet", **beating(group, "A", 2, **everything))
    await talk.good("A says nothing", **beating(group, "A", 2))
    await talk.good("B still waits", **beating(group, "B", 3, **having()))
    await talk.good("A has", **beating(group, "A", 2, **having(0, 1)))
    await talk.good("A repeats itself", **beating(group, "A", 2, **having(0, 1)))
    await talk.bad("A claims too much", **beating(group, "A", 1, **having(0, 1, 2)))
    await talk.good("B gets them", **beating(group, "B", 3, **having()))
    await talk.good("A leaves", **beating(group, "A", -1))
    await talk.good("B gets all", **beating(group, "B", 3, **having(2, 3)))


async def standbys(talk: Talk) -> None:
    """A topology with state, whose changelog is there."""
    group = talk.name("standby")
    source, changelog = await talk.topic("s", 2), await talk.topic("s-log", 2)
    shape = topology(subtopology(source, state_changelog_topics=[{"name": changelog}]))
    await ready(talk, group, streams_num_standby_replicas="1")
    await talk.good("one alone", **joining(group, "A", shape))
    await talk.good("one more", **joining(group, "B", shape))
    await talk.good("the first keeps one", **beating(group, "A", 2, **having(0)))
    await talk.good("the first copies", **beating(group, "A", 3, **having(0)))
    await talk.good("the other has both", **beating(group, "B", 3, **having(standby=(0,))))
    await ready(talk, group, streams_num_standby_replicas="0")
    await talk.good("no copies", **beating(group, "A", 3, **having(0, standby=(1,))))


async def unfit_topics(talk: Talk, topic: str, other: str) -> None:
    async def tried(case: str, *subtopologies: dict[str, Any]) -> None:
        group = talk.name(f"unfit{len(talk.told)}")
        await ready(talk, group)
        await talk.good(case, **joining(group, "A", topology(*subtopologies)))
        await talk.good(f"{case}, again", **beating(group, "A", 2))

    absent = [talk.name(f"absent-{number}") for number in range(5)]
    await tried("a source that is not there", subtopology(topic, absent[0]))
    await tried("five that are not there", subtopology(*absent))
    together = {"copartition_groups": [{"source_topics": [0, 1]}]}
    await tried("read together", subtopology(topic, other, **together))
    fixed = {
        "repartition_sink_topics": [talk.name("fixed")],
        "repartition_source_topics": [{"name": talk.name("fixed"), "partitions": 3}],
        "copartition_groups": [{"source_topics": [0], "repartition_source_topics": [0]}],
    }
    await tried("read together with a fixed one", subtopology(topic, **fixed))
    log = {"state_changelog_topics": [{"name": other}]}
    await tried("a changelog of another size", subtopology(topic, **log))


async def other_topologies(talk: Talk, topic: str) -> None:
    group = talk.name("topology")
    await ready(talk, group)
    await talk.good("epoch 1", **joining(group, "A", topology(subtopology(topic), epoch=1)))
    await talk.good("epoch 0", **joining(group, "B", topology(subtopology(topic), epoch=0)))
    await talk.good("still epoch 0", **beating(group, "B", 3, **having()))
    newer = topology(subtopology(topic), epoch=2)
    await talk.bad("epoch 2", **joining(group, "C", newer))
    different = topology(subtopology(topic, repartition_sink_topics=[talk.name("x")]), epoch=1)
    await talk.bad("another of epoch 1", **joining(group, "C", different))


async def endpoints(talk: Talk, shape: dict[str, Any]) -> None:
    group = talk.name("endpoint")
    await ready(talk, group)
    place = {"host": "h", "port": 7}
    await talk.good("with an endpoint", **joining(group, "A", shape, user_endpoint=place))
    await talk.good("it knows", **beating(group, "A", 2))
    await talk.good("another asks", **joining(group, "B", shape, endpoint_information_epoch=-1))
    await talk.good("it asks, too", **beating(group, "A", 2, endpoint_information_epoch=-1))
    await talk.good(
        "its tasks change", **beating(group, "A", 2, **having(0, 1), endpoint_information_epoch=0)
    )


async def shut_down(talk: Talk, shape: dict[str, Any]) -> None:
    group = talk.name("shutdown")
    await ready(talk, group)
    await talk.good("A is well", **joining(group, "A", shape))
    await talk.good("B is well", **joining(group, "B", shape))
    await talk.good("B is not", **beating(group, "B", 3, shutdown_application=True))
    await talk.good("A hears of it", **beating(group, "A", 2, **having(0, 1)))
    await talk.good("B goes", **beating(group, "B", -1, shutdown_application=True))
    await talk.good("A goes", **beating(group, "A", -1))
    await talk.good("A begins anew", **joining(group, "A", shape))


async def in_place_of_others(talk: Talk, topic: str, shape: dict[str, Any]) -> None:
    """A group that only holds offsets may become a streams group; others may not."""
    group = talk.name("simple")
    await ready(talk, group)
    rows = [{"partition_index": 0, "committed_offset": 3, "committed_metadata": ""}]
    await talk.tell(COMMIT, 2, group_id=group, topics=[{"name": topic, "partitions": rows}])
    await talk.bad("of a simple group", **beating(group, "A", 2))
    await talk.good("in place of a simple group", **joining(group, "A", shape))
    consumers = talk.name("consumers")
    await ready(talk, consumers)
    await talk.tell(
        68,
        1,
        group_id=consumers,
        member_id="A",
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[topic],
        topic_partitions=[],
    )
    await talk.bad("in place of consumers", **joining(consumers, "B", shape))
    await talk.bad("among consumers", **beating(consumers, "A", 2))


@scenario(89)
async def streams_group_describe(talk: Talk) -> None:
    source, changelog = await talk.topic("t", 2), await talk.topic("log", 2)
    group = talk.name("g")
    await ready(talk, group)
    await talk.bad("no group", group_ids=[""])
    await talk.bad("an unknown group", group_ids=[group])
    await talk.good("nothing", group_ids=[])
    log = {
        "name": changelog,
        "replication_factor": 1,
        "topic_configs": [{"key": "cleanup.policy", "value": "compact"}],
    }
    shape = topology(subtopology(source, state_changelog_topics=[log]))
    rest = {
        "rack_id": "r",
        "user_endpoint": {"host": "h", "port": 7},
        "client_tags": [{"key": "k", "value": "v"}],
    }
    await talk.tell(HEARTBEAT, 0, **joining(group, "A", shape, **rest))
    await talk.tell(HEARTBEAT, 0, **beating(group, "A", 2, **having(0, 1)))
    await talk.good("one member", group_ids=[group])
    await talk.good("twice", group_ids=[group, group])
    await talk.good("what is allowed", group_ids=[group], include_authorized_operations=True)
    await offsets(talk, group, source)
    talk.note("deleting it", "", await talk.tell(42, 2, groups_names=[group]), 2)
    talk.note("as a classic group", "", await talk.tell(15, 6, groups=[group]), 6)
    talk.note("as a consumer group", "", await talk.tell(69, 1, group_ids=[group]), 1)
    topics = [{"name": source, "partitions": [{"partition_index": 0}]}]
    deleted = await talk.tell(47, 0, group_id=group, topics=topics)
    talk.note("deleting offsets it reads", "", deleted, 0)
    joined = await talk.tell(
        11, 5, group_id=group, session_timeout_ms=10_000, protocol_type="consumer"
    )
    talk.note("joining as a classic member", "", joined, 5)
    await not_ready(talk, source)
    await talk.tell(HEARTBEAT, 0, **beating(group, "A", -1))
    await talk.good("nobody left", group_ids=[group])
    listed = await talk.tell(16, 5, types_filter=["Streams"])
    talk.note("listing", "", listed, 5, own=True)
    deleted = await talk.tell(47, 0, group_id=group, topics=topics)
    talk.note("deleting offsets nobody reads", "", deleted, 0)
    talk.note("deleting it empty", "", await talk.tell(42, 2, groups_names=[group]), 2)
    await talk.bad("deleted", group_ids=[group])


async def offsets(talk: Talk, group: str, topic: str) -> None:
    """Committed and fetched in member epochs."""
    rows = [{"partition_index": 0, "committed_offset": 1, "committed_metadata": ""}]
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
        talk.note(f"fetching in {case}", "", await talk.tell(9, 9, groups=asked), 9)
    answer = await talk.tell(
        COMMIT, 8, group_id=group, member_id="A", generation_id_or_member_epoch=2, topics=topics
    )
    talk.note("committing by an old version", "", answer, 8)


async def not_ready(talk: Talk, source: str) -> None:
    """A group that has a topology, but not its topics."""
    group = talk.name("not-ready")
    await ready(talk, group)
    shape = topology(subtopology(source, talk.name("absent")))
    await talk.tell(HEARTBEAT, 0, **joining(group, "A", shape))
    await talk.good("topics are missing", group_ids=[group])
