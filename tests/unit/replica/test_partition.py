"""Leadership, the high watermark, and who waits for it."""

import pytest
from tests.unit.replica.parts import (
    FLUSHED,
    TOPIC_ID,
    Told,
    Watching,
    alone,
    among,
    append,
    make_partition,
)
from tests.unit.storage.parts import batch, whole

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import IsolationLevel
from ottla.record.batch import read_header
from ottla.record.control import EndTxnMarker
from ottla.record.validate import ProduceRules
from ottla.replica.partition import Partition
from ottla.storage.log_config import LogConfig


def test_only_a_leader_appends() -> None:
    partition = make_partition(leads=False)
    with pytest.raises(ApiError) as refused:
        append(partition)
    assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert partition.log.log_end_offset == 0


def test_a_batch_carries_the_epoch_it_was_appended_in() -> None:
    partition = make_partition()
    partition.become_leader(alone(7))
    append(partition)
    (header,) = whole(partition.log.read(0, 1 << 20).records)
    assert header.leader_epoch == 7


def test_the_high_watermark_follows_the_logs_end() -> None:
    partition = make_partition()
    append(partition, 3)
    assert partition.high_watermark == partition.log.high_watermark == 3


def test_with_flushing_it_follows_the_flushed_end() -> None:
    asked: list[Partition] = []
    partition = make_partition(FLUSHED, request_flush=asked.append)
    append(partition, 3)
    assert (partition.high_watermark, len(asked)) == (0, 1)
    assert partition.flushes_each
    partition.log.flush()
    partition.advance_high_watermark(0)
    assert partition.high_watermark == 3


def test_a_flush_is_asked_for_after_so_many_records() -> None:
    asked: list[Partition] = []
    partition = make_partition(LogConfig(flush_messages=5), request_flush=asked.append)
    append(partition, 4)
    assert not asked
    append(partition, 1)
    assert asked == [partition]
    assert partition.high_watermark == 5, "who appends does not wait for it"


def test_what_coordinators_append_counts_too() -> None:
    asked: list[Partition] = []
    partition = make_partition(LogConfig(flush_messages=2), request_flush=asked.append)
    append(partition)
    marker = EndTxnMarker(committed=False, coordinator_epoch=0)
    partition.append_marker(7, 0, marker, 0, 0)
    assert asked == [partition]
    assert partition.high_watermark == 2


def test_with_flushing_a_marker_counts_once_it_is_flushed() -> None:
    asked: list[Partition] = []
    partition = make_partition(FLUSHED, request_flush=asked.append)
    marker = EndTxnMarker(committed=False, coordinator_epoch=0)
    partition.append_marker(7, 0, marker, 0, 0)
    assert (partition.high_watermark, asked) == (0, [partition])


def test_of_an_earlier_life_only_what_is_flushed_counts() -> None:
    log = make_partition().log
    data = batch(3)
    log.append(memoryview(data), read_header(data), 0, 0)
    log.high_watermark = 3  # as a checkpoint said
    log.config = FLUSHED
    again = Partition(
        "t", 0, TOPIC_ID, log, rules=ProduceRules(), request_flush=lambda partition: None
    )
    assert again.high_watermark == log.high_watermark == log.flushed_end_offset == 0


def test_from_when_it_flushes_each_on_all_below_the_high_watermark_is_flushed() -> None:
    partition = make_partition()
    append(partition, 3)
    assert partition.log.flushed_end_offset == 0
    partition.configure(FLUSHED, ProduceRules())
    assert partition.log.flushed_end_offset == 3
    append(partition)
    assert partition.high_watermark == 3


def test_when_it_flushes_no_more_who_waited_for_it_is_told() -> None:
    partition = make_partition(FLUSHED)
    append(partition)
    told = Told()
    partition.when_committed(1, told)
    partition.configure(LogConfig(), ProduceRules())
    assert (partition.high_watermark, told.outcomes) == (1, [None])


def test_settings_that_ask_for_a_flush_have_one() -> None:
    asked: list[Partition] = []
    partition = make_partition(request_flush=asked.append)
    append(partition, 3)
    partition.configure(LogConfig(flush_messages=3), ProduceRules())
    assert asked == [partition]


def test_a_flush_is_due_when_records_waited_long_enough() -> None:
    partition = make_partition(LogConfig(flush_ms=100))
    assert not partition.flush_is_due(0)
    append(partition)
    assert not partition.flush_is_due(1_000), "it counts from when it is first seen"
    assert not partition.flush_is_due(1_099)
    assert partition.flush_is_due(1_100)
    partition.log.flush()
    assert not partition.flush_is_due(2_000)


