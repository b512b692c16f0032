"""AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit, markers, and what is shown of them."""

import asyncio
from typing import Any

from tests.support.versions.talk import NOT_READY, Talk, scenario

from ottla.record.builder import build_batch
from ottla.record.records import Record

CONCURRENT_TRANSACTIONS = 51
TIMEOUT_MS = 60_000
FAR = 2**53


async def producer_of(talk: Talk, transactional_id: str) -> dict[str, Any]:
    """Become the id's producer; its id and epoch, as requests have them."""
    while True:
        answer = await talk.tell(
            22, 4, transactional_id=transactional_id, transaction_timeout_ms=TIMEOUT_MS
        )
        if answer.error_code in (*NOT_READY, CONCURRENT_TRANSACTIONS):
            await talk.tell(10, 1, key=transactional_id, key_type=1)
            await asyncio.sleep(0.01)
            continue
        assert answer.error_code == 0, answer
        return {"producer_id": answer.producer_id, "producer_epoch": answer.producer_epoch}


async def begun(talk: Talk, stem: str, topic: str) -> dict[str, Any]:
    """A producer whose transaction has partition 0 of a topic."""
    transactional_id = talk.name(stem)
    producer = await producer_of(talk, transactional_id)
    answer = await talk.tell(
        24,
        3,
        v3_and_below_transactional_id=transactional_id,
        v3_and_below_producer_id=producer["producer_id"],
        v3_and_below_producer_epoch=producer["producer_epoch"],
        v3_and_below_topics=[{"name": topic, "partitions": [0]}],
    )
    (row,) = answer.results_by_topic_v3_and_below[0].results_by_partition
    assert row.partition_error_code == 0, row
    return {"transactional_id": transactional_id, **producer}


@scenario(24)
async def add_partitions_to_txn(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2)
    transactional_id = talk.name("tx")
    producer = await producer_of(talk, transactional_id)

    def adding(*names: tuple[str, int], verify: bool = False, **rest: Any) -> dict[str, Any]:
        topics = [{"name": name, "partitions": [number]} for name, number in names]
        fields = {"transactional_id": transactional_id, **producer, "topics": topics, **rest}
        if talk.version >= 4:
            return {"transactions": [{**fields, "verify_only": verify}]}
        return {f"v3_and_below_{name}": value for name, value in fields.items()}

    forged = producer["producer_id"] + FAR
    await talk.bad("not begun: another epoch", **adding((topic, 0), producer_epoch=7))
    await talk.bad("another producer", **adding((topic, 0), producer_id=forged))
    await talk.bad("an unknown id", **adding((topic, 0), transactional_id=talk.name("no")))
    await talk.bad("no id", **adding((topic, 0), transactional_id=""))
    await talk.bad("unknown topic", **adding((talk.name("none"), 0)))
    await talk.bad("partition out of range", **adding((topic, 2)))
    await talk.good("one", **adding((topic, 0)))
    await talk.good("again", **adding((topic, 0)))
    await talk.good("none", **adding())
    if talk.version >= 4:
        await talk.good("part of it", **adding((topic, 0), verify=True))
        await talk.bad("not part of it", **adding((topic, 1), verify=True))
        await talk.bad("part of nothing", **adding((topic, 9), verify=True))


@scenario(25)
async def add_offsets_to_txn(talk: Talk) -> None:
    group = talk.name("g")
    await talk.group_ready(group)
    transactional_id = talk.name("tx")
    producer = await producer_of(talk, transactional_id)

    def adding(**rest: Any) -> dict[str, Any]:
        return {"transactional_id": transactional_id, "group_id": group, **producer, **rest}

    await talk.bad("another epoch", **adding(producer_epoch=7))
    await talk.bad("another producer", **adding(producer_id=producer["producer_id"] + FAR))
    await talk.bad("an unknown id", **adding(transactional_id=talk.name("no")))
    await talk.bad("no id", **adding(transactional_id=""))
    await talk.good("a group", **adding())
    await talk.good("again", **adding())


@scenario(26)
async def end_txn(talk: Talk) -> None:
    topic = await talk.topic("t")
    empty_id = talk.name("empty")
    empty = {"transactional_id": empty_id, **await producer_of(talk, empty_id)}
    await talk.bad("nothing to commit", **empty, committed=True)
    await talk.ask("nothing to abort", **empty, committed=False)
    for committed in (True, False):
        what = "commit" if committed else "abort"
        fields = {**await begun(talk, what, topic), "committed": committed}
        forged = fields["producer_id"] + FAR
        await talk.bad(f"{what}: another epoch", **{**fields, "producer_epoch": 7})
        await talk.bad(f"{what}: another producer", **{**fields, "producer_id": forged})
        await talk.good(what, **fields)
    await talk.bad("an unknown id", **{**empty, "transactional_id": talk.name("no")})
    await talk.bad("no id", **{**empty, "transactional_id": ""})


