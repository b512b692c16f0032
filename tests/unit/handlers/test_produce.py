"""Each batch by itself, and an answer when as much has happened as the client asked for."""

from typing import Any

import pytest
from tests.unit.handlers.parts import Asker, Brokerlet, Reply, id_of
from tests.unit.replica.parts import FLUSHED, alone, among
from tests.unit.storage.parts import batch

from ottla.handlers.produce import AHEAD, MAX_RECORD_ERRORS, produce
from ottla.model.errors import ErrorCode, ProtocolError
from ottla.model.isolation import CompressionType, TimestampType
from ottla.model.names import CONSUMER_OFFSETS
from ottla.record.builder import assemble_batch, build_batch
from ottla.record.records import Record, append_record
from ottla.record.validate import MANY_RECORDS, SMALL_BYTES, ProduceRules
from ottla.record.validate import MAX_RECORD_ERRORS as BATCH_RECORD_ERRORS
from ottla.storage.log_config import LogConfig
from ottla.wire.generated.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)

NONE, ALL, LEADER = 0, -1, 1


class Producer:
    """Produces to a small broker; topics and partitions are given as {(name, number): bytes}."""

    def __init__(self, version: int = 12) -> None:
        self.broker = Brokerlet()
        self.context = Asker(self.broker, version)

    def send(
        self,
        batches: dict[tuple[str, int], Any] | list[tuple[tuple[str, int], Any]],
        acks: int = ALL,
        **options: Any,
    ) -> Any:
        request = ProduceRequest(
            acks=acks,
            timeout_ms=options.pop("timeout_ms", 1000),
            topic_data=[
                TopicProduceData(
                    name=name,
                    topic_id=id_of(name),
                    partition_data=[PartitionProduceData(index=number, records=records)],
                )
                for (name, number), records in (
                    batches.items() if isinstance(batches, dict) else batches
                )
            ],
            **options,
        )
        return produce(self.context, request)  # type: ignore[arg-type]


def rows(answer: Any) -> list[PartitionProduceResponse]:
    return [row for topic in answer.responses for row in topic.partition_responses]


def codes(answer: Any) -> list[int]:
    return [row.error_code for row in rows(answer)]


def sent(count: int = 1, **options: Any) -> memoryview:
    return memoryview(batch(count, **options))


@pytest.mark.parametrize("acks", [ALL, LEADER])
def test_without_flushing_the_answer_leaves_at_once(acks: int) -> None:
    producer = Producer()
    producer.broker.create("t")
    for base in (0, 2, 4):
        answer = producer.send({("t", 0): sent(2)}, acks)
        (row,) = rows(answer)
        assert (row.error_code, row.base_offset, row.log_start_offset) == (0, base, 0)


def test_a_bad_batch_keeps_no_other_back() -> None:
    producer = Producer()
    producer.broker.create("t", 2)
    answer = producer.send(
        {("t", 0): sent(), ("t", 7): sent(), ("u", 0): sent(), ("t", 1): memoryview(b"noise")}
    )
    assert codes(answer) == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INVALID_RECORD,
    ]
    assert producer.broker.partition("t").log.log_end_offset == 1
    assert producer.broker.partition("t", 1).log.log_end_offset == 0


def test_two_batches_for_one_partition_are_both_appended() -> None:
    producer = Producer()
    producer.broker.create("t")
    answer = producer.send([(("t", 0), sent(1)), (("t", 0), sent(2))])
    assert [row.base_offset for row in rows(answer)] == [0, 1]


@pytest.mark.parametrize("acks", [-2, 2, 100])
def test_acks_that_do_not_exist_append_nothing(acks: int) -> None:
    producer = Producer()
    producer.broker.create("t")
    assert codes(producer.send({("t", 0): sent()}, acks)) == [ErrorCode.INVALID_REQUIRED_ACKS]
    assert producer.broker.partition("t").log.log_end_offset == 0


def test_without_a_transactional_id_nothing_transactional_is_appended() -> None:
    producer = Producer()
    producer.broker.create("t")
    records = sent(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    answer = producer.send({("t", 0): records})
    assert codes(answer) == [ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED]
    assert producer.broker.partition("t").log.log_end_offset == 0


def test_only_the_admin_client_writes_to_internal_topics() -> None:
    producer = Producer()
    producer.broker.create(CONSUMER_OFFSETS)
    assert codes(producer.send({(CONSUMER_OFFSETS, 0): sent()})) == [
        ErrorCode.INVALID_TOPIC_EXCEPTION
    ]
    producer.context.client_id = "__admin_client"
    assert codes(producer.send({(CONSUMER_OFFSETS, 0): sent()})) == [ErrorCode.NONE]


def test_ids_find_topics_from_version_13_on() -> None:
    producer = Producer(version=13)
    producer.broker.create("t")
    assert codes(producer.send({("t", 0): sent(), ("u", 0): sent()})) == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_ID,
    ]