def test_many_bytes_are_flushed_before_the_kernel_minds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottla.replica.partition.EARLY_FLUSH_BYTES", 200)
    partition = make_partition(LogConfig(segment_bytes=1000))
    flushes = []
    for number in range(40):
        append(partition)
        if partition.flush_is_due(0):
            flushes.append(number)
            partition.log.flush()
            assert not partition.flush_is_due(0)
    size = partition.log.size_bytes
    assert size / 400 < len(flushes) <= size / 200 + len(list(partition.log.segments))


def test_a_wait_ends_when_everything_below_is_committed() -> None:
    partition = make_partition(FLUSHED)
    append(partition, 3)
    told = Told()
    partition.when_committed(3, told)
    partition.when_committed(0, told)
    assert told.outcomes == [None], "of 0 everything is committed already"
    partition.log.flush()
    partition.advance_high_watermark(0)
    assert told.outcomes == [None, None]


@pytest.mark.parametrize("end", ["a new epoch", "resignation"])
def test_a_wait_does_not_outlive_its_epoch(end: str) -> None:
    partition = make_partition(FLUSHED)
    append(partition, 3)
    told = Told()
    partition.when_committed(3, told)
    if end == "a new epoch":
        partition.become_leader(alone(1))
    else:
        partition.resign()
        partition.when_committed(3, told)
    assert set(told.outcomes) == {ErrorCode.NOT_LEADER_OR_FOLLOWER}


def test_waits_are_told_before_the_new_role_begins() -> None:
    partition = make_partition(FLUSHED)
    append(partition)
    seen: list[tuple[int, bool]] = []
    partition.when_committed(
        1, lambda error: seen.append((partition.leader_epoch, partition.is_leader))
    )
    partition.become_leader(alone(4))
    assert seen == [(0, True)]


def test_the_same_epoch_again_changes_nothing() -> None:
    partition = make_partition(FLUSHED)
    append(partition)
    told, watching = Told(), Watching()
    partition.when_committed(1, told)
    partition.watchers[watching] = None
    partition.become_leader(alone(0))
    assert (told.outcomes, watching.heard) == ([], [])


def test_an_epoch_never_goes_back() -> None:
    partition = make_partition()
    partition.become_leader(alone(5))
    with pytest.raises(AssertionError):
        partition.become_leader(alone(4))


def test_a_new_leader_has_unflushed_records_flushed() -> None:
    asked: list[Partition] = []
    partition = make_partition(FLUSHED, request_flush=asked.append, leads=False)
    data = batch(2)
    partition.log.append(data, read_header(data), 0, 0)
    partition.become_leader(alone(1))
    assert (asked, partition.high_watermark) == ([partition], 0)


def test_watchers_hear_of_bytes_and_of_roles() -> None:
    partition = make_partition()
    watching = Watching()
    partition.watchers[watching] = None
    size = len(batch(2))
    append(partition, 2)
    partition.become_leader(alone(1))
    partition.resign()
    assert watching.heard == [
        f"advanced to 2 by {size}",
        "advanced to 2 by 0",
        "changed in epoch 1",
        "changed in epoch 1",
    ]


