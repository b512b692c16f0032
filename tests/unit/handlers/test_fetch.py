"""What a fetch reads, how long it waits, and when it takes its bytes."""

import dataclasses
import errno
from typing import Any

import pytest
from tests.unit.handlers.parts import PLENTY, Asker, Brokerlet, Reply, id_of
from tests.unit.replica.parts import FLUSHED, alone, among
from tests.unit.storage.parts import batch

from ottla.handlers import fetch as fetch_handler
from ottla.handlers import fetch_sessions
from ottla.handlers.fetch import fetch
from ottla.metadata.image import BrokerImage
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.workers import Lane
from ottla.record.batch import batches
from ottla.replica.partition import Partition
from ottla.storage.memory_disk import MemoryDisk
from ottla.wire.generated.fetch import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    PartitionData,
    ReplicaState,
)

ONE = len(batch())
"""Bytes of a batch of one record."""


class Consumer:
    """Fetches without a session from a small broker."""

    def __init__(self, version: int = 18, **broker: int) -> None:
        self.broker = Brokerlet(**broker)
        self.context = Asker(self.broker, version)

    def ask(
        self,
        offsets: dict[tuple[str, int], int],
        *,
        room: int = PLENTY,
        wait_ms: int = 0,
        min_bytes: int = 1,
        max_bytes: int = PLENTY,
        committed: bool = False,
        session: tuple[int, int] = (0, -1),
        follower: tuple[int, int] | None = None,
        rack: str = "",
        **row: Any,
    ) -> Any:
        """`follower` is a broker's id and epoch."""
        request = FetchRequest(
            max_wait_ms=wait_ms,
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            isolation_level=1 if committed else 0,
            session_id=session[0],
            session_epoch=session[1],
            rack_id=rack,
            replica_state=None
            if follower is None
            else ReplicaState(replica_id=follower[0], replica_epoch=follower[1]),
            topics=[
                FetchTopic(
                    topic=name,
                    topic_id=id_of(name),
                    partitions=[
                        FetchPartition(
                            partition=number,
                            fetch_offset=offset,
                            partition_max_bytes=room,
                            **row,
                        )
                    ],
                )
                for (name, number), offset in offsets.items()
            ],
        )
        return fetch(self.context, request)  # type: ignore[arg-type]


def rows(answer: Any) -> list[PartitionData]:
    assert answer.error_code == 0
    return [row for topic in answer.responses for row in topic.partitions]


def bases(row: PartitionData) -> list[int]:
    """The base offsets of the batches that a row has."""
    assert row.error_code == 0
    assert row.records is not None
    return [header.base_offset for header in batches(row.records)]


def with_records(consumer: Consumer, *counts: int, **options: Any) -> None:
    """A topic `t` with a partition for each count, and so many batches in it."""
    consumer.broker.create("t", len(counts), **options)
    for number, count in enumerate(counts):
        for _ in range(count):
            consumer.broker.append("t", number)


# How much


def test_the_batch_that_holds_the_offset_comes_whole() -> None:
    consumer = Consumer()
    consumer.broker.create("t")
    consumer.broker.append("t", count=3)
    consumer.broker.append("t", count=3)
    assert [bases(rows(consumer.ask({("t", 0): offset}))[0]) for offset in (0, 2, 3, 5)] == [
        [0, 3],
        [0, 3],
        [3],
        [3],
    ]


@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("kind", ["max_bytes", "room"])
@pytest.mark.parametrize("room", [1, 0, -1, -100])
def test_the_first_batch_comes_whatever_the_room(kind: str, room: int, offset: int) -> None:
    consumer = Consumer()
    with_records(consumer, 3, 3)
    answer = consumer.ask({("t", 0): offset, ("t", 1): 0}, **{kind: room})  # type: ignore[arg-type]
    assert [bases(row) for row in rows(answer)] == [[offset], []]
    assert [row.high_watermark for row in rows(answer)] == [3, 3]


def test_the_first_batch_is_that_of_the_first_partition_that_has_one() -> None:
    consumer = Consumer()
    with_records(consumer, 0, 1, 1)
    answer = consumer.ask({("t", number): 0 for number in range(3)}, max_bytes=1)
    assert [bases(row) for row in rows(answer)] == [[], [0], []]