def test_a_topic_that_was_deleted_is_not_written_to_again() -> None:
    producer = Producer()
    producer.broker.create("t")
    producer.send({("t", 0): sent()})
    old = producer.broker.partition("t")
    producer.broker.delete("t")
    assert codes(producer.send({("t", 0): sent()})) == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    producer.broker.create("t", incarnation=1)
    assert codes(producer.send({("t", 0): sent()})) == [ErrorCode.NONE]
    assert (old.log.log_end_offset, producer.broker.partition("t").log.log_end_offset) == (1, 1)


def test_a_partition_that_is_led_elsewhere_now_is_not_written_to() -> None:
    producer = Producer()
    producer.broker.create("t")
    producer.send({("t", 0): sent()})
    producer.broker.partition("t").resign()
    assert codes(producer.send({("t", 0): sent()})) == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_a_failing_disk_is_told_of_that_partition_alone() -> None:
    producer = Producer()
    producer.broker.create("t", 2)
    producer.broker.partition("t", 1).log.directory.go_offline("it burnt")
    assert codes(producer.send({("t", 1): sent(), ("t", 0): sent()})) == [
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.NONE,
    ]


# Nobody waits for an answer


def test_without_acknowledgement_there_is_no_answer() -> None:
    producer = Producer()
    producer.broker.create("t", config=FLUSHED)
    assert producer.send({("t", 0): sent()}, NONE) is None
    assert not producer.context.replies
    assert producer.broker.partition("t").log.log_end_offset == 1


def test_without_acknowledgement_an_error_costs_the_connection() -> None:
    producer = Producer()
    producer.broker.create("t")
    with pytest.raises(ProtocolError):
        producer.send({("t", 0): sent(), ("t", 1): sent()}, NONE)
    assert producer.broker.partition("t").log.log_end_offset == 1, "the good one is there"


# Where only flushed records are acknowledged


def durable(partitions: int = 1) -> Producer:
    producer = Producer()
    producer.broker.create("t", partitions, FLUSHED)
    return producer


def flush(producer: Producer, number: int = 0) -> None:
    partition = producer.broker.partition("t", number)
    partition.log.flush()
    partition.advance_high_watermark(0)


@pytest.mark.parametrize("acks", [ALL, LEADER])
def test_the_answer_waits_for_the_flush(acks: int) -> None:
    producer = durable()
    reply = producer.send({("t", 0): sent(3)}, acks)
    assert isinstance(reply, Reply)
    assert not reply.blocking, "the next request may start"
    assert (reply.answers, len(producer.broker.flushes)) == ([], 1)
    flush(producer)
    (answer,) = reply.answers
    assert [(row.error_code, row.base_offset) for row in rows(answer)] == [(0, 0)]


def test_the_answer_leaves_with_the_last_of_its_partitions() -> None:
    producer = durable(2)
    reply = producer.send({("t", 0): sent(), ("t", 1): sent()})
    flush(producer, 1)
    assert reply.answers == []
    flush(producer, 0)
    assert codes(reply.answers[0]) == [0, 0]


def test_a_duplicate_waits_as_its_original_and_has_its_offset() -> None:
    producer = durable()
    numbered = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0}
    first = producer.send({("t", 0): sent(2, **numbered)})
    again = producer.send({("t", 0): sent(2, **numbered)})
    assert isinstance(again, Reply), "an answer now would acknowledge what is not on disk"
    assert (first.answers, again.answers) == ([], [])
    flush(producer)
    offsets = [row.base_offset for reply in (first, again) for row in rows(reply.answers[0])]
    assert offsets == [0, 0]
    assert producer.broker.partition("t").log.log_end_offset == 2


def test_a_duplicate_of_what_is_flushed_is_answered_at_once() -> None:
    producer = durable()
    numbered = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0}
    producer.send({("t", 0): sent(2, **numbered)})
    flush(producer)
    answer = producer.send({("t", 0): sent(2, **numbered)})
    assert [(row.error_code, row.base_offset) for row in rows(answer)] == [(0, 0)]