@scenario(27)
async def write_txn_markers(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2)
    producer = await begun(talk, "tx", topic)
    records = [Record(timestamp=0, key=None, value=b"v")]
    batch = build_batch(
        records,
        transactional=True,
        base_sequence=0,
        producer_id=producer["producer_id"],
        producer_epoch=producer["producer_epoch"],
    )
    answer = await talk.tell(
        0,
        9,
        transactional_id=producer["transactional_id"],
        acks=-1,
        timeout_ms=10_000,
        topic_data=[{"name": topic, "partition_data": [{"index": 0, "records": batch}]}],
    )
    assert answer.responses[0].partition_responses[0].error_code == 0

    def marking(name: str, number: int, epoch: int, coordinator_epoch: int = 0) -> dict[str, Any]:
        return {
            "markers": [
                {
                    "producer_id": producer["producer_id"],
                    "producer_epoch": epoch,
                    "transaction_result": False,
                    "topics": [{"name": name, "partition_indexes": [number]}],
                    "coordinator_epoch": coordinator_epoch,
                }
            ]
        }

    await talk.bad("unknown topic", **marking(talk.name("no"), 0, 0))
    await talk.bad("partition out of range", **marking(topic, 2, 0))
    await talk.good("a marker", **marking(topic, 0, 1, 5))
    await talk.bad("of an older epoch", **marking(topic, 0, 0, 5))
    await talk.bad("of an older coordinator", **marking(topic, 0, 1, 4))
    await talk.good("no markers", markers=[])


@scenario(28)
async def txn_offset_commit(talk: Talk) -> None:
    topic = await talk.topic("t")
    group = talk.name("g")
    await talk.group_ready(group)
    transactional_id = talk.name("tx")
    producer = await producer_of(talk, transactional_id)

    def committing(name: str = topic, number: int = 0, **rest: Any) -> dict[str, Any]:
        row = {"partition_index": number, "committed_offset": 5, "committed_metadata": "m"}
        return {
            "transactional_id": transactional_id,
            "group_id": group,
            **producer,
            "topics": [{"name": name, "partitions": [row]}],
            **rest,
        }

    if talk.version < 5:
        await talk.bad("not begun", **committing())
        fields = {"transactional_id": transactional_id, "group_id": group, **producer}
        await talk.tell(25, 3, **fields)
    await talk.good("an offset", **committing())
    await talk.bad("unknown topic", **committing(talk.name("no")))
    await talk.bad("partition out of range", **committing(number=2))
    await talk.bad("another epoch", **committing(producer_epoch=7))
    await talk.bad("another producer", **committing(producer_id=producer["producer_id"] + FAR))
    await talk.good("no topics", **committing(topics=[]))
    if talk.version >= 3:
        await talk.bad("a generation of no group", **committing(generation_id=3, member_id="x"))


@scenario(61)
async def describe_producers(talk: Talk) -> None:
    topic = await talk.topic("t")
    await talk.good("nobody", topics=[{"name": topic, "partition_indexes": [0]}])
    await talk.bad("out of range", topics=[{"name": topic, "partition_indexes": [2]}])
    await talk.bad("unknown topic", topics=[{"name": talk.name("n"), "partition_indexes": [0]}])
    await talk.good("nothing", topics=[])


@scenario(65)
async def describe_transactions(talk: Talk) -> None:
    topic = await talk.topic("t")
    one = await begun(talk, "tx", topic)
    two = talk.name("empty")
    await producer_of(talk, two)
    await talk.good("an open one", transactional_ids=[one["transactional_id"]])
    await talk.good("an empty one", transactional_ids=[two])
    await talk.bad("an unknown one", transactional_ids=[talk.name("no")])
    await talk.bad("no id", transactional_ids=[""])
    await talk.good("none", transactional_ids=[])


@scenario(66)
async def list_transactions(talk: Talk) -> None:
    topic = await talk.topic("t")
    one = await begun(talk, "tx", topic)
    mine = {"producer_id_filters": [one["producer_id"]]}
    await talk.good("one", **mine)
    await talk.good("open ones", **mine, state_filters=["Ongoing"])
    await talk.good("empty ones", **mine, state_filters=["Empty"])
    await talk.good("of a state that is none", **mine, state_filters=["Ongoing", "Sleeping"])
    await talk.good("of nobody", producer_id_filters=[FAR])
    if talk.version >= 1:
        await talk.good("long ones", **mine, duration_filter=3_600_000)
    if talk.version >= 2:
        await talk.bad("a pattern that is none", **mine, transactional_id_pattern="(")