def test_what_one_partition_takes_the_next_has_not() -> None:
    consumer = Consumer()
    with_records(consumer, 2, 2)
    answer = consumer.ask({("t", 0): 0, ("t", 1): 0}, max_bytes=3 * ONE)
    assert [bases(row) for row in rows(answer)] == [[0, 1], [0]]


def test_the_brokers_limit_binds_too() -> None:
    consumer = Consumer(fetch_max_bytes=2 * ONE)
    with_records(consumer, 5)
    assert bases(rows(consumer.ask({("t", 0): 0}))[0]) == [0, 1]


def test_where_answers_pile_up_each_gets_one_batch() -> None:
    consumer = Consumer()
    with_records(consumer, 5)
    consumer.broker.answers.left = 0
    assert bases(rows(consumer.ask({("t", 0): 0}))[0]) == [0]


# How long


def test_a_fetch_waits_until_there_are_as_many_bytes_as_asked_for() -> None:
    consumer = Consumer()
    with_records(consumer, 1)
    reply = consumer.ask({("t", 0): 0}, wait_ms=500, min_bytes=3 * ONE)
    assert isinstance(reply, Reply)
    consumer.broker.append("t")
    consumer.broker.turn()
    assert reply.answers == []
    consumer.broker.append("t")
    assert reply.answers == [], "more may come in this turn"
    consumer.broker.append("t")
    consumer.broker.turn()
    assert bases(rows(reply.answers[0])[0]) == [0, 1, 2, 3]
    consumer.broker.transport_clock.advance(1_000)
    assert len(reply.answers) == 1


def test_after_its_time_it_takes_what_there_is() -> None:
    consumer = Consumer()
    with_records(consumer, 1)
    reply = consumer.ask({("t", 0): 0}, wait_ms=500, min_bytes=PLENTY)
    consumer.broker.transport_clock.advance(499)
    assert reply.answers == []
    consumer.broker.transport_clock.advance(1)
    assert bases(rows(reply.answers[0])[0]) == [0]
    assert not consumer.broker.partition("t").watchers


@pytest.mark.parametrize(
    "options",
    [
        {"wait_ms": 0, "min_bytes": PLENTY},
        {"wait_ms": -1, "min_bytes": PLENTY},
        {"wait_ms": 500, "min_bytes": 0},
        {"wait_ms": 500, "min_bytes": -1},
    ],
)
def test_who_wants_no_waiting_does_not_wait(options: dict[str, int]) -> None:
    consumer = Consumer()
    with_records(consumer, 0)
    assert [bases(row) for row in rows(consumer.ask({("t", 0): 0}, **options))] == [[]]