@pytest.mark.parametrize(
    ("believed", "code"),
    [
        (-1, None),
        (3, None),
        (2, ErrorCode.FENCED_LEADER_EPOCH),
        (4, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ],
)
def test_what_a_client_believes_of_the_epoch(believed: int, code: ErrorCode | None) -> None:
    partition = make_partition()
    partition.become_leader(alone(3))
    assert partition.check_leader(believed) is code
    partition.resign()
    assert partition.check_leader(believed) is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_the_end_of_an_epoch() -> None:
    partition = make_partition()
    for epoch, count in ((2, 3), (5, 4)):
        partition.become_leader(alone(epoch))
        append(partition, count)
    partition.become_leader(alone(9))
    assert partition.end_of_epoch(2) == (2, 3)
    assert partition.end_of_epoch(3) == (2, 3), "the largest known one below"
    assert partition.end_of_epoch(5) == (5, 7)
    assert partition.end_of_epoch(9) == (9, 7)
    assert partition.end_of_epoch(10) == (-1, -1), "not known yet"
    assert partition.end_of_epoch(-1) == (-1, -1)


def test_committed_data_ends_at_the_oldest_open_transaction() -> None:
    partition = make_partition()
    append(partition, 2)
    data = batch(1, producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    partition.append(memoryview(data), read_header(data), 0)
    append(partition, 1)
    assert partition.readable_end(IsolationLevel.READ_UNCOMMITTED) == 4
    assert partition.readable_end(IsolationLevel.READ_COMMITTED) == 2


# With followers


def fetched(partition: Partition, broker: int, end: int, *, start: int = 0, at: int = 0) -> None:
    partition.follower_fetched(broker, end, start, 7, at)


def leading(
    config: LogConfig | None = None, *, isr: tuple[int, ...] = (1, 2, 3), min_isr: int = 1
) -> Partition:
    partition = make_partition(config, leads=False)
    partition.configure(config or LogConfig(), ProduceRules(), min_isr)
    partition.become_leader(among(0, isr=isr))
    return partition


def test_with_followers_the_high_watermark_waits_for_the_isr() -> None:
    partition = leading(isr=(1, 2))
    append(partition, 3)
    told = Told()
    partition.when_committed(3, told)
    assert partition.high_watermark == 0
    fetched(partition, 2, 2)
    assert (partition.high_watermark, partition.log.high_watermark) == (2, 2)
    fetched(partition, 2, 3)
    assert told.outcomes == [None]
    fetched(partition, 2, 1)
    assert partition.high_watermark == 3, "it never goes back"


def test_followers_hear_of_appends_and_readers_of_commits() -> None:
    partition = leading(isr=(1, 2))
    reader, tail = Watching(), Watching()
    partition.watchers[reader] = None
    partition.tails[tail] = None
    size = len(batch(2))
    append(partition, 2)
    assert (reader.heard, tail.heard) == ([], [f"advanced to 0 by {size}"])
    fetched(partition, 2, 2)
    assert reader.heard == [f"advanced to 2 by {size}"]
    assert tail.heard[1:] == ["starts at 0"], "not worth waking anybody for"


def test_followers_are_woken_though_too_few_are_in_sync() -> None:
    partition = leading(isr=(1,), min_isr=2)
    tail = Watching()
    partition.tails[tail] = None
    append(partition, 2)
    assert (partition.high_watermark, len(tail.heard)) == (0, 1)
    assert partition.is_under_min_isr


def test_what_coordinators_write_is_refused_with_too_few_in_sync() -> None:
    partition = leading(isr=(1,), min_isr=2)
    marker = EndTxnMarker(committed=False, coordinator_epoch=0)
    with pytest.raises(ApiError) as refused:
        partition.append_marker(7, 0, marker, 0, 0)
    assert refused.value.code is ErrorCode.NOT_ENOUGH_REPLICAS


def test_with_flushing_the_leader_counts_what_it_flushed() -> None:
    partition = leading(FLUSHED, isr=(1, 2))
    append(partition, 3)
    all_acks, one_ack = Told(), Told()
    partition.when_committed(3, all_acks)
    partition.when_flushed(3, one_ack)
    fetched(partition, 2, 3)
    assert (partition.high_watermark, one_ack.outcomes) == (0, [])
    partition.log.flush()
    partition.advance_high_watermark(0)
    assert (all_acks.outcomes, one_ack.outcomes) == ([None], [None])


def test_with_flushing_one_acknowledgement_does_not_wait_for_followers() -> None:
    partition = leading(FLUSHED, isr=(1, 2))
    tail, told = Watching(), Told()
    partition.tails[tail] = None
    append(partition, 3)
    assert len(tail.heard) == 1, "what is not flushed yet may be fetched"
    partition.when_flushed(3, told)
    partition.log.flush()
    partition.advance_high_watermark(0)
    assert (told.outcomes, partition.high_watermark) == ([None], 0)


@pytest.mark.parametrize("role", ["follower", "leader", "nobody"])
def test_every_wait_ends_with_its_role(role: str) -> None:
    partition = leading(FLUSHED)
    append(partition, 3)
    told = Told()
    partition.when_committed(3, told)
    partition.when_flushed(3, told)
    partition.when_started(3, {1, 2, 3}, told)
    if role == "follower":
        partition.become_follower(among(1, leader=2))
    elif role == "leader":
        partition.become_leader(among(1))
    else:
        partition.resign()
    assert told.outcomes == [ErrorCode.NOT_LEADER_OR_FOLLOWER] * 3


def test_what_followers_had_is_not_known_in_another_epoch() -> None:
    partition = leading(isr=(1, 2))
    append(partition, 3)
    fetched(partition, 2, 2)
    partition.become_leader(among(1, isr=(1, 2)))
    append(partition, 1)
    assert partition.high_watermark == 2
    assert not partition.knows_its_end
    fetched(partition, 2, 3)
    assert partition.knows_its_end


def test_who_may_be_deposed_does_not_know_the_end() -> None:
    partition = leading(isr=(1, 2))
    assert partition.knows_its_end
    partition.lapse(True)
    assert not partition.knows_its_end
    partition.lapse(False)
    assert partition.knows_its_end


def test_in_its_epoch_a_leader_takes_over_who_else_is_in_sync() -> None:
    partition = leading()
    append(partition, 3)
    fetched(partition, 2, 3)
    told = Told()
    partition.when_committed(3, told)
    partition.become_leader(among(0, isr=(1, 2), partition_epoch=1))
    assert (partition.high_watermark, told.outcomes) == (3, [None])
    partition.become_leader(among(0, partition_epoch=0))
    assert partition.leadership is not None
    assert partition.leadership.state.isr == (1, 2), "that was older"


def test_a_partition_gets_followers_in_its_epoch() -> None:
    partition = make_partition()
    append(partition, 2)
    partition.become_leader(among(0, isr=(1,), partition_epoch=1))
    append(partition, 1)
    assert (partition.is_alone, partition.high_watermark) == (False, 3)
    fetched(partition, 2, 1)
    partition.become_leader(among(0, replicas=(1,), partition_epoch=2))
    append(partition, 1)
    assert partition.high_watermark == 4


def test_who_has_no_replica_moves_nothing() -> None:
    alone_here, followed = make_partition(), leading(isr=(1, 2))
    for partition, broker in ((alone_here, 2), (followed, 4), (followed, 1)):
        append(partition, 1)
        with pytest.raises(ApiError) as refused:
            fetched(partition, broker, 1)
        assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert followed.high_watermark == 0


def test_who_has_caught_up_is_said_to_be_able_to_join() -> None:
    heard: list[Partition] = []
    partition = leading(isr=(1,))
    partition.may_join = heard.append
    append(partition, 3)
    fetched(partition, 2, 2)
    assert heard == []
    fetched(partition, 2, 3)
    assert heard == [partition]
    partition.become_leader(among(0, isr=(1, 2), partition_epoch=1))
    fetched(partition, 2, 3)
    assert heard == [partition]


def test_nothing_is_committed_while_somebody_may_be_elected_without_it() -> None:
    """`min.insync.replicas` was lowered; the store says who is eligible until it is told."""
    heard: list[Partition] = []
    partition = make_partition(leads=False)
    partition.may_join = heard.append
    partition.configure(LogConfig(), ProduceRules(), 2)
    partition.become_leader(among(0, isr=(1,))._replace(elr=(2, 3)))
    append(partition, 3)
    partition.configure(LogConfig(), ProduceRules(), 1)
    assert heard == [partition]
    assert partition.is_under_min_isr
    assert partition.high_watermark == 0
    partition.become_leader(among(0, isr=(1,), partition_epoch=1))
    assert not partition.is_under_min_isr
    assert (partition.high_watermark, heard) == (3, [partition])


def test_a_change_in_flight_counts_both_isrs_until_it_is_settled() -> None:
    partition = leading(isr=(1, 2))
    append(partition, 3)
    fetched(partition, 2, 3)
    append(partition, 1)
    partition.propose_isr((1, 3))
    fetched(partition, 2, 4)
    assert partition.high_watermark == 3
    partition.settle_isr(among(0, isr=(1, 3), partition_epoch=1))
    assert partition.high_watermark == 3
    fetched(partition, 3, 4)
    assert partition.high_watermark == 4


def test_a_change_that_was_not_made_leaves_the_isr() -> None:
    partition = leading(isr=(1, 2))
    append(partition, 3)
    partition.propose_isr((1, 2, 3))
    fetched(partition, 2, 3)
    assert partition.high_watermark == 0
    partition.settle_isr(None)
    assert partition.high_watermark == 3


def test_records_are_deleted_once_every_replica_has_deleted_them() -> None:
    partition = leading()
    append(partition, 5)
    fetched(partition, 2, 5)
    fetched(partition, 3, 5)
    partition.advance_log_start(4)
    told, of_the_living = Told(), Told()
    partition.when_started(4, {1, 2, 3}, told)
    partition.when_started(4, {1, 2}, of_the_living)
    assert partition.low_watermark({1, 2, 3}) == 0
    fetched(partition, 2, 5, start=4)
    assert (told.outcomes, of_the_living.outcomes) == ([], [None])
    fetched(partition, 3, 5, start=4)
    assert (told.outcomes, partition.low_watermark({1, 2, 3})) == ([None], 4)


def test_an_epoch_nothing_was_written_in_ended_where_this_leader_began() -> None:
    partition = make_partition()
    append(partition, 3)
    partition.become_leader(alone(5))
    assert partition.end_of_epoch(3) == (0, 3)
    append(partition, 3)
    assert partition.end_of_epoch(3) == (0, 3)
    empty = make_partition(leads=False)
    empty.become_leader(alone(5))
    assert empty.end_of_epoch(3) == (3, 0)


def test_a_follower_tells_who_leads() -> None:
    partition = make_partition(leads=False)
    watching = Watching()
    partition.watchers[watching] = None
    partition.become_follower(among(2, leader=3))
    partition.become_follower(among(2, leader=3, partition_epoch=1))
    assert (partition.leader, partition.leader_epoch) == (3, 2)
    assert watching.heard == ["changed in epoch 2"], "the same leader again is no news"
    with pytest.raises(AssertionError):
        partition.become_follower(among(1, leader=3))
