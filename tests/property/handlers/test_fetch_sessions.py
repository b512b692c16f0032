"""A session against an obvious one: no news is missed, and the quiet are not repeated.

The model is KIP-227 without any cleverness: it keeps what the client wants in
a list, looks at every partition at every poll, and tells of those that have
records, an error, or other watermarks than they were last told of.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.handlers.parts import PLENTY, Asker, Brokerlet, Reply, id_of
from tests.unit.replica.parts import alone

from ottla.handlers.fetch import fetch
from ottla.model.errors import ErrorCode
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic

UNRESOLVED = (ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
TOPICS = ("a", "b")
PARTITIONS = 2

Key = tuple[str, int]
Row = tuple[Key, int, int, int, bytes]
"""(partition, error, high watermark, log start, records)"""


class Model:
    """What a session is, looked up anew at every poll."""

    def __init__(self, broker: Brokerlet, *, by_id: bool) -> None:
        self.broker = broker
        self.by_id = by_id
        self.wanted: dict[Key, dict[str, Any]] = {}

    def update(self, asked: dict[Key, tuple[int, int]], forgotten: list[Key]) -> None:
        for key, (offset, max_bytes) in asked.items():
            known = not self.by_id or id_of(key[0]) in self.broker.image.topic_names
            row = self.wanted.setdefault(key, {"told": None, "known": known})
            row.update(offset=offset, max_bytes=max_bytes)
        for key in forgotten:
            self.wanted.pop(key, None)

    def ready(self) -> bool:
        """Whether a poll for one byte is answered at once."""
        for key, row in self.wanted.items():
            error, _, _, end = self._ends(key, known=row["known"])
            if error or row["offset"] < end or row["offset"] > end:
                return True
        return not self.wanted

    def poll(self, max_bytes: int, *, full: bool) -> list[Row]:
        """What the answer has, in order."""
        rows: list[Row] = []
        missing: list[Row] = []
        left = max_bytes
        for key in list(self.wanted):
            row = self.wanted[key]
            error, start, high_watermark, end = self._ends(key, known=row["known"])
            records = b""
            if not error and not start <= row["offset"] <= end:
                error, start, high_watermark = ErrorCode.OFFSET_OUT_OF_RANGE, -1, -1
            elif not error and row["offset"] < end:
                room = min(row["max_bytes"], left)
                if room > 0 or left == max_bytes:
                    log = self.broker.partition(*key).log
                    only_one = left == max_bytes
                    records = bytes(
                        log.read(row["offset"], room, below=end, min_one=only_one).records
                    )
            left -= len(records)
            told = (error, high_watermark, start)
            if records or error or told != row["told"] or full:
                target = missing if error in UNRESOLVED else rows
                target.append((key, error, high_watermark, start, records))
            row["told"] = told
            if records and not full:
                self.wanted[key] = self.wanted.pop(key)
        rows += sorted(missing, key=lambda row: row[1] != ErrorCode.UNKNOWN_TOPIC_ID)
        if full:
            self.wanted = {row[0]: self.wanted[row[0]] for row in rows}
        return rows

    def _ends(self, key: Key, *, known: bool) -> tuple[int, int, int, int]:
        """(error, log start, high watermark, readable end) now."""
        topic = self.broker.image.topics.get(key[0])
        error = ErrorCode.NONE
        if not known:
            error = ErrorCode.UNKNOWN_TOPIC_ID
        elif topic is None:
            error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        elif self.by_id and topic.topic_id != id_of(key[0]):
            error = ErrorCode.INCONSISTENT_TOPIC_ID
        elif key[1] >= PARTITIONS:
            error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if error:
            return error, -1, -1, -1
        replica = self.broker.partition(*key)
        end = replica.high_watermark
        return error, replica.log.log_start_offset, end, end


class Client:
    """Polls a session, and has the model poll with it."""

    def __init__(self, broker: Brokerlet, version: int) -> None:
        self.broker = broker
        self.context = Asker(broker, version)
        self.by_id = version >= 13
        self.model = Model(broker, by_id=self.by_id)
        self.session_id = 0
        self.epoch = 0

    def request(
        self,
        asked: dict[Key, tuple[int, int]],
        forgotten: list[Key],
        *,
        max_bytes: int,
        max_wait_ms: int,
    ) -> FetchRequest:
        topics: dict[str, FetchTopic] = {}
        for (name, number), (offset, room) in asked.items():
            topic = topics.setdefault(name, FetchTopic(topic=name, topic_id=id_of(name)))
            topic.partitions.append(
                FetchPartition(partition=number, fetch_offset=offset, partition_max_bytes=room)
            )
        return FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            max_bytes=max_bytes,
            session_id=self.session_id,
            session_epoch=self.epoch,
            topics=list(topics.values()),
            forgotten_topics_data=[
                ForgottenTopic(topic=name, topic_id=id_of(name), partitions=[number])
                for name, number in forgotten
            ],
        )

    def poll(
        self,
        asked: dict[Key, tuple[int, int]],
        forgotten: list[Key] = [],  # noqa: B006 it is only read
        *,
        max_bytes: int = PLENTY,
        max_wait_ms: int = 0,
    ) -> Any:
        """Send one poll; return its answer, or the reply that is to come."""
        full = self.epoch == 0
        asked = {key: (self.offset(key, asked[key][0]), asked[key][1]) for key in sorted(asked)}
        request = self.request(asked, forgotten, max_bytes=max_bytes, max_wait_ms=max_wait_ms)
        self.model.update(asked, forgotten)
        answer = fetch(self.context, request)  # type: ignore[arg-type]
        self.max_bytes = max_bytes
        if isinstance(answer, Reply):
            assert not self.model.ready()
            return answer
        assert max_wait_ms == 0 or self.model.ready()
        self.compare(answer, full=full)
        return answer

    def offset(self, key: Key, offset: int) -> int:
        replica = self.broker.replicas.find_by_name(*key)
        if offset != END:
            return offset
        return 0 if replica is None else replica.high_watermark

    def compare(self, answer: Any, *, full: bool) -> None:
        """The answer is the model's, row for row and in its order."""
        assert answer.error_code == 0
        names = {id_of(name): name for name in TOPICS}
        rows = [
            (
                (names[topic.topic_id] if self.by_id else topic.topic, row.partition_index),
                row.error_code,
                row.high_watermark,
                row.log_start_offset,
                bytes(row.records),
            )
            for topic in answer.responses
            for row in topic.partitions
        ]
        assert rows == self.model.poll(self.max_bytes, full=full)
        self.session_id = answer.session_id
        self.epoch += 1