@pytest.mark.parametrize("end", ["a new epoch", "resignation"])
def test_a_change_of_role_fails_the_wait_and_its_duplicates(end: str) -> None:
    producer = durable()
    numbered = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0}
    replies = [producer.send({("t", 0): sent(2, **numbered)}) for _ in range(2)]
    partition = producer.broker.partition("t")
    if end == "resignation":
        partition.resign()
    else:
        partition.become_leader(alone(partition.leader_epoch + 1))
    expected = ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert [codes(reply.answers[0]) for reply in replies] == [[expected], [expected]]
    flush(producer)
    assert [len(reply.answers) for reply in replies] == [1, 1], "nobody is answered twice"


def test_what_is_not_committed_in_time_is_said_and_stays() -> None:
    producer = durable(2)
    reply = producer.send({("t", 0): sent(), ("t", 1): sent()}, timeout_ms=500)
    flush(producer, 1)
    producer.broker.transport_clock.advance(499)
    assert reply.answers == []
    producer.broker.transport_clock.advance(1)
    assert codes(reply.answers[0]) == [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NONE]
    row = rows(reply.answers[0])[0]
    assert (row.base_offset, row.log_start_offset) == (-1, -1)
    flush(producer, 0)
    assert len(reply.answers) == 1
    assert producer.broker.partition("t").log.log_end_offset == 1


def test_an_answer_in_time_leaves_no_timer_behind() -> None:
    producer = durable()
    reply = producer.send({("t", 0): sent()}, timeout_ms=500)
    flush(producer)
    producer.broker.transport_clock.advance(1_000)
    assert [codes(answer) for answer in reply.answers] == [[0]]


def test_a_time_below_zero_is_none_at_all() -> None:
    producer = durable()
    reply = producer.send({("t", 0): sent()}, timeout_ms=-5)
    producer.broker.transport_clock.advance(0)
    assert codes(reply.answers[0]) == [ErrorCode.REQUEST_TIMED_OUT]


# With followers


def replicated(config: LogConfig | None = None, *, min_isr: int = 1) -> Producer:
    """A partition that 1 leads and 2 follows."""
    producer = Producer()
    producer.broker.create("t", config=config)
    partition = producer.broker.partition("t")
    partition.configure(config or LogConfig(), ProduceRules(), min_isr)
    partition.become_leader(among(1, isr=(1, 2)))
    return producer


def test_all_wait_for_the_isr_and_one_does_not() -> None:
    producer = replicated()
    assert codes(producer.send({("t", 0): sent()}, acks=LEADER)) == [ErrorCode.NONE]
    reply = producer.send({("t", 0): sent()})
    assert reply.answers == []
    producer.broker.partition("t").follower_fetched(2, 2, 0, 1, 0)
    assert [row.base_offset for row in rows(reply.answers[0])] == [1]


def test_with_too_few_in_sync_all_are_refused_and_one_is_not() -> None:
    producer = replicated(min_isr=3)
    partition = producer.broker.partition("t")
    refused = producer.send({("t", 0): sent()})
    assert codes(refused) == [ErrorCode.NOT_ENOUGH_REPLICAS]
    assert partition.log.log_end_offset == 0
    assert codes(producer.send({("t", 0): sent()}, acks=LEADER)) == [ErrorCode.NONE]
    assert partition.log.log_end_offset == 1


def test_with_flushing_one_waits_for_the_disk_here_alone() -> None:
    producer = replicated(FLUSHED)
    one = producer.send({("t", 0): sent()}, acks=LEADER)
    everybody = producer.send({("t", 0): sent()})
    flush(producer)
    assert (codes(one.answers[0]), everybody.answers) == ([ErrorCode.NONE], [])
    producer.broker.partition("t").follower_fetched(2, 2, 0, 1, 0)
    assert codes(everybody.answers[0]) == [ErrorCode.NONE]


def test_a_duplicate_of_what_is_flushed_here_is_answered_at_once_to_one() -> None:
    producer = replicated(FLUSHED)
    numbered = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0}
    producer.send({("t", 0): sent(2, **numbered)}, acks=LEADER)
    flush(producer)
    again = producer.send({("t", 0): sent(2, **numbered)}, acks=LEADER)
    assert [(row.error_code, row.base_offset) for row in rows(again)] == [(0, 0)]


