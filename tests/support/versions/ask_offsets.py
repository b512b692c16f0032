"""ListOffsets, DeleteRecords, OffsetForLeaderEpoch."""

from typing import Any

from tests.support.versions.talk import OLD_MS, Talk, batch, scenario

SPECIAL = {
    "latest": -1,
    "earliest": -2,
    "max timestamp": -3,
    "earliest local": -4,
    "latest tiered": -5,
    "earliest pending upload": -6,
    "minus seven": -7,
    "the least": -(2**63),
}
FIRST = {"max timestamp": 7, "earliest local": 8, "latest tiered": 9, "earliest pending upload": 11}


def listed(topic: str, timestamp: int, partition: int = 0, **row: Any) -> dict[str, Any]:
    row = {"partition_index": partition, "timestamp": timestamp, **row}
    return {"replica_id": -1, "topics": [{"name": topic, "partitions": [row]}], "timeout_ms": 1000}


@scenario(2)
async def list_offsets(talk: Talk) -> None:
    full = await talk.topic(
        "full",
        partitions=2,
        batches=[
            batch("a", "b", "c"),
            batch("late", at=OLD_MS + 100),
            batch("d", "e", at=OLD_MS + 50),
            batch("the same late", at=OLD_MS + 100),
        ],
    )
    for case, timestamp in SPECIAL.items():
        known = timestamp >= -6 and talk.version >= FIRST.get(case, 0)
        ask = talk.good if known else talk.bad
        await ask(case, **listed(full, timestamp))
        await ask(f"{case}, nothing there", **listed(full, timestamp, partition=1))
    times = {"before all": 0, "the first": OLD_MS, "between": OLD_MS + 3, "late": OLD_MS + 100}
    for case, timestamp in {**times, "after all": OLD_MS + 101, "far": 2**63 - 1}.items():
        await talk.good(case, **listed(full, timestamp))
    await talk.good("a time, nothing there", **listed(full, OLD_MS, partition=1))
    for isolation in 1, 2:
        for case in "latest", "earliest", "max timestamp":
            await talk.ask(
                f"{case}, isolation {isolation}",
                isolation_level=isolation,
                **listed(full, SPECIAL[case]),
            )
    await talk.ask("a replica asks", **{**listed(full, -1), "replica_id": 3})
    await talk.ask("a debugging consumer asks", **{**listed(full, -1), "replica_id": -2})
    await talk.bad("partition out of range", **listed(full, -1, partition=2))
    await talk.bad("partition below zero", **listed(full, -1, partition=-1))
    await talk.bad("unknown topic", **listed(talk.name("unknown"), -1))
    await talk.bad("illegal topic", **listed("a/b", -1))
    await talk.bad("empty topic", **listed("", -1))
    await talk.good("current leader epoch", **listed(full, -1, current_leader_epoch=0))
    await talk.ask("newer leader epoch", **listed(full, -1, current_leader_epoch=1))
    await talk.ask("leader epoch -2", **listed(full, -1, current_leader_epoch=-2))
    row = {"partition_index": 0, "timestamp": -1}
    await talk.ask(
        "a partition twice", replica_id=-1, topics=[{"name": full, "partitions": [row, row]}]
    )
    one = {"name": full, "partitions": [row]}
    await talk.ask("a topic twice", replica_id=-1, topics=[one, one])
    await talk.good("no topics", replica_id=-1, topics=[])
    await talk.good("no partitions", replica_id=-1, topics=[{"name": full, "partitions": []}])
    await talk.ask(
        "good and bad",
        replica_id=-1,
        topics=[
            {"name": talk.name("unknown"), "partitions": [row]},
            {"name": full, "partitions": [row, {"partition_index": 9, "timestamp": -1}]},
        ],
    )
    cut = await talk.topic("cut", batches=[batch("a", "b"), batch("c")])
    rows = [{"partition_index": 0, "offset": 2}]
    await talk.tell(21, 2, topics=[{"name": cut, "partitions": rows}], timeout_ms=5_000)
    for case in "earliest", "latest", "max timestamp", "earliest local":
        known = talk.version >= FIRST.get(case, 0)
        await (talk.good if known else talk.bad)(f"{case}, cut", **listed(cut, SPECIAL[case]))
    await talk.good("a time that was cut off", **listed(cut, OLD_MS))
    rows = [{"partition_index": 0, "offset": -1}]
    await talk.tell(21, 2, topics=[{"name": cut, "partitions": rows}], timeout_ms=5_000)
    for case in "earliest", "latest", "max timestamp", "earliest local":
        known = talk.version >= FIRST.get(case, 0)
        await (talk.good if known else talk.bad)(f"{case}, all cut", **listed(cut, SPECIAL[case]))
    stamped = await talk.topic(
        "stamped", batches=[batch("a", "b")], message_timestamp_type="LogAppendTime"
    )
    for case in "latest", "earliest", "max timestamp":
        known = talk.version >= FIRST.get(case, 0)
        await (talk.good if known else talk.bad)(
            f"{case}, stamped by the broker", **listed(stamped, SPECIAL[case])
        )


