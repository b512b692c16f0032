"""Produce and InitProducerId."""

import asyncio
from typing import Any

from tests.support.versions.talk import NOT_READY, Talk, batch, scenario

from ottla.model.isolation import CompressionType


@scenario(0)
async def produce(talk: Talk) -> None:
    topic = await talk.topic("t", partitions=2)

    def sent(
        records: bytes | None, name: str = topic, partition: int = 0, acks: int = -1
    ) -> dict[str, Any]:
        rows = [{"index": partition, "records": records}]
        return {"acks": acks, "timeout_ms": 10_000, "topic_data": [data(name, rows)]}

    def data(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        known = name in talk.topics.values()
        topic_id = talk.topic_id(name) if known else b"no such topic id"
        return {"name": name, "topic_id": topic_id, "partition_data": rows}

    await talk.good("acks=all", **sent(batch("a", "b")))
    await talk.good("acks=1", **sent(batch("c"), acks=1))
    await talk.unanswered("acks=0", "good", **sent(batch("d"), acks=0))
    await talk.good("no time", **{**sent(batch("e")), "timeout_ms": 0})
    await talk.good("time below zero", **{**sent(batch("e")), "timeout_ms": -5})
    for acks in -2, 2, 32767:
        await talk.bad(f"acks={acks}", **sent(batch("x"), acks=acks))
    unknown = talk.name("unknown")
    await talk.bad("unknown topic", **sent(batch("x"), name=unknown))
    await talk.bad("illegal topic", **sent(batch("x"), name="a/b"))
    await talk.bad("partition out of range", **sent(batch("x"), partition=2))
    await talk.bad("partition below zero", **sent(batch("x"), partition=-1))
    if talk.version >= 13:
        rows = [{"index": 0, "records": batch("x")}]
        topics = [{"topic_id": bytes(16), "partition_data": rows}]
        await talk.bad("no topic id", acks=-1, timeout_ms=10_000, topic_data=topics)
    await talk.unanswered("acks=0, unknown topic", "bad", **sent(batch("x"), unknown, acks=0))
    await talk.unanswered("acks=0, partition out of range", "bad", **sent(batch("x"), topic, 2, 0))
    wrong = bytearray(batch("x"))
    wrong[-1] ^= 1
    await talk.bad("wrong checksum", **sent(bytes(wrong)))
    await talk.unanswered("acks=0, wrong checksum", "bad", **sent(bytes(wrong), acks=0))
    await talk.bad("null records", patience_s=3, **sent(None))  # Kafka has no answer
    await talk.bad("empty records", **sent(b""))
    await talk.bad("noise", **sent(b"noise" * 20))
    await talk.bad("short noise", **sent(b"noise"))
    await talk.bad("two batches", **sent(batch("x") + batch("y")))
    await talk.bad("a cut-off batch", **sent(batch("x", "y")[:-3]))
    for compression in CompressionType:
        await talk.ask(compression.name, **sent(batch("z" * 200, compression=compression)))
    await talk.bad("a control batch", **sent(batch("x", control=True)))
    small = await talk.topic("small", max_message_bytes="200")
    await talk.bad("too large", **sent(batch("x" * 300), name=small))
    compacted = await talk.topic("compact", cleanup_policy="compact")
    await talk.good("a key where one must be", **sent(batch("x"), name=compacted))
    await talk.bad("no key where one must be", **sent(batch("x", "y", key=None), name=compacted))
    stamped = await talk.topic("stamped", message_timestamp_type="LogAppendTime")
    await talk.good("stamped by the broker", **sent(batch("x"), name=stamped))
    window = await talk.topic("window", message_timestamp_before_max_ms="1000")
    await talk.bad("too old", **sent(batch("x", "y"), name=window))
    careful = await talk.topic("careful", min_insync_replicas="2")
    await talk.ask("too few replicas", **sent(batch("x"), name=careful))
    await talk.good("too few replicas, acks=1", **sent(batch("x"), name=careful, acks=1))
    await talk.group_ready(talk.name("g"))
    await talk.appears("__consumer_offsets")
    await talk.bad("internal topic", **sent(batch("x"), name="__consumer_offsets"))

    topic = await talk.topic("many")
    good, bad = {"index": 0, "records": batch("g")}, {"index": 5, "records": batch("b")}
    await talk.ask(
        "good and bad",
        acks=-1,
        timeout_ms=10_000,
        topic_data=[data(topic, [bad, good]), data(unknown, [good])],
    )
    twice = {"acks": -1, "timeout_ms": 10_000}
    await talk.ask("a partition twice", topic_data=[data(topic, [good, good])], **twice)
    await talk.ask("a topic twice", topic_data=[data(topic, [good]), data(topic, [good])], **twice)
    await talk.good("no topics", topic_data=[], **twice)
    await talk.good("no partitions", topic_data=[data(topic, [])], **twice)
    topic = await talk.topic("tx")
    await talk.ask("a transactional id alone", transactional_id="tx", **sent(batch("x"), topic))
    await talk.ask("an empty transactional id", transactional_id="", **sent(batch("x"), topic))

    answer = await talk.tell(22, 1, transactional_id=None, transaction_timeout_ms=0)
    assert answer.error_code == 0, answer
    producer = {"producer_id": answer.producer_id, "producer_epoch": 0}
    await talk.bad(
        "a transactional batch without its id",
        **sent(batch("x", transactional=True, base_sequence=0, **producer)),
    )
    await talk.good("sequence 0", **sent(batch("p", "q", base_sequence=0, **producer)))
    await talk.good("sequence 0 again", **sent(batch("p", "q", base_sequence=0, **producer)))
    await talk.good("sequence 2", **sent(batch("r", base_sequence=2, **producer)))
    await talk.bad("sequence 5", **sent(batch("s", base_sequence=5, **producer)))
    await talk.bad("within a batch", **sent(batch("q", base_sequence=1, **producer)))
    await talk.bad("no sequence", **sent(batch("q", **producer)))
    newer = {**producer, "producer_epoch": 1}
    await talk.bad("a new epoch, not from 0", **sent(batch("n", base_sequence=3, **newer)))
    await talk.good("a new epoch", **sent(batch("n", base_sequence=0, **newer)))
    await talk.bad("the old epoch", **sent(batch("o", base_sequence=3, **producer)))
    for number in range(1, 7):
        await talk.good(
            f"sequence {number} of 6", **sent(batch("m", base_sequence=number, **newer))
        )
    await talk.ask("a duplicate too old to know", **sent(batch("n", base_sequence=0, **newer)))
    await talk.ask(
        "sequence 4 elsewhere", **sent(batch("m", base_sequence=4, **newer), partition=1)
    )


@scenario(22)
async def init_producer_id(talk: Talk) -> None:
    given = []

    async def init(case: str, kind: str, transactional_id: str | None = None, **rest: Any) -> Any:
        fields = {"transactional_id": transactional_id, "transaction_timeout_ms": 60_000, **rest}
        answer = await talk.ask(case, kind, **fields)
        if kind == "good":
            given.append(answer.producer_id)
        return answer

    first = await init("idempotent", "good")
    await init("idempotent again", "good")
    await init("no timeout", "good", transaction_timeout_ms=0)
    await init("a timeout below zero", "good", transaction_timeout_ms=-1)
    await init("an empty transactional id", "bad", "")
    await init("its id and epoch", "", producer_id=first.producer_id, producer_epoch=0)
    await init("a newer epoch", "", producer_id=first.producer_id, producer_epoch=5)
    await init("the last epoch", "", producer_id=first.producer_id, producer_epoch=32767)
    await init("an id of nobody", "", producer_id=123_456_789, producer_epoch=0)
    await init("an id, no epoch", "", producer_id=first.producer_id, producer_epoch=-1)
    await init("an epoch, no id", "", producer_id=-1, producer_epoch=0)
    await init("id and epoch -2", "", producer_id=-2, producer_epoch=-2)
    await init("an id below zero", "", producer_id=-5, producer_epoch=3)
    await init("an epoch below zero", "", producer_id=7, producer_epoch=-3)
    while True:  # until the id's coordinator has loaded
        found = await talk.tell(65, 0, transactional_ids=[talk.name("tx")])
        if found.transaction_states[0].error_code not in NOT_READY:
            break
        await talk.tell(10, 1, key=talk.name("tx"), key_type=1)
        await asyncio.sleep(0.01)
    await init("transactional", "", talk.name("tx"))
    await init("two phases", "", enable2_pc=True)
    await init("keep prepared", "", keep_prepared_txn=True)
    assert len(set(given)) == len(given), "an id was given twice"
