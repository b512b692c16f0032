"""Metadata, DescribeTopicPartitions, DescribeCluster, DescribeLogDirs, AlterReplicaLogDirs, ApiVersions, FindCoordinator."""

from typing import Any

from tests.support.versions.talk import Talk, batch, scenario

from ottla.wire.headers import RequestHeader, request_header

ILLEGAL = {"empty": "", "dot": ".", "slash": "a/b", "long": "x" * 250, "not ASCII": "é"}


@scenario(3)
async def metadata(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=3)
    other = await talk.topic("other")
    await talk.group_ready(talk.name("g"))

    def names(*topics: str, **rest: Any) -> dict[str, Any]:
        return {"topics": [{"name": name} for name in topics], **rest}

    quiet = {"allow_auto_topic_creation": False}
    await talk.good("one topic", **names(topic))
    await talk.good("two topics", **names(topic, other))
    await talk.good("the other order", **names(other, topic))
    await talk.good("a topic twice", **names(topic, topic))
    await talk.good("an internal topic", **names("__consumer_offsets"))
    await talk.good("an empty list", own=True, **names())
    if talk.version >= 1:
        await talk.good("all topics", own=True, topics=None)
    # Before version 4 whoever asks creates.
    create = "create " if talk.version < 4 else ""
    unknown = talk.name("unknown")
    ask = talk.ask if create else talk.bad
    await ask(f"{create}unknown topic", **names(unknown, **quiet))
    await talk.ask(f"{create}known and unknown", **names(talk.name("second"), topic, **quiet))
    for case, name in ILLEGAL.items():
        await talk.bad(f"illegal: {case}", **names(name, **quiet))
    if talk.version >= 4:
        await talk.ask("create a topic", **names(talk.name("made")))
        await talk.appears(talk.name("made"))
        await talk.good("it was created", **names(talk.name("made"), **quiet))
        await talk.bad("create an illegal topic", **names("a/b"))
        await talk.ask("create illegal and legal", **names("a/b", topic, talk.name("made-too")))
        await talk.appears(talk.name("made-too"))
        collides = talk.name("a.b")
        await talk.topic("a.b")
        await talk.bad("create what collides", **names(collides.replace("a.b", "a_b")))
    if talk.version >= 8:
        asked = {"include_topic_authorized_operations": True, **quiet}
        await talk.good("what may be done to topics", **names(topic, **asked))
        await talk.bad("what may be done to the unknown", **names(talk.name("nobody"), **asked))
        await talk.good(
            "what may be done to the cluster",
            **names(topic),
            **{"include_cluster_authorized_operations": True, **quiet},
        )
    if talk.version >= 10:
        await _by_id(talk, topic, other)


async def _by_id(talk: Talk, topic: str, other: str) -> None:
    def ids(*topics: bytes) -> dict[str, Any]:
        return {
            "topics": [{"topic_id": topic_id, "name": None} for topic_id in topics],
            "allow_auto_topic_creation": False,
        }

    known = talk.topic_id(topic)
    ask = talk.good if talk.version >= 12 else talk.bad
    await ask("by id", **ids(known))
    await ask("two by id", **ids(talk.topic_id(other), known))
    await ask("an id twice", **ids(known, known))
    await talk.bad("an unknown id", **ids(b"no such topic id"))
    await talk.bad("known and unknown ids", **ids(b"no such topic id", known))
    await talk.bad("neither name nor id", **ids(bytes(16)))
    both = {"topics": [{"topic_id": known, "name": topic}], "allow_auto_topic_creation": False}
    await talk.ask("name and id", **both)
    mixed = {"topics": [{"topic_id": known, "name": None}, {"name": other}]}
    await talk.ask("one by name, one by id", **mixed)
    mixed = {"topics": [{"name": other}, {"topic_id": known, "name": None}]}
    await talk.ask("one by id, one by name", **mixed)


@scenario(75)
async def describe_topic_partitions(talk: Talk) -> None:
    first = await talk.topic("a", partitions=3)
    second = await talk.topic("b", partitions=2)
    third = await talk.topic("c")
    await talk.group_ready(talk.name("g"))

    def names(*topics: str, **rest: Any) -> dict[str, Any]:
        return {"topics": [{"name": name} for name in topics], **rest}

    def after(topic: str, partition: int) -> dict[str, Any]:
        return {"cursor": {"topic_name": topic, "partition_index": partition}}

    everything = (third, first, second)
    await talk.good("one topic", **names(first))
    await talk.good("three topics", **names(*everything))
    await talk.good("a topic twice", **names(first, first))
    await talk.good("an internal topic", **names("__consumer_offsets"))
    await talk.bad("unknown topic", **names(talk.name("unknown")))
    await talk.bad("unknown between known", **names(third, talk.name("bb"), first))
    for case, name in ILLEGAL.items():
        await talk.bad(f"illegal: {case}", **names(name))
    for limit in 0, -1, 1, 2, 3, 4, 5, 6, 7, 100_000:
        await talk.ask(f"limit {limit}", **names(*everything, response_partition_limit=limit))
    for partition in 0, 1, 2, 3, 100:
        await talk.ask(f"after a {partition}", **names(*everything, **after(first, partition)))
    await talk.bad("after a -1", **names(*everything, **after(first, -1)))
    await talk.ask("after b", **names(*everything, **after(second, 0)))
    await talk.ask("after the last", **names(*everything, **after(talk.name("zzz"), 0)))
    await talk.ask("after what is not there", **names(*everything, **after(talk.name("aa"), 1)))
    await talk.ask("after what was not asked", **names(first, third, **after(second, 1)))
    await talk.ask(
        "after a 2, limit 2", **names(*everything, response_partition_limit=2, **after(first, 2))
    )
    await talk.ask(
        "a limit before the unknown",
        **names(first, talk.name("unknown"), response_partition_limit=3),
    )
    await talk.good("everything", own=True, topics=[])
    await talk.good("everything after b", own=True, topics=[], **after(second, 0))


