"""ElectLeaders, Alter- and ListPartitionReassignments, DescribeQuorum, UpdateFeatures, UnregisterBroker."""

from typing import Any

from tests.support.versions.talk import Talk, scenario

TIME = {"timeout_ms": 10_000}

PREFERRED, UNCLEAN = 0, 1


@scenario(43)
async def elect_leaders(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=3)

    def some(*topics: tuple[str, list[int]], kind: int = PREFERRED, **rest: Any) -> dict[str, Any]:
        rows = [{"topic": name, "partitions": partitions} for name, partitions in topics]
        return {"election_type": kind, "topic_partitions": rows, **TIME, **rest}

    unknown = talk.name("unknown")
    await talk.good("no topics", **some())
    await talk.good("no partitions", **some((topic, [])))
    for kind, name in (PREFERRED, "preferred"), (UNCLEAN, "unclean"):
        if talk.version == 0 and kind == UNCLEAN:
            break
        await talk.bad(f"{name}: it leads", **some((topic, [0]), kind=kind))
        await talk.bad(f"{name}: they lead", **some((topic, [0, 2]), kind=kind))
        await talk.bad(f"{name}: unknown partition", **some((topic, [7]), kind=kind))
        await talk.bad(f"{name}: partition below zero", **some((topic, [-1]), kind=kind))
        await talk.bad(f"{name}: unknown topic", **some((unknown, [0]), kind=kind))
        await talk.bad(f"{name}: illegal topic", **some(("a/b", [0]), kind=kind))
        await talk.bad(
            f"{name}: known and unknown", **some((topic, [1, 7]), (unknown, [0]), kind=kind)
        )
    await talk.ask("a partition twice", **some((topic, [1, 1])))
    await talk.ask("a topic twice", **some((topic, [1]), (topic, [2])))
    await talk.ask("no time", **some((topic, [0]), timeout_ms=0))
    await talk.good("all", own=True, election_type=PREFERRED, topic_partitions=None, **TIME)
    if talk.version >= 1:
        await talk.good(
            "all, unclean", own=True, election_type=UNCLEAN, topic_partitions=None, **TIME
        )
        for kind in 2, -1, 127:
            await talk.ask(f"type {kind}", **some((topic, [0]), kind=kind))


@scenario(45)
async def alter_partition_reassignments(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=3)
    unknown = talk.name("unknown")

    def to(*topics: tuple[str, dict[int, list[int] | None]], **rest: Any) -> dict[str, Any]:
        rows = [
            {
                "name": name,
                "partitions": [
                    {"partition_index": number, "replicas": replicas}
                    for number, replicas in partitions.items()
                ],
            }
            for name, partitions in topics
        ]
        return {"topics": rows, **TIME, **rest}

    await talk.good("no topics", **to())
    await talk.good("no partitions", **to((topic, {})))
    await talk.good("where it is", **to((topic, {0: [1]})))
    await talk.good("where they are", **to((topic, {0: [1], 2: [1]})))
    await talk.bad("cancel nothing", **to((topic, {0: None})))
    await talk.bad("no replicas", **to((topic, {0: []})))
    await talk.bad("unknown broker", **to((topic, {0: [9]})))
    await talk.bad("known and unknown broker", **to((topic, {0: [1, 9]})))
    await talk.bad("unknown and known broker", **to((topic, {0: [9, 1]})))
    await talk.bad("broker -1", **to((topic, {0: [-1]})))
    await talk.bad("broker -1, too", **to((topic, {0: [1, -1]})))
    await talk.bad("a broker twice", **to((topic, {0: [1, 1]})))
    await talk.bad("unknown brokers twice", **to((topic, {0: [9, 9]})))
    await talk.bad("unknown partition", **to((topic, {7: [1]})))
    await talk.bad("partition below zero", **to((topic, {-1: [1]})))
    await talk.bad("cancel an unknown partition", **to((topic, {7: None})))
    await talk.bad("unknown topic", **to((unknown, {0: [1]})))
    await talk.bad("cancel an unknown topic", **to((unknown, {0: None})))
    await talk.bad("illegal topic", **to(("a/b", {0: [1]})))
    await talk.bad("good and bad", **to((topic, {0: [1], 1: [9], 7: [1]}), (unknown, {3: [1]})))
    twice = {"partition_index": 1, "replicas": [1]}
    await talk.ask(
        "a partition twice", topics=[{"name": topic, "partitions": [twice, twice]}], **TIME
    )
    await talk.ask("a topic twice", **to((topic, {1: [1]}), (topic, {2: [1]})))
    if talk.version >= 1:
        same: dict[str, Any] = {"allow_replication_factor_change": False}
        await talk.good("as many as before", **to((topic, {0: [1]}), **same))
        await talk.bad("more than before", **to((topic, {0: [1, 9]}), **same))
        await talk.bad("cancel nothing, as many", **to((topic, {0: None}), **same))


