"""Fetch: what is read, what is refused, and sessions."""

from typing import Any

from tests.support.versions.build import build
from tests.support.versions.talk import Talk, batch, scenario

from ottla.wire.generated.fetch import FetchRequest

EVERYTHING = 1 << 20


class Asking:
    """Fetch requests of one talk."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def row(self, offset: int, partition: int = 0, **rest: Any) -> dict[str, Any]:
        return {
            "partition": partition,
            "fetch_offset": offset,
            "log_start_offset": -1,
            "partition_max_bytes": EVERYTHING,
            **rest,
        }

    def topic(self, name: str, *rows: dict[str, Any]) -> dict[str, Any]:
        return {"topic": name, "topic_id": self._id(name), "partitions": list(rows)}

    def forgotten(self, name: str, *partitions: int) -> dict[str, Any]:
        return {"topic": name, "topic_id": self._id(name), "partitions": list(partitions)}

    def _id(self, name: str) -> bytes:
        if name in self.talk.topics.values():
            return self.talk.topic_id(name)
        return b"no such topic id"

    def request(self, *topics: dict[str, Any], **rest: Any) -> dict[str, Any]:
        return {
            "replica_id": -1,
            "max_wait_ms": 0,
            "min_bytes": 1,
            "max_bytes": EVERYTHING,
            "topics": list(topics),
            **rest,
        }

    def one(self, name: str, offset: int, partition: int = 0, **row: Any) -> dict[str, Any]:
        return self.request(self.topic(name, self.row(offset, partition, **row)))


@scenario(1)
async def fetch(talk: Talk) -> None:
    asking = Asking(talk)
    topic = await talk.topic(
        "t", partitions=3, batches=[batch("a", "b"), batch("c"), batch("d", "e")]
    )
    await talk.append(topic, batch("f", "g"), 1)
    await _reading(talk, asking, topic)
    await _refused(talk, asking, topic)
    await _many(talk, asking, topic)
    if talk.version >= 7:
        await _sessions(talk, asking, topic)
        await _session_errors(talk, asking, topic)


async def _reading(talk: Talk, asking: Asking, topic: str) -> None:
    for offset in 0, 1, 2, 4, 5:
        await talk.good(f"offset {offset}", **asking.one(topic, offset))
    await talk.good("an empty partition", **asking.one(topic, 0, 2))
    await talk.good("read committed", **{**asking.one(topic, 0), "isolation_level": 1})
    await talk.good("read committed, at the end", **{**asking.one(topic, 5), "isolation_level": 1})
    await talk.ask("isolation 2", **{**asking.one(topic, 0), "isolation_level": 2})
    await talk.good("one byte of the partition", **asking.one(topic, 0, partition_max_bytes=1))
    await talk.good("no byte of the partition", **asking.one(topic, 0, partition_max_bytes=0))
    await talk.ask("-1 bytes of the partition", **asking.one(topic, 0, partition_max_bytes=-1))
    await talk.ask("-1 bytes, further on", **asking.one(topic, 2, partition_max_bytes=-1))
    await talk.good("room for one batch and a bit", **asking.one(topic, 0, partition_max_bytes=100))
    for size in 1, 0, -1, 100, 2**31 - 1:
        await talk.ask(f"max_bytes {size}", **{**asking.one(topic, 0), "max_bytes": size})
    for size in 0, -1, 1:
        await talk.good(
            f"min_bytes {size}, at the end", **{**asking.one(topic, 5), "min_bytes": size}
        )
    waiting = {"min_bytes": 10_000, "max_wait_ms": 20}
    await talk.good("more than there is", **{**asking.one(topic, 0), **waiting})
    await talk.good("wait at the end", **{**asking.one(topic, 5), **waiting})
    await talk.good("wait, not long", **{**asking.one(topic, 5), "max_wait_ms": -1})
    await talk.good("a rack", **{**asking.one(topic, 0), "rack_id": "r1"})
    await talk.good("a log start", **asking.one(topic, 0, log_start_offset=3))
    await talk.ask("another cluster", **{**asking.one(topic, 0), "cluster_id": "other"})
    await talk.good("a debugging consumer", **{**asking.one(topic, 0), "replica_id": -2})
    stamped = await talk.topic(
        "stamped", batches=[batch("a")], message_timestamp_type="LogAppendTime"
    )
    await talk.good("stamped by the broker", **asking.one(stamped, 0))
    await talk.group_ready(talk.name("g"))


async def _refused(talk: Talk, asking: Asking, topic: str) -> None:
    for offset in 6, 2**63 - 1, -1:
        await talk.bad(f"offset {offset}", **asking.one(topic, offset))
    await talk.bad("beyond an empty partition", **asking.one(topic, 1, 2))
    cut = await talk.topic("cut", batches=[batch("a", "b"), batch("c")])
    rows = [{"partition_index": 0, "offset": 2}]
    await talk.tell(21, 2, topics=[{"name": cut, "partitions": rows}], timeout_ms=5_000)
    await talk.bad("below the log's start", **asking.one(cut, 1))
    await talk.good("at the log's start", **asking.one(cut, 2))
    await talk.bad("partition out of range", **asking.one(topic, 0, 3))
    await talk.bad("partition below zero", **asking.one(topic, 0, -1))
    unknown = talk.name("unknown")
    await talk.bad("unknown topic", **asking.one(unknown, 0))
    await talk.bad("illegal topic", **asking.one("a/b", 0))
    nameless = {"topic": "", "topic_id": bytes(16), "partitions": [asking.row(0)]}
    await talk.bad("no topic", **asking.request(nameless))
    await talk.good("current leader epoch", **asking.one(topic, 0, current_leader_epoch=0))
    await talk.ask("newer leader epoch", **asking.one(topic, 0, current_leader_epoch=1))
    for epoch in 0, 1, -1, -2:
        await talk.ask(
            f"last fetched epoch {epoch}", **asking.one(topic, 1, last_fetched_epoch=epoch)
        )
        await talk.ask(
            f"last fetched epoch {epoch}, at the end",
            **asking.one(topic, 5, last_fetched_epoch=epoch),
        )
        await talk.ask(
            f"last fetched epoch {epoch}, out of range",
            **asking.one(topic, 9, last_fetched_epoch=epoch),
        )
    follower = {"replica_id": 77, "replica_state": {"replica_id": 77, "replica_epoch": 1}}
    await talk.ask("a follower we do not know", **{**asking.one(topic, 0), **follower})


async def _many(talk: Talk, asking: Asking, topic: str) -> None:
    both = asking.topic(topic, asking.row(0), asking.row(0, 1))
    await talk.good("two partitions", **asking.request(both))
    await talk.good(
        "the other order", **asking.request(asking.topic(topic, *both["partitions"][::-1]))
    )
    for size in 0, 1, 80, 160:
        await talk.good(f"two partitions, max_bytes {size}", **asking.request(both, max_bytes=size))
    at_end = asking.topic(topic, asking.row(5), asking.row(0, 1))
    await talk.good("the first at its end, max_bytes 1", **asking.request(at_end, max_bytes=1))
    small = asking.topic(
        topic, asking.row(0, partition_max_bytes=1), asking.row(0, 1, partition_max_bytes=1)
    )
    await talk.good("two partitions, a byte each", **asking.request(small))
    bad = asking.topic(topic, asking.row(99), asking.row(0, 1), asking.row(0, 9))
    await talk.ask("good and bad", **asking.request(asking.topic("a/b", asking.row(0)), bad))
    first = asking.topic(topic, asking.row(0))
    await talk.ask("a topic twice", **asking.request(first, asking.topic(topic, asking.row(0, 1))))
    twice = asking.topic(topic, asking.row(0), asking.row(2))
    await talk.ask("a partition twice", **asking.request(twice))
    await talk.good("no topics", **asking.request())
    await talk.good("no partitions", **asking.request(asking.topic(topic)))
    other = await talk.topic("other", batches=[batch("o")])
    await talk.good(
        "topics one after the other",
        **asking.request(
            asking.topic(topic, asking.row(0)),
            asking.topic(other, asking.row(0)),
            asking.topic(topic, asking.row(0, 1)),
        ),
    )


async def _sessions(talk: Talk, asking: Asking, topic: str) -> None:
    """A session's life, told from the client's side."""
    name = await talk.topic("session", partitions=4, batches=[batch("a")])
    rows = [asking.row(0, 0), asking.row(0, 1), asking.row(0, 2)]
    answer = await talk.good(
        "begin a session", **asking.request(asking.topic(name, *rows), session_epoch=0)
    )
    session = answer.session_id
    assert session
    epoch = 0

    async def go_on(case: str, *topics: dict[str, Any], **rest: Any) -> None:
        nonlocal epoch
        epoch += 1
        request = asking.request(*topics, session_id=session, session_epoch=epoch, **rest)
        await talk.ask(f"session: {case}", **request)

    def forget(*partitions: int, of: str = name) -> dict[str, Any]:
        return {"forgotten_topics_data": [asking.forgotten(of, *partitions)]}

    await go_on("the same offsets again")
    await go_on("past the records", asking.topic(name, asking.row(1, 0)))
    await go_on("nothing new")
    await talk.append(name, batch("b", "c"))
    await talk.append(name, batch("d"), 1)
    await go_on("news of two")
    await go_on("the same news again")
    await go_on("past one", asking.topic(name, asking.row(3, 0)))
    await go_on("past the other", asking.topic(name, asking.row(1, 1)))
    await go_on("one more partition", asking.topic(name, asking.row(0, 3)))
    await go_on("quiet with four")
    await talk.append(name, batch("e"), 3)
    await go_on("news, max_bytes 0", max_bytes=0)
    await go_on("news, max_bytes 1", max_bytes=1)
    await go_on("past it", asking.topic(name, asking.row(1, 3)))
    for partition in range(4):
        await talk.append(name, batch(f"round {partition}"), partition)
    for turn in range(5):
        await go_on(f"four with news, one at a time, turn {turn}", max_bytes=1)
    await go_on("all four")
    await go_on(
        "past all",
        asking.topic(name, *(asking.row(end, i) for i, end in enumerate((4, 2, 1, 2)))),
    )
    await go_on("forget one", **forget(1))
    await talk.append(name, batch("unheard"), 1)
    await go_on("no news of the forgotten")
    await go_on("forget what is not there", **forget(1, 9))
    await go_on("forget and add at once", asking.topic(name, asking.row(0, 1)), **forget(1))
    await go_on("out of range", asking.topic(name, asking.row(99, 2)))
    await go_on("still out of range")
    await go_on("in range again", asking.topic(name, asking.row(1, 2)))
    await go_on("unknown partition", asking.topic(name, asking.row(0, 50)))
    await go_on("still unknown")
    unknown = talk.name("not-there")
    await go_on("unknown topic", asking.topic(unknown, asking.row(0, 0)))
    await go_on("still unknown topic")
    await go_on("forget the unknown", **forget(0, of=unknown))
    await go_on("and the unknown partition", **forget(50))
    rows = [{"partition_index": 0, "offset": 2}]
    await talk.tell(21, 2, topics=[{"name": name, "partitions": rows}], timeout_ms=5_000)
    await go_on("a log's start moved")
    await go_on("and is known")
    await go_on("another topic", asking.topic(topic, asking.row(0, 1)))
    await go_on("past the other topic", asking.topic(topic, asking.row(2, 1)))
    await go_on("more for less", asking.topic(name, asking.row(1, 1, partition_max_bytes=1)))
    await go_on("read committed", isolation_level=1)
    await go_on("wait for news", max_wait_ms=20)
    gone = await talk.topic("gone", batches=[batch("x")])
    await go_on("a topic that will go", asking.topic(gone, asking.row(1)))
    await talk.tell(20, 5, topic_names=[gone], timeout_ms=10_000)
    await go_on("it went")
    await go_on("it stays away")
    old_id = talk.topic_id(gone)
    await talk.topic("gone", batches=[batch("y")])
    await go_on("it came back")
    asked = {"topic": gone, "topic_id": old_id, "partitions": [0]}
    await go_on("forget it", forgotten_topics_data=[asked])
    await go_on(
        "forget all",
        forgotten_topics_data=[asking.forgotten(name, 0, 1, 2, 3), asking.forgotten(topic, 1)],
    )
    await go_on("after all was forgotten")


async def _session_errors(talk: Talk, asking: Asking, topic: str) -> None:
    one = asking.topic(topic, asking.row(5))
    answer = await talk.good("a second session", **asking.request(one, session_epoch=0))
    session = answer.session_id
    wrong = {"session_id": session, "session_epoch": 3}
    await talk.bad("a wrong epoch", **asking.request(**wrong))
    await talk.bad("a wrong epoch with partitions", **asking.request(one, **wrong))
    await talk.ask("the right epoch", **asking.request(session_id=session, session_epoch=1))
    await talk.bad("an epoch again", **asking.request(session_id=session, session_epoch=1))
    await talk.bad("epoch -2", **asking.request(session_id=session, session_epoch=-2))
    await talk.bad("an unknown session", **asking.request(one, session_id=12345, session_epoch=1))
    await talk.bad("session 0 at epoch 1", **asking.request(one, session_id=0, session_epoch=1))
    final = {"session_id": session, "session_epoch": -1}
    await talk.good("the last fetch of a session", **asking.request(one, **final))
    await talk.bad("after its end", **asking.request(session_id=session, session_epoch=2))
    await talk.good(
        "end a session that is not", **asking.request(one, session_id=9, session_epoch=-1)
    )
    answer = await talk.good("a third session", **asking.request(one, session_epoch=0))
    again = {"session_id": answer.session_id, "session_epoch": 0}
    answer = await talk.good("begin it anew", **asking.request(one, **again))
    await talk.bad("what it was before", **asking.request(**{**again, "session_epoch": 1}))
    await talk.ask(
        "what it is now", **asking.request(session_id=answer.session_id, session_epoch=1)
    )
    await talk.good("begin what is not there", **asking.request(one, session_id=7, session_epoch=0))
    await talk.ask("a session of nothing", **asking.request(session_epoch=0))
    unknown = asking.topic(talk.name("not-there-either"), asking.row(0))
    answer = await talk.ask("a session of the unknown", **asking.request(unknown, session_epoch=0))
    if answer.session_id:
        await talk.ask(
            "the unknown again", **asking.request(session_id=answer.session_id, session_epoch=1)
        )
    if 12 <= talk.version <= 13:
        # The other way to name topics than the session's.
        answer = await talk.good("a fourth session", **asking.request(one, session_epoch=0))
        connection = await talk.connection("other")
        session = {"session_id": answer.session_id, "session_epoch": 1}
        other = 25 - talk.version
        request = build(FetchRequest, other, asking.request(one, **session))
        response = await connection.call(request, other)
        talk.note("the other way to name topics", "bad", response, other)