END = -1
"""Stands for the end of the partition at the time of the poll."""

KEYS = st.tuples(st.sampled_from(TOPICS), st.integers(0, PARTITIONS))
ROOM = st.sampled_from([1, 90, 200, PLENTY])
OFFSETS = st.one_of(st.just(END), st.just(END), st.integers(0, 6))
WANTED = st.dictionaries(KEYS, st.tuples(OFFSETS, ROOM), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), KEYS, st.integers(1, 3)),
        st.tuples(st.just("start"), KEYS, st.integers(0, 6)),
        st.tuples(st.just("poll"), WANTED, st.lists(KEYS, max_size=2), ROOM),
        st.tuples(st.just("wait"), WANTED, st.lists(KEYS, max_size=2), ROOM),
        st.tuples(st.just("epoch"), KEYS),
        st.tuples(st.just("delete"), st.sampled_from(TOPICS)),
        st.tuples(st.just("create"), st.sampled_from(TOPICS)),
    ),
    max_size=30,
)


@pytest.mark.parametrize("version", [12, 18])
@settings(max_examples=400, deadline=None)
@given(first=WANTED, steps=STEPS)
def test_a_session_tells_what_the_obvious_one_tells(
    version: int, first: dict[Key, tuple[int, int]], steps: list[Any]
) -> None:
    broker = Brokerlet()
    for name in TOPICS:
        broker.create(name, PARTITIONS)
    client = Client(broker, version)
    client.poll(first)
    waiting: Reply | None = None
    for step in steps:
        if not client.session_id or not client.model.wanted:
            return
        verb, key = step[:2]
        if verb in ("poll", "wait"):
            if waiting is not None:
                continue  # a client has one fetch in flight
            _, asked, forgotten, max_bytes = step
            if not (client.model.wanted.keys() | asked.keys()) - set(forgotten):
                return
            max_wait_ms = 500 if verb == "wait" else 0
            answer = client.poll(asked, forgotten, max_bytes=max_bytes, max_wait_ms=max_wait_ms)
            waiting = answer if isinstance(answer, Reply) else None
        elif verb == "delete":
            broker.delete(key)
        elif verb == "create":
            if key not in broker.image.topics:
                broker.create(key, PARTITIONS, incarnation=1)
        elif broker.replicas.find_by_name(*key):
            partition = broker.partition(*key)
            if verb == "append":
                broker.append(*key, count=step[2])
            elif verb == "start":
                partition.advance_log_start(min(step[2], partition.high_watermark))
            else:
                partition.become_leader(alone(partition.leader_epoch + 1))
        broker.turn()
        if waiting is not None and waiting.answers:
            client.compare(waiting.answers[0], full=False)
            waiting = None
        elif waiting is not None:
            assert not client.model.ready(), "there is news, and it still waits"
    if waiting is not None:
        broker.transport_clock.advance(500)
        client.compare(waiting.answers[0], full=False)


def test_a_quiet_session_is_told_nothing_and_looks_at_nothing() -> None:
    broker = Brokerlet()
    broker.create("a", 2)
    client = Client(broker, 12)
    client.poll({("a", 0): (0, 1), ("a", 1): (0, 1)})
    assert client.poll({}).responses == []
    session = broker.fetch_sessions.open(client.session_id, client.epoch, by_id=False, now_ms=0)
    assert session.fetch is not None
    assert not session.fetch.dirty


def test_little_room_starves_nobody() -> None:
    broker = Brokerlet()
    broker.create("a", 2)
    for number in (0, 1):
        broker.append("a", number, count=1)
        broker.append("a", number, count=1)
    client = Client(broker, 12)
    client.poll({("a", 0): (0, PLENTY), ("a", 1): (0, PLENTY)}, max_bytes=1)
    served = []
    for _ in range(4):
        answer = client.poll({}, max_bytes=1)
        served += [
            row.partition_index
            for topic in answer.responses
            for row in topic.partitions
            if row.records
        ]
    assert served == [0, 1, 0, 1]


def test_a_topic_that_came_back_with_another_id_is_told_of() -> None:
    broker = Brokerlet()
    broker.create("a")
    client = Client(broker, 18)
    client.poll({("a", 0): (0, 1)})
    broker.delete("a")
    (topic,) = client.poll({}).responses
    assert topic.partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    broker.create("a", incarnation=1)
    answer: Any = fetch(client.context, client.request({}, [], max_bytes=1, max_wait_ms=0))  # type: ignore[arg-type]
    row = answer.responses[0].partitions[0]
    assert row.error_code == ErrorCode.INCONSISTENT_TOPIC_ID
    assert answer.responses[0].topic_id == id_of("a")