@pytest.mark.parametrize(
    ("partition", "offset", "options", "code"),
    [
        (9, 0, {}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (0, 5, {}, ErrorCode.OFFSET_OUT_OF_RANGE),
        (0, -1, {}, ErrorCode.OFFSET_OUT_OF_RANGE),
        (0, 1, {"current_leader_epoch": 7}, ErrorCode.UNKNOWN_LEADER_EPOCH),
        (0, 1, {"last_fetched_epoch": 7}, ErrorCode.OFFSET_OUT_OF_RANGE),
    ],
)
def test_an_error_is_told_at_once(
    partition: int, offset: int, options: dict[str, int], code: ErrorCode
) -> None:
    consumer = Consumer()
    with_records(consumer, 1)
    (row,) = rows(consumer.ask({("t", partition): offset}, wait_ms=500, **options))
    assert (row.error_code, row.high_watermark, row.records) == (code, -1, b"")


def test_another_history_is_told_at_once() -> None:
    consumer = Consumer()
    with_records(consumer, 2)
    consumer.broker.partition("t").become_leader(alone(5))
    consumer.broker.append("t")
    (row,) = rows(consumer.ask({("t", 0): 3}, wait_ms=500, last_fetched_epoch=3))
    assert (row.diverging_epoch.epoch, row.diverging_epoch.end_offset) == (0, 2)
    assert (row.error_code, row.records, row.high_watermark) == (0, b"", 3)
    (row,) = rows(consumer.ask({("t", 0): 3}, wait_ms=0, last_fetched_epoch=5))
    assert row.diverging_epoch is None


def test_losing_the_leader_ends_the_wait_and_names_the_new_one() -> None:
    consumer = Consumer()
    with_records(consumer, 0)
    reply = consumer.ask({("t", 0): 0}, wait_ms=500)
    consumer.broker.partition("t").resign()
    consumer.broker.turn()
    (row,) = rows(reply.answers[0])
    assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (row.current_leader.leader_id, row.current_leader.leader_epoch) == (1, 0)
    (node,) = reply.answers[0].node_endpoints
    assert (node.node_id, node.host, node.port, node.rack) == (1, "host", 9092, "r")


def test_nobody_reads_what_is_not_flushed_where_that_counts() -> None:
    consumer = Consumer()
    with_records(consumer, 1, config=FLUSHED)
    reply = consumer.ask({("t", 0): 0}, wait_ms=500)
    consumer.broker.turn()
    assert reply.answers == []
    partition = consumer.broker.partition("t")
    partition.log.flush()
    partition.advance_high_watermark(0)
    consumer.broker.turn()
    assert bases(rows(reply.answers[0])[0]) == [0]


# When it takes its bytes


def test_behind_others_it_takes_what_there_is_when_its_turn_comes() -> None:
    consumer = Consumer()
    with_records(consumer, 1)
    consumer.context.nothing_before = False
    reply = consumer.ask({("t", 0): 0}, wait_ms=500)
    assert reply.answers == []
    consumer.broker.append("t")
    reply.reach_head()
    assert bases(rows(reply.answers[0])[0]) == [0, 1]


def test_who_left_is_not_read_for() -> None:
    consumer = Consumer()
    with_records(consumer, 0)
    reply = consumer.ask({("t", 0): 0}, wait_ms=500)
    reply.abandoned = True
    consumer.broker.append("t")
    consumer.broker.turn()
    assert reply.answers == []
    assert not consumer.broker.partition("t").watchers


def test_a_session_outlives_the_client_that_left() -> None:
    consumer = Consumer()
    with_records(consumer, 0)
    session = consumer.ask({("t", 0): 0}, session=(0, 0)).session_id
    reply = consumer.ask({}, wait_ms=500, session=(session, 1))
    reply.abandoned = True
    consumer.broker.append("t")
    consumer.broker.turn()
    (row,) = rows(consumer.ask({}, session=(session, 2)))
    assert bases(row) == [0]


# What is not in memory


class ColdDisk(MemoryDisk):
    """Its pages are cached or not, and can be read or not."""

    cold = False
    broken = False

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.broken and operation == "pread":
            raise OSError(errno.EIO, "the disk failed")
        return None

    def cached(self, path: str, position: int, size: int) -> bool:
        return not self.cold


def cold_consumer() -> Consumer:
    """Partition 0 is on a disk whose pages are not cached, partition 1 on another."""
    consumer = Consumer()
    disk = consumer.broker.disk = ColdDisk()
    with_records(consumer, 2, 2)
    disk.cold = True
    return consumer


def test_what_is_not_cached_is_read_by_a_worker() -> None:
    consumer = cold_consumer()
    reply = consumer.ask({("t", 0): 0, ("t", 1): 0})
    assert isinstance(reply, Reply)
    assert reply.answers == []
    (job,) = consumer.broker.workers.waiting
    assert job.lane is Lane.READ
    consumer.broker.workers.run_all()
    first, _ = rows(reply.answers[0])
    assert (bases(first), first.high_watermark) == ([0, 1], 2)


def test_a_waiting_fetch_reads_cold_pages_too() -> None:
    consumer = cold_consumer()
    reply = consumer.ask({("t", 0): 2}, wait_ms=500)
    consumer.broker.append("t")
    consumer.broker.turn()
    consumer.broker.workers.run_all()
    assert bases(rows(reply.answers[0])[0]) == [2]


def test_a_worker_that_fails_takes_the_directory_offline() -> None:
    consumer = cold_consumer()
    reply = consumer.ask({("t", 0): 0})
    (job,) = consumer.broker.workers.waiting
    job.fail(StorageError("the disk failed"))
    (row,) = rows(reply.answers[0])
    assert (row.error_code, row.records) == (ErrorCode.KAFKA_STORAGE_ERROR, b"")
    assert not consumer.broker.partition("t").log.directory.is_online


def test_what_was_truncated_while_a_worker_read_is_not_sent() -> None:
    consumer = cold_consumer()
    reply = consumer.ask({("t", 0): 0})
    consumer.broker.partition("t").log.truncate_fully_and_start_at(7, 0)
    consumer.broker.workers.run_all()
    (row,) = rows(reply.answers[0])
    assert (row.error_code, row.records) == (0, b"")


def test_a_disk_that_fails_is_told_of_that_partition_alone() -> None:
    consumer = Consumer()
    disk = consumer.broker.disk = ColdDisk()
    with_records(consumer, 2, 2)
    disk.broken = True
    first, second = rows(consumer.ask({("t", 0): 0, ("t", 1): 0}))
    assert (first.error_code, first.high_watermark) == (ErrorCode.KAFKA_STORAGE_ERROR, -1)
    assert (first.last_stable_offset, first.log_start_offset, first.records) == (-1, -1, b"")
    assert bases(second) == [0, 1]


# Committed records only


def test_a_reader_of_committed_records_stops_at_an_open_transaction() -> None:
    consumer = Consumer()
    with_records(consumer, 1)
    consumer.broker.append(
        "t", producer_id=1, producer_epoch=0, base_sequence=0, transactional=True
    )
    consumer.broker.append("t")
    for committed, expected in (False, [0, 1, 2]), (True, [0]):
        (row,) = rows(consumer.ask({("t", 0): 0}, committed=committed))
        assert bases(row) == expected
        assert (row.high_watermark, row.last_stable_offset) == (3, 1)
        assert row.aborted_transactions == ([] if committed else None)
    assert isinstance(consumer.ask({("t", 0): 1}, committed=True, wait_ms=500), Reply)


# What sessions hold


def test_sessions_beyond_what_all_may_hold_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_sessions, "MAX_WANTED", 2)
    consumer = Consumer()
    with_records(consumer, 1, 1, 1)
    sessions = consumer.broker.fetch_sessions
    first = consumer.ask({("t", 0): 0, ("t", 1): 0}, session=(0, 0))
    assert first.session_id
    second = consumer.ask({("t", 2): 0}, session=(0, 0))
    assert second.session_id == 0
    assert bases(rows(second)[0]) == [0], "it is served all the same"
    assert (len(sessions), sessions.wanted()) == (1, 2)
    grown = consumer.ask({("t", 2): 0}, session=(first.session_id, 1))
    assert grown.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert (len(sessions), sessions.wanted()) == (0, 0)
    assert not consumer.broker.partition("t", 0).watchers
    assert consumer.ask({("t", 2): 0}, session=(0, 0)).session_id


