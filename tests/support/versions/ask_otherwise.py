"""What is asked of brokers with other settings, and of one that was restarted."""

from typing import Any

from tests.support.versions.ask_fetch import Asking
from tests.support.versions.ask_offsets import SPECIAL, epoch, listed
from tests.support.versions.ask_topics import new
from tests.support.versions.talk import OLD_MS, Talk, batch, scenario
from tests.support.versions.worlds import AGED, epoch_named

# No topics by themselves, none deleted, short answers, no sessions


@scenario(3, "closed")
async def metadata(talk: Talk) -> None:
    topic = await talk.topic("t")
    unknown = {"name": talk.name("unknown")}
    for allowed in True, False:
        asked: dict[str, Any] = {"allow_auto_topic_creation": allowed}
        await talk.good(f"known, {allowed}", topics=[{"name": topic}], **asked)
        await talk.bad(f"unknown, {allowed}", topics=[unknown], **asked)
        await talk.bad(f"unknown again, {allowed}", topics=[{"name": topic}, unknown], **asked)
        await talk.bad(f"illegal, {allowed}", topics=[{"name": "a/b"}], **asked)
        await talk.bad(f"empty, {allowed}", topics=[{"name": ""}], **asked)


@scenario(0, "closed")
async def produce(talk: Talk) -> None:
    rows = [{"index": 0, "records": batch("x")}]
    data = {"name": talk.name("unknown"), "topic_id": b"no such topic id", "partition_data": rows}
    await talk.bad("unknown", acks=-1, timeout_ms=1000, topic_data=[data])


@scenario(20, "closed")
async def delete_topics(talk: Talk) -> None:
    names = [await talk.topic("t"), talk.name("unknown")]
    await talk.bad(
        "deletion is disabled",
        topic_names=names,
        topics=[{"name": name, "topic_id": bytes(16)} for name in names],
        timeout_ms=1000,
    )
    await talk.ask("no topics", topic_names=[], topics=[], timeout_ms=1000)


@scenario(19, "closed")
async def create_topics(talk: Talk) -> None:
    topics = [new(talk.name("t"), -1, -1)]
    ask = talk.good if talk.version >= 4 else talk.ask
    await ask("default partitions", topics=topics, timeout_ms=10_000)


@scenario(75, "closed")
async def describe_topic_partitions(talk: Talk) -> None:
    topics = [{"name": await talk.topic(stem, partitions=2)} for stem in "abc"]
    for limit in 0, 1, 2, 3, 4, 2000:
        await talk.ask(f"limit {limit}", topics=topics, response_partition_limit=limit)


@scenario(1, "closed")
async def fetch(talk: Talk) -> None:
    asking = Asking(talk)
    topic = await talk.topic("t", batches=[batch("a")])
    one = asking.topic(topic, asking.row(0))
    await talk.good("begin a session", **asking.request(one, session_epoch=0))
    await talk.good("end a session", **asking.request(one, session_epoch=-1))
    if talk.version >= 7:
        await talk.bad("go on", **asking.request(one, session_id=5, session_epoch=1))


# Killed and started again, twice


@scenario(2, "restarted")
async def list_offsets(talk: Talk) -> None:
    newest = epoch_named(talk.masks, "E2")
    for case in "latest", "earliest":
        await talk.good(case, **listed(AGED, SPECIAL[case]))
    await talk.good("the second epoch's time", **listed(AGED, OLD_MS + 1))
    if talk.version >= 7:
        await talk.good("max timestamp", **listed(AGED, SPECIAL["max timestamp"]))
    for case, current in {"older": newest - 1, "the same": newest, "newer": newest + 1}.items():
        for name, timestamp in SPECIAL.items():
            if timestamp >= -2:
                await talk.ask(
                    f"{case} leader epoch, {name}",
                    **listed(AGED, timestamp, current_leader_epoch=current),
                )
        await talk.ask(
            f"{case} leader epoch, a time", **listed(AGED, OLD_MS, current_leader_epoch=current)
        )


@scenario(23, "restarted")
async def offset_for_leader_epoch(talk: Talk) -> None:
    newest = epoch_named(talk.masks, "E2")
    for name in "E0", "E1", "E2":
        await talk.good(name, **epoch(AGED, epoch_named(talk.masks, name)))
    await talk.good("an epoch to come", **epoch(AGED, newest + 1))
    await talk.good("no epoch", **epoch(AGED, -1))
    for case, current in {"older": newest - 1, "the same": newest, "newer": newest + 1}.items():
        await talk.ask(f"{case} leader epoch", **epoch(AGED, 0, current_leader_epoch=current))


@scenario(1, "restarted")
async def fetch_again(talk: Talk) -> None:
    asking = Asking(talk)
    newest = epoch_named(talk.masks, "E2")
    for offset in 0, 3, 4, 5, 6, 7:
        await talk.ask(f"offset {offset}", **asking.one(AGED, offset))
    await talk.good("little room", **asking.one(AGED, 0, partition_max_bytes=1))
    for case, current in {"older": newest - 1, "the same": newest, "newer": newest + 1}.items():
        await talk.ask(f"{case} leader epoch", **asking.one(AGED, 0, current_leader_epoch=current))
    for name in "E0", "E1", "E2":
        for offset in 0, 2, 3, 4, 5, 6, 7:
            row = {"last_fetched_epoch": epoch_named(talk.masks, name)}
            await talk.ask(f"fetched {offset} in {name}", **asking.one(AGED, offset, **row))
    row = {"last_fetched_epoch": newest + 1}
    await talk.ask("fetched in an epoch to come", **asking.one(AGED, 3, **row))


@scenario(3, "restarted")
async def metadata_again(talk: Talk) -> None:
    await talk.good("after restarts", topics=[{"name": AGED}])


@scenario(75, "restarted")
async def describe_topic_partitions_again(talk: Talk) -> None:
    await talk.good("after restarts", topics=[{"name": AGED}])
