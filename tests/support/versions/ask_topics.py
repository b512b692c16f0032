"""CreateTopics, DeleteTopics, CreatePartitions."""

from typing import Any

from tests.support.versions.talk import Talk, scenario

TIME = {"timeout_ms": 10_000}


def new(name: str, partitions: int = 1, factor: int = 1, **rest: Any) -> dict[str, Any]:
    """A topic to create; `configs` and `assignments` may be given as dicts."""
    configs = rest.pop("configs", {})
    assignments = rest.pop("assignments", {})
    return {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": factor,
        "configs": [{"name": key, "value": value} for key, value in configs.items()],
        "assignments": [
            {"partition_index": number, "broker_ids": brokers}
            for number, brokers in assignments.items()
        ],
        **rest,
    }


@scenario(19)
async def create_topics(talk: Talk) -> None:
    def topics(*topics: dict[str, Any], **rest: Any) -> dict[str, Any]:
        return {"topics": list(topics), **TIME, **rest}

    async def one(case: str, kind: str, stem: str, *args: Any, **rest: Any) -> None:
        await talk.ask(case, kind, **topics(new(talk.name(stem), *args, **rest)))

    await one("plain", "good", "plain")
    await one("three partitions", "good", "three", 3)
    await one("defaults", "" if talk.version < 4 else "good", "defaults", -1, -1)
    await one("default partitions", "" if talk.version < 4 else "good", "def-p", -1, 1)
    await one("default replicas", "" if talk.version < 4 else "good", "def-r", 2, -1)
    settings = {"retention.ms": "12345", "cleanup.policy": "compact", "segment.bytes": "1048576"}
    await one("with settings", "good", "settings", configs=settings)
    await one("assigned", "good", "assigned", -1, -1, assignments={0: [1], 1: [1]})
    await one("assigned in another order", "good", "order", -1, -1, assignments={1: [1], 0: [1]})
    await talk.good("tried", **topics(new(talk.name("tried"), 2), validate_only=True))
    await talk.good("tried, and made", **topics(new(talk.name("tried"))))
    await one("it is there", "bad", "plain")
    await one("it is there, and wrong", "bad", "plain", 0, 7, configs={"no.such": "1"})
    for name in "", ".", "..", "a/b", "x" * 250, "é", "a b":
        await talk.bad(f"illegal: {name[:3]!r} {len(name)}", **topics(new(name)))
    await talk.good("the longest name", **topics(new((talk.name("") + "y" * 249)[:249])))
    await talk.bad("cluster metadata", **topics(new("__cluster_metadata")))
    await talk.bad(
        "cluster metadata, tried", **topics(new("__cluster_metadata"), validate_only=True)
    )
    await one("a dot", "good", "has.dot")
    await one("collides", "bad", "has_dot")
    await talk.ask("two that collide", **topics(new(talk.name("p.q")), new(talk.name("p_q"))))
    for partitions in 0, -2, 2_000_000, 10_001:
        await one(f"{partitions} partitions", "bad", "partitions", partitions)
    for factor in 0, -2, 2, 3, 32767:
        await one(f"replication {factor}", "bad", "bad", 1, factor)
    await one("0 partitions and replication 0", "bad", "bad", 0, 0)
    bad_settings: dict[str, dict[str, str | None]] = {
        "unknown": {"no.such.setting": "1"},
        "empty name": {"": "1"},
        "not a number": {"retention.ms": "soon"},
        "out of range": {"retention.ms": "-2"},
        "too small": {"segment.bytes": "1"},
        "not one of": {"cleanup.policy": "forget"},
        "empty": {"retention.ms": ""},
        "not a boolean": {"preallocate": "yes"},
        "null": {"retention.ms": None},
        "two nulls": {"retention.ms": None, "segment.ms": None},
        "compression": {"compression.type": "rar"},
        "timestamp type": {"message.timestamp.type": "Now"},
        "bytes": {"max.message.bytes": "1.5"},
        "a list": {"leader.replication.throttled.replicas": "nonsense"},
        "local retention": {"local.retention.ms": "100", "retention.ms": "10"},
    }
    for case, configs in bad_settings.items():
        kind = "" if case == "local retention" else "bad"
        await one(f"setting: {case}", kind, f"setting-{case}".replace(" ", "-"), configs=configs)
    twice = [{"name": "retention.ms", "value": v} for v in ("1000", "2000")]
    await talk.ask("a setting twice", **topics({**new(talk.name("twice")), "configs": twice}))
    assignments: dict[str, dict[int, list[int]]] = {
        "a gap": {0: [1], 2: [1]},
        "not from 0": {1: [1]},
        "below zero": {-1: [1], 0: [1]},
        "no replicas": {0: []},
        "a broker twice": {0: [1, 1]},
        "unknown broker": {0: [9]},
        "one more than before": {0: [1], 1: [1, 9]},
        "broker -1": {0: [-1]},
    }
    for case, assigned in assignments.items():
        await one(f"assignment: {case}", "bad", "bad", -1, -1, assignments=assigned)
    await one("assignment and partitions", "bad", "bad", 1, -1, assignments={0: [1]})
    await one("assignment and replication", "bad", "bad", -1, 1, assignments={0: [1]})
    await one("assignment and both", "bad", "bad", 1, 1, assignments={0: [1]})
    repeated = {
        **new(talk.name("bad"), -1, -1),
        "assignments": [
            {"partition_index": 0, "broker_ids": [1]},
            {"partition_index": 0, "broker_ids": [1]},
        ],
    }
    await talk.bad("assignment: a partition twice", **topics(repeated))
    duplicate = new(talk.name("dup"))
    await talk.bad("a name twice", **topics(duplicate, duplicate))
    await talk.ask(
        "a name twice, and others",
        **topics(
            new(talk.name("y-good")), duplicate, new("a/b"), duplicate, new(talk.name("plain"))
        ),
    )
    await talk.good("no topics", **topics())
    await talk.ask("no time", topics=[new(talk.name("hurry"))], timeout_ms=0)
    await talk.ask("time below zero", topics=[new(talk.name("hurry-2"))], timeout_ms=-1)
    await talk.bad(
        "all tried, all wrong", **topics(new("a/b"), new(talk.name("bad"), 0), validate_only=True)
    )
    await talk.ask("an internal topic", **topics(new(f"__x{talk.version}")))