def deleted(topic: str, offset: int, partition: int = 0) -> dict[str, Any]:
    row = {"partition_index": partition, "offset": offset}
    return {"topics": [{"name": topic, "partitions": [row]}], "timeout_ms": 10_000}


@scenario(21)
async def delete_records(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2, batches=[batch("a", "b"), batch("c", "d", "e")])
    await talk.good("nothing yet", **deleted(topic, 0))
    await talk.good("into a batch", **deleted(topic, 1))
    await talk.good("less than before", **deleted(topic, 0))
    await talk.good("a whole batch", **deleted(topic, 2))
    await talk.bad("more than there is", **deleted(topic, 6))
    await talk.bad("offset -2", **deleted(topic, -2))
    await talk.good("an empty partition", **deleted(topic, 0, partition=1))
    await talk.good("all of an empty partition", **deleted(topic, -1, partition=1))
    await talk.bad("beyond an empty partition", **deleted(topic, 1, partition=1))
    await talk.bad("partition out of range", **deleted(topic, 0, partition=2))
    await talk.bad("partition below zero", **deleted(topic, 0, partition=-1))
    await talk.bad("unknown topic", **deleted(talk.name("unknown"), 0))
    await talk.bad("illegal topic", **deleted("a/b", 0))
    compacted = await talk.topic("compact", batches=[batch("a")], cleanup_policy="compact")
    await talk.bad("compacted", **deleted(compacted, 1))
    both = await talk.topic("both", batches=[batch("a")], cleanup_policy="compact,delete")
    await talk.good("compacted and deleted", **deleted(both, 1))
    await talk.group_ready(talk.name("g"))
    await talk.bad("internal topic", **deleted("__consumer_offsets", 0))
    good = {"name": topic, "partitions": [{"partition_index": 0, "offset": 3}]}
    unknown = {**good, "name": talk.name("unknown")}
    await talk.ask("good and bad", topics=[unknown, good], timeout_ms=10_000)
    rows = [{"partition_index": 0, "offset": 4}, {"partition_index": 0, "offset": 3}]
    await talk.ask(
        "a partition twice", topics=[{"name": topic, "partitions": rows}], timeout_ms=10_000
    )
    await talk.good("no topics", topics=[], timeout_ms=10_000)
    await talk.good("no partitions", topics=[{"name": topic, "partitions": []}], timeout_ms=10_000)
    await talk.good("no time", **{**deleted(topic, 4), "timeout_ms": 0})
    await talk.good("all", **deleted(topic, -1))


def epoch(topic: str, leader_epoch: int, partition: int = 0, **row: Any) -> dict[str, Any]:
    row = {"partition": partition, "leader_epoch": leader_epoch, **row}
    return {"replica_id": -1, "topics": [{"topic": topic, "partitions": [row]}]}


@scenario(23)
async def offset_for_leader_epoch(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2, batches=[batch("a", "b"), batch("c")])
    await talk.good("the only epoch", **epoch(topic, 0))
    await talk.good("the only epoch, nothing there", **epoch(topic, 0, partition=1))
    await talk.good("an epoch to come", **epoch(topic, 1))
    await talk.good("no epoch", **epoch(topic, -1))
    await talk.good("epoch -2", **epoch(topic, -2))
    await talk.good("no epoch, nothing there", **epoch(topic, -1, partition=1))
    await talk.good("current leader epoch", **epoch(topic, 0, current_leader_epoch=0))
    await talk.bad("newer leader epoch", **epoch(topic, 0, current_leader_epoch=1))
    await talk.bad("partition out of range", **epoch(topic, 0, partition=2))
    await talk.bad("partition below zero", **epoch(topic, 0, partition=-1))
    await talk.bad("unknown topic", **epoch(talk.name("unknown"), 0))
    await talk.bad("illegal topic", **epoch("a/b", 0))
    await talk.ask("a replica asks", **{**epoch(topic, 0), "replica_id": 5})
    await talk.ask("a debugging consumer asks", **{**epoch(topic, 0), "replica_id": -2})
    row = {"partition": 0, "leader_epoch": 0}
    one = {"topic": topic, "partitions": [row]}
    unknown = {"topic": talk.name("unknown"), "partitions": [row, {**row, "partition": 1}]}
    await talk.ask("good and bad", topics=[unknown, one])
    await talk.ask("a partition twice", topics=[{"topic": topic, "partitions": [row, row]}])
    await talk.ask("a topic twice", topics=[one, one])
    await talk.good("no topics", topics=[])
    await talk.good("no partitions", topics=[{"topic": topic, "partitions": []}])