def test_a_session_that_wants_too_much_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch_handler, "MAX_PARTITIONS", 1)
    consumer = Consumer()
    with_records(consumer, 1, 1)
    with pytest.raises(ApiError):
        consumer.ask({("t", 0): 0, ("t", 1): 0}, session=(0, 0))
    assert len(consumer.broker.fetch_sessions) == 0


# Followers

EPOCH = 40
"""Of the followers' brokers."""


def leading(
    *counts: int, isr: tuple[int, ...] = (1, 2), racks: dict[int, str] | None = None
) -> Consumer:
    """A leader of partitions that 2 and 3 follow."""
    leader = Consumer()
    with_records(leader, *counts)
    brokers = {
        broker: BrokerImage(broker, EPOCH, (racks or {}).get(broker), ()) for broker in (1, 2, 3)
    }
    leader.broker.image = dataclasses.replace(leader.broker.image, brokers=brokers)
    for number in range(len(counts)):
        leader.broker.partition("t", number).become_leader(among(1, isr=isr))
    return leader


def as_broker(broker: int = 2, epoch: int = EPOCH) -> dict[str, Any]:
    return {"follower": (broker, epoch), "log_start_offset": 0}


def test_a_follower_reads_what_is_not_committed_and_says_what_it_has() -> None:
    leader = leading(0)
    leader.broker.append("t", count=2)
    partition = leader.broker.partition("t")
    (row,) = rows(leader.ask({("t", 0): 0}, **as_broker()))
    assert (bases(row), row.high_watermark) == ([0], 0)
    (row,) = rows(leader.ask({("t", 0): 0}))
    assert row.records == b"", "a consumer sees nothing of it"
    (row,) = rows(leader.ask({("t", 0): 2}, **as_broker()))
    assert (row.high_watermark, partition.high_watermark) == (2, 2)
    (row,) = rows(leader.ask({("t", 0): 0}))
    assert bases(row) == [0]