@scenario(20)
async def delete_topics(talk: Talk) -> None:
    new = talk.version >= 6

    def names(*topics: str | None) -> dict[str, Any]:
        return {
            "topics": [{"name": name, "topic_id": bytes(16)} for name in topics],
            "topic_names": list(topics),
            **TIME,
        }

    def states(*topics: tuple[str | None, bytes]) -> dict[str, Any]:
        return {"topics": [{"name": name, "topic_id": id_} for name, id_ in topics], **TIME}

    a, b, c, d = [await talk.topic(stem) for stem in "abcd"]
    await talk.good("one", **names(a))
    await talk.bad("it is gone", **names(a))
    await talk.bad("unknown", **names(talk.name("unknown")))
    for name in "", "a/b", "x" * 250:
        await talk.bad(f"illegal: {name[:3]!r}", **names(name))
    await talk.ask("good and bad", **names(talk.name("unknown"), b, "a/b"))
    await talk.bad("a name twice", **names(c, c))
    await talk.ask("a name twice, and another", **names(c, d, c))
    await talk.ask("an unknown name twice", **names(talk.name("no"), talk.name("no")))
    await talk.good("no topics", **names())
    hurry = await talk.topic("hurry")
    await talk.ask("no time", **{**names(hurry), "timeout_ms": 0})
    if not new:
        return
    e, f, g = [await talk.topic(stem) for stem in "efg"]
    ids = {name: talk.topic_id(name) for name in (e, f, g)}
    nobody = b"no such topic id"
    await talk.good("by id", **states((None, ids[e])))
    await talk.bad("its id is gone", **states((None, ids[e])))
    await talk.bad("unknown id", **states((None, nobody)))
    await talk.bad("unknown id twice", **states((None, nobody), (None, nobody)))
    await talk.bad("neither name nor id", **states((None, bytes(16))))
    await talk.bad("name and id", **states((f, ids[f])))
    await talk.bad("an id twice", **states((None, ids[f]), (None, ids[f])))
    await talk.bad("by name and by id", **states((f, bytes(16)), (None, ids[f])))
    await talk.bad("by id and by name", **states((None, ids[f]), (f, bytes(16))))
    await talk.ask("three ways", **states((None, nobody), (f, bytes(16)), (None, ids[g])))


@scenario(37)
async def create_partitions(talk: Talk) -> None:
    def more(name: str, count: int, assigned: list[list[int]] | None = None) -> dict[str, Any]:
        rows = None if assigned is None else [{"broker_ids": row} for row in assigned]
        return {"name": name, "count": count, "assignments": rows}

    def topics(*topics: dict[str, Any], **rest: Any) -> dict[str, Any]:
        return {"topics": list(topics), **TIME, **rest}

    topic = await talk.topic("t")
    other = await talk.topic("other", partitions=2)
    await talk.good("to two", **topics(more(topic, 2)))
    await talk.good("to five", **topics(more(topic, 5)))
    await talk.good("assigned", **topics(more(topic, 7, [[1], [1]])))
    await talk.good("tried", **topics(more(topic, 9), validate_only=True))
    await talk.bad("the same", **topics(more(topic, 7)))
    await talk.bad("fewer", **topics(more(topic, 6)))
    for count in 0, -1:
        await talk.bad(f"to {count}", **topics(more(topic, count)))
    for count in 10_007, 10_008, 2_000_000:
        await talk.ask(f"to {count}, tried", **topics(more(topic, count), validate_only=True))
    await talk.bad("unknown", **topics(more(talk.name("unknown"), 5)))
    await talk.bad("illegal", **topics(more("a/b", 5)))
    await talk.bad("empty", **topics(more("", 5)))
    await talk.bad("too few assignments", **topics(more(topic, 9, [[1]])))
    await talk.bad("too many assignments", **topics(more(topic, 8, [[1], [1]])))
    await talk.bad("no assignments", **topics(more(topic, 8, [])))
    await talk.bad("no replicas", **topics(more(topic, 8, [[]])))
    await talk.bad("a broker twice", **topics(more(topic, 8, [[1, 1]])))
    await talk.bad("unknown broker", **topics(more(topic, 8, [[9]])))
    await talk.bad("more replicas", **topics(more(topic, 8, [[1, 9]])))
    await talk.bad("tried and wrong", **topics(more(topic, 3), validate_only=True))
    await talk.ask("a name twice", **topics(more(topic, 8), more(topic, 9)))
    await talk.ask(
        "a name twice, and others",
        **topics(more(topic, 8), more(other, 3), more(topic, 9), more(talk.name("no"), 2)),
    )
    await talk.ask("good and bad", **topics(more(other, 1), more(topic, 8)))
    await talk.good("no topics", **topics())
    hurry = await talk.topic("hurry")
    await talk.ask("no time", topics=[more(hurry, 20)], timeout_ms=0)