@scenario(46)
async def list_partition_reassignments(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=3)
    unknown = talk.name("unknown")

    def some(*topics: tuple[str, list[int]]) -> dict[str, Any]:
        rows = [{"name": name, "partition_indexes": partitions} for name, partitions in topics]
        return {"topics": rows, **TIME}

    await talk.good("none are moved", own=True, topics=None, **TIME)
    await talk.good("no topics", **some())
    await talk.good("no partitions", **some((topic, [])))
    await talk.good("one", **some((topic, [0])))
    await talk.good("two", **some((topic, [2, 1])))
    await talk.ask("unknown partition", **some((topic, [7])))
    await talk.ask("partition below zero", **some((topic, [-1])))
    await talk.ask("unknown topic", **some((unknown, [0])))
    await talk.ask("illegal topic", **some(("a/b", [0])))
    await talk.ask("known and unknown", **some((topic, [0, 7]), (unknown, [0])))


@scenario(55)
async def describe_quorum(talk: Talk) -> None:
    def some(*topics: tuple[str, list[int]]) -> dict[str, Any]:
        return {
            "topics": [
                {
                    "topic_name": name,
                    "partitions": [{"partition_index": number} for number in partitions],
                }
                for name, partitions in topics
            ]
        }

    name = "__cluster_metadata"
    await talk.good("the quorum", **some((name, [0])))
    await talk.ask("no topics", **some())
    await talk.ask("no partitions", **some((name, [])))
    await talk.bad("unknown partition", **some((name, [1])))
    await talk.bad("two partitions", **some((name, [0, 1])))
    await talk.bad("unknown topic", **some((talk.name("unknown"), [0])))
    await talk.bad("known and unknown", **some((name, [0]), (talk.name("unknown"), [0])))


@scenario(57)
async def update_features(talk: Talk) -> None:
    def row(feature: str, level: int, upgrade_type: int = 1) -> dict[str, Any]:
        return {
            "feature": feature,
            "max_version_level": level,
            "allow_downgrade": upgrade_type > 1,
            "upgrade_type": upgrade_type,
        }

    def to(*rows: dict[str, Any], **rest: Any) -> dict[str, Any]:
        return {"feature_updates": list(rows), **TIME, **rest}

    safe, unsafe = 2, 3
    share = "share.version"
    await talk.good("nothing", **to())
    await talk.good("as it is", **to(row(share, 1)))
    await talk.good("as they are", **to(row(share, 1), row("group.version", 1)))
    await talk.bad("too high", **to(row(share, 9)))
    await talk.bad("below zero", **to(row(share, -1)))
    await talk.bad("unknown", **to(row("no.such.version", 1)))
    await talk.bad("unknown, to zero", **to(row("no.such.version", 0, safe)))
    await talk.bad("no name", **to(row("", 1)))
    await talk.bad("lower by an upgrade", **to(row(share, 0)))
    await talk.ask("lower", **to(row(share, 0, safe)))
    await talk.ask("lower again", **to(row(share, 0, safe)))
    await talk.good("up again", **to(row(share, 1)))
    await talk.ask("lower, unsafely", **to(row(share, 0, unsafe)))
    await talk.ask("up by a downgrade", **to(row(share, 1, safe)))
    await talk.good("up again, at last", **to(row(share, 1)))
    await talk.bad("good and bad", **to(row(share, 1), row("group.version", 9)))
    await talk.ask("a feature twice", **to(row(share, 1), row(share, 1)))
    await talk.bad("metadata, too high", **to(row("metadata.version", 99)))
    await talk.bad("metadata, too low", **to(row("metadata.version", 6, safe)))
    await talk.bad("metadata, zero", **to(row("metadata.version", 0, safe)))
    await talk.bad("metadata, lower by an upgrade", **to(row("metadata.version", 29)))
    if talk.version >= 1:
        await talk.good("tried", **to(row(share, 0, safe), validate_only=True))
        await talk.bad("tried and wrong", **to(row(share, 9), validate_only=True))
        await talk.ask(
            "metadata, lower, tried", **to(row("metadata.version", 29, safe), validate_only=True)
        )
        await talk.ask(
            "metadata, unsafely, tried",
            **to(row("metadata.version", 29, unsafe), validate_only=True),
        )
        for kind in 0, 4, -1:
            await talk.ask(f"upgrade type {kind}", **to(row(share, 1, kind), validate_only=True))
            await talk.ask(
                f"upgrade type {kind}, lower", **to(row(share, 0, kind), validate_only=True)
            )


@scenario(64)
async def unregister_broker(talk: Talk) -> None:
    await talk.bad("unknown", broker_id=9)
    await talk.bad("below zero", broker_id=-1)