@scenario(60)
async def describe_cluster(talk: Talk) -> None:
    asked = {"include_cluster_authorized_operations": True}
    await talk.good("plain", include_cluster_authorized_operations=False)
    await talk.good("what may be done", **asked)
    await talk.good("fenced brokers too", include_fenced_brokers=True, **asked)
    if talk.version >= 1:
        for kind in 0, 2, 3, -1:
            await talk.bad(f"endpoint type {kind}", endpoint_type=kind, **asked)


@scenario(35)
async def describe_log_dirs(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=3, batches=[batch("a"), batch("b", "c")])
    other = await talk.topic("other")
    unknown = talk.name("unknown")

    def some(*topics: tuple[str, list[int]]) -> dict[str, Any]:
        return {"topics": [{"topic": name, "partitions": rows} for name, rows in topics]}

    await talk.good("one partition", **some((topic, [0])))
    await talk.good("three partitions", **some((topic, [2, 0, 1])))
    await talk.good("two topics", **some((topic, [0]), (other, [0])))
    await talk.ask("unknown topic", **some((unknown, [0])))
    await talk.ask("unknown partition", **some((topic, [0, 7])))
    await talk.ask("partition below zero", **some((topic, [-1])))
    await talk.ask("illegal topic", **some(("a/b", [0])))
    await talk.ask("a partition twice", **some((topic, [1, 1])))
    await talk.ask("a topic twice", **some((topic, [1]), (topic, [2])))
    await talk.ask("no partitions", **some((topic, [])))
    await talk.ask("no topics", topics=[])
    await talk.good("everything", own=True, topics=None)


@scenario(34)
async def alter_replica_log_dirs(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2, batches=[batch("a")])
    unknown = talk.name("unknown")
    described = await talk.tell(35, 4, topics=[{"topic": topic, "partitions": [0, 1]}])
    here = described.results[0].log_dir

    def to(path: str, *topics: tuple[str, list[int]]) -> dict[str, Any]:
        rows = [{"name": name, "partitions": partitions} for name, partitions in topics]
        return {"dirs": [{"path": path, "topics": rows}]}

    await talk.good("nothing", dirs=[])
    await talk.good("where it is", **to(here, (topic, [0])))
    await talk.good("both where they are", **to(here, (topic, [0, 1])))
    await talk.bad("unknown directory", **to("/not/there", (topic, [0])))
    await talk.bad("relative directory", **to("not/there", (topic, [0])))
    await talk.bad("empty directory", **to("", (topic, [0])))
    await talk.bad("unknown topic", **to(here, (unknown, [0])))
    await talk.bad("unknown partition", **to(here, (topic, [7])))
    await talk.bad("partition below zero", **to(here, (topic, [-1])))
    await talk.bad("illegal topic", **to(here, ("a/b", [0])))
    await talk.ask("no partitions", **to(here, (topic, [])))
    await talk.ask("no topics", **to(here))


@scenario(18)
async def api_versions(talk: Talk) -> None:
    names = {"client_software_name": "probe", "client_software_version": "1.0"}
    await talk.good("versions", **names)
    if talk.version >= 3:
        for name, version in (
            ("", "1.0"),
            ("probe", ""),
            ("probe", "1 0"),
            ("-probe", "1.0"),
            ("probe.", "1.0"),
            ("pröbe", "1.0"),
            ("probe\n", "1.0"),
        ):
            fields = {"client_software_name": name, "client_software_version": version}
            await talk.bad(f"software {name!r} {version!r}", **fields)
        for name, version in ("p", "1"), ("a-b.c", "v1.0-SNAPSHOT"):
            fields = {"client_software_name": name, "client_software_version": version}
            await talk.good(f"software {name!r} {version!r}", **fields)
    await talk.good("again", **names)
    if talk.version == 0:
        for key in (4, 5, 6, 7, 52, 62, 93, 1000, -1):
            header = RequestHeader(18, 0, 7, "c")
            payload = key.to_bytes(2, "big", signed=True) + request_header(header)[2:]
            await talk.raw(f"API key {key}", "bad", payload)


@scenario(10)
async def find_coordinator(talk: Talk) -> None:
    await talk.group_ready(talk.name("g"))

    def keys(kind: int, *keys: str) -> dict[str, Any]:
        return {"key": keys[0] if keys else "", "key_type": kind, "coordinator_keys": list(keys)}

    await talk.good("a group", **keys(0, talk.name("g")))
    await talk.good("an empty group", **keys(0, ""))
    await talk.good("a group with a space", **keys(0, "a b/ç"))
    await talk.good("two groups", **keys(0, talk.name("h"), talk.name("g")))
    await talk.good("a group twice", **keys(0, talk.name("g"), talk.name("g")))
    if talk.version >= 4:
        await talk.good("no keys", **keys(0))
    if talk.version >= 1:
        for kind in 3, 127, -1:
            await talk.bad(f"type {kind}", **keys(kind, "x"))
            await talk.ask(f"type {kind}, two keys", **keys(kind, "x", "y"))
        await talk.ask("an empty transactional id", **keys(1, ""))
        await talk.ask("a transactional id", **keys(1, "tx"))
        some_id = "AAAAAAAAAAAAAAAAAAAAAQ"
        for key in (
            f"g:{some_id}:0",
            f"g:{some_id}",
            f"g:{some_id}:-1",
            f":{some_id}:0",
            "g:bad:0",
            "x",
            "",
        ):
            await talk.ask(f"share state {key!r}", **keys(2, key))