def test_an_append_wakes_a_follower_and_a_commit_a_consumer() -> None:
    leader = leading(0)
    consumer = leader.ask({("t", 0): 0}, wait_ms=500)
    follower = leader.ask({("t", 0): 0}, wait_ms=500, **as_broker())
    leader.broker.append("t")
    leader.broker.turn()
    assert (len(follower.answers), consumer.answers) == (1, [])
    leader.ask({("t", 0): 1}, wait_ms=500, **as_broker())
    leader.broker.turn()
    assert bases(rows(consumer.answers[0])[0]) == [0]


@pytest.mark.parametrize(
    ("broker", "epoch"), [(4, EPOCH), (1, EPOCH), (2, EPOCH - 1), (2, EPOCH + 1), (2, -1)]
)
def test_who_is_no_replica_or_not_the_one_registered_is_refused(broker: int, epoch: int) -> None:
    leader = leading(0)
    leader.broker.append("t")
    (row,) = rows(leader.ask({("t", 0): 1}, **as_broker(broker, epoch)))
    assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert leader.broker.partition("t").high_watermark == 0
    leader.ask({("t", 0): 1}, **as_broker())
    assert leader.broker.partition("t").high_watermark == 1


def test_who_may_be_deposed_sends_nobody_back() -> None:
    """Another leader may have what a client asks for here: it must not begin anew for that."""
    leader = leading(0, isr=(1, 2))
    leader.broker.partition("t").lapse(True)
    (row,) = rows(leader.ask({("t", 0): 7}))
    assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    (row,) = rows(leader.ask({("t", 0): 0}, last_fetched_epoch=9))
    assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    (row,) = rows(leader.ask({("t", 0): 0}))
    assert row.error_code == ErrorCode.NONE, "what is committed here is so everywhere"
    leader.broker.partition("t").lapse(False)
    (row,) = rows(leader.ask({("t", 0): 7}))
    assert row.error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_what_lies_in_another_history_does_not_count() -> None:
    leader = leading(0)
    leader.broker.append("t", count=2)
    partition = leader.broker.partition("t")
    partition.become_leader(among(5, isr=(1, 2)))
    leader.broker.append("t", count=2)
    (row,) = rows(leader.ask({("t", 0): 4}, last_fetched_epoch=3, **as_broker()))
    assert (row.diverging_epoch.epoch, row.diverging_epoch.end_offset) == (1, 2)
    (row,) = rows(leader.ask({("t", 0): 9}, last_fetched_epoch=5, **as_broker()))
    assert row.diverging_epoch.end_offset == 4
    (row,) = rows(leader.ask({("t", 0): 9}, **as_broker()))
    assert row.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert partition.high_watermark == 0
    leader.ask({("t", 0): 4}, last_fetched_epoch=5, **as_broker())
    assert partition.high_watermark == 4