# Large compressed batches


def compressed(**options: Any) -> memoryview:
    """More than is expanded on the loop."""
    import random

    value = random.Random(1).randbytes(2 * SMALL_BYTES)
    record = Record(timestamp=1, key=b"k", value=value)
    return memoryview(bytearray(build_batch([record], compression=CompressionType.GZIP, **options)))


def untimely(count: int) -> memoryview:
    """A few hundred bytes that stand for `count` records, all of them too late."""
    records = bytearray()
    append_record(records, 0, 1 << 50, None, None)
    batch = assemble_batch(
        bytes(records) * count,
        count,
        base_offset=0,
        last_offset_delta=count - 1,
        leader_epoch=-1,
        base_timestamp=1 << 60,
        max_timestamp=1 << 61,
        compression=CompressionType.ZSTD,
        level=None,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        transactional=False,
        control=False,
        timestamp_type=TimestampType.CREATE_TIME,
    )
    return memoryview(bytearray(batch))


def drive(producer: Producer, coroutine: Any) -> Any:
    """Run the coroutine, and the workers whenever it waits for them."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        producer.broker.workers.run_all()


def test_large_compressed_batches_are_expanded_by_a_worker() -> None:
    producer = Producer()
    producer.broker.create("t", 2)
    asked = producer.send({("t", 0): compressed(), ("t", 1): sent()})
    assert producer.context.detached == 1, "the buffer goes along"
    log = producer.broker.partition("t", 1).log
    asked.send(None)
    assert log.log_end_offset == 0, "nothing is appended before it was looked at"
    producer.broker.workers.run_all()
    answer = drive(producer, asked)
    assert codes(answer) == [0, 0]
    assert log.log_end_offset == 1


def test_what_a_worker_refuses_is_in_its_own_row() -> None:
    producer = Producer()
    producer.broker.create("t", 2)
    wrong = compressed()
    wrong[-1] ^= 1
    answer = drive(producer, producer.send({("t", 0): wrong, ("t", 1): compressed()}))
    assert codes(answer) == [ErrorCode.CORRUPT_MESSAGE, ErrorCode.NONE]


def test_a_partition_lost_while_a_worker_looked_is_refused() -> None:
    producer = Producer()
    producer.broker.create("t")
    asked = producer.send({("t", 0): compressed()})
    asked.send(None)
    producer.broker.partition("t").resign()
    assert codes(drive(producer, asked)) == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_without_acknowledgement_a_worker_answers_nobody_either() -> None:
    producer = Producer()
    producer.broker.create("t")
    assert drive(producer, producer.send({("t", 0): compressed()}, NONE)) is None
    with pytest.raises(ProtocolError):
        drive(producer, producer.send({("t", 0): compressed(), ("t", 9): sent()}, NONE))


def test_few_bytes_that_stand_for_many_records_are_left_to_a_worker() -> None:
    producer = Producer()
    producer.broker.create("t")
    batch = untimely(MANY_RECORDS + 1)
    assert len(batch) < 200
    asked = producer.send({("t", 0): batch})
    assert not isinstance(asked, ProduceResponse)
    (row,) = rows(drive(producer, asked))
    assert row.error_code == ErrorCode.INVALID_TIMESTAMP
    assert len(row.record_errors) == BATCH_RECORD_ERRORS


@pytest.mark.parametrize("count", [MANY_RECORDS, MANY_RECORDS + 1])
def test_an_answer_names_so_many_records_and_no_more(count: int) -> None:
    """Whether a worker looked at them or not."""
    producer = Producer()
    producer.broker.create("t", 15)
    answer = producer.send({("t", number): untimely(count) for number in range(15)})
    if not isinstance(answer, ProduceResponse):
        answer = drive(producer, answer)
    assert codes(answer) == [ErrorCode.INVALID_TIMESTAMP] * 15
    assert sum(len(row.record_errors) for row in rows(answer)) == MAX_RECORD_ERRORS


def test_workers_have_a_few_batches_of_one_request_at_a_time() -> None:
    """However many there are: what they expand to is not in memory together."""
    producer = Producer()
    producer.broker.create("t", 3 * AHEAD)
    asked = producer.send({("t", number): compressed() for number in range(3 * AHEAD)})
    asked.send(None)
    assert len(producer.broker.workers.waiting) == AHEAD
    assert codes(drive(producer, asked)) == [0] * (3 * AHEAD)