def test_a_followers_session_tells_what_is_committed_with_the_next_news() -> None:
    leader = leading(0, 0)
    offsets = {("t", 0): 0, ("t", 1): 0}
    answer = leader.ask(offsets, session=(0, 0), **as_broker())
    session = answer.session_id
    assert session
    leader.broker.append("t", 0)
    answer = leader.ask({}, wait_ms=500, session=(session, 1), follower=(2, EPOCH))
    assert [bases(row) for row in rows(answer)] == [[0]]
    answer = leader.ask({("t", 0): 1}, wait_ms=500, session=(session, 2), **as_broker())
    assert answer.answers == [], "the high watermark alone wakes nobody"
    leader.broker.append("t", 1)
    leader.broker.turn()
    second, first = rows(answer.answers[0])
    assert (first.high_watermark, first.records, bases(second)) == (1, b"", [0])


def test_where_consumers_read_from_followers_they_are_told_at_once() -> None:
    leader = leading(0)
    leader.broker.config.replica_selector_class = "some.RackAwareReplicaSelector"
    session = leader.ask({("t", 0): 0}, session=(0, 0), **as_broker()).session_id
    leader.broker.append("t", 0)
    leader.ask({}, session=(session, 1), follower=(2, EPOCH))
    answer = leader.ask({("t", 0): 1}, wait_ms=500, session=(session, 2), **as_broker())
    assert [row.high_watermark for row in rows(answer)] == [1]


def test_nobody_goes_on_with_a_followers_session() -> None:
    leader = leading(0)
    session = leader.ask({("t", 0): 0}, session=(0, 0), **as_broker()).session_id
    for who in ({}, as_broker(3)):
        answer = leader.ask({}, session=(session, 1), **who)
        assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


@pytest.mark.parametrize("partitions", [1, 30])
def test_a_poll_looks_at_what_is_new_however_many_are_followed(
    partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed."""
    leader = leading(*[0] * partitions)
    offsets = {("t", number): 0 for number in range(partitions)}
    session = leader.ask(offsets, session=(0, 0), **as_broker()).session_id
    leader.ask({}, session=(session, 1), wait_ms=500, follower=(2, EPOCH))
    leader.broker.transport_clock.advance(500)
    checks = []
    real = Partition.check_leader
    monkeypatch.setattr(
        Partition, "check_leader", lambda self, epoch: checks.append(self) or real(self, epoch)
    )
    for poll in range(10):
        leader.broker.append("t")
        leader.ask({("t", 0): poll}, session=(session, poll + 2), wait_ms=500, **as_broker())
    assert len(checks) <= 5 * 10


def test_a_consumer_reads_from_a_follower_what_is_committed_there() -> None:
    follower = Consumer()
    with_records(follower, 3)
    partition = follower.broker.partition("t")
    partition.become_follower(among(4, leader=2))
    partition.high_watermark = 2
    (row,) = rows(follower.ask({("t", 0): 0}, current_leader_epoch=4))
    assert (bases(row), row.high_watermark) == ([0, 1], 2)
    (row,) = rows(follower.ask({("t", 0): 0}, current_leader_epoch=3))
    assert row.error_code == ErrorCode.FENCED_LEADER_EPOCH
    older = Asker(follower.broker, 10)
    follower.context = older
    (row,) = rows(follower.ask({("t", 0): 0}))
    assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    follower.context = Asker(follower.broker, 18)
    (row,) = rows(follower.ask({("t", 0): 0}, **as_broker(3)))
    assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_consumer_is_sent_to_the_replica_in_its_rack() -> None:
    leader = leading(2, racks={1: "a", 2: "b", 3: "c"})
    leader.ask({("t", 0): 2}, **as_broker())

    def sent_to(rack: str, offset: int = 0) -> tuple[int, bytes]:
        (row,) = rows(leader.ask({("t", 0): offset}, rack=rack, wait_ms=500))
        return row.preferred_read_replica, bytes(row.records)

    assert sent_to("b")[0] == -1, "it is not asked for"
    leader.broker.config.replica_selector_class = (
        "org.apache.kafka.common.replica.RackAwareReplicaSelector"
    )
    assert sent_to("b") == (2, b"")
    assert sent_to("a")[0] == -1
    assert sent_to("c")[0] == -1, "not in sync"
    assert sent_to("")[0] == -1
    assert sent_to("nowhere")[0] == -1
