import pytest
from tests.unit.storage.parts import (
    PARTITION,
    ROOT,
    CountingRandomness,
    append,
    batch,
    make_log,
    values,
    whole,
)

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import TimestampType
from ottla.record.batch import read_header, verify_crc
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Fate, Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.timestamps import newest_record, offset_for_timestamp

SMALL = LogConfig(segment_bytes=1000, index_interval_bytes=200)


def code_of(error: pytest.ExceptionInfo[ApiError]) -> ErrorCode:
    return error.value.code


def test_offsets_are_given_densely() -> None:
    log = make_log()
    assert append(log, batch(3)).base_offset == 0
    second = append(log, batch(2))
    assert (second.base_offset, second.last_offset) == (3, 4)
    assert log.log_end_offset == 5
    assert [offset for offset, _ in values(log)] == [0, 1, 2, 3, 4]


def test_a_read_begins_with_the_batch_that_holds_the_offset() -> None:
    log = make_log()
    append(log, batch(3))
    append(log, batch(3))
    result = log.read(4, 1 << 20)
    assert [header.base_offset for header in whole(result.records)] == [3]
    assert result.next_offset == 6


def test_a_first_batch_over_max_bytes_comes_back_whole() -> None:
    log = make_log()
    append(log, batch(3))
    append(log, batch(3))
    assert len(whole(log.read(0, 1).records)) == 1
    assert log.read(0, 1, min_one=False).records == b""


def test_a_read_stops_below_the_high_watermark() -> None:
    log = make_log()
    for _ in range(4):
        append(log, batch(1))
    result = log.read(1, 1 << 20, below=3)
    assert [header.base_offset for header in whole(result.records)] == [1, 2]
    assert log.read(3, 1 << 20, below=3).records == b""


def test_a_read_outside_the_log_is_out_of_range() -> None:
    log = make_log()
    append(log, batch(1))
    assert log.read(1, 100).records == b""
    for offset in (-1, 2):
        with pytest.raises(ApiError) as error:
            log.read(offset, 100)
        assert code_of(error) is ErrorCode.OFFSET_OUT_OF_RANGE


def test_the_log_rolls_when_a_batch_does_not_fit() -> None:
    log = make_log(config=SMALL)
    for _ in range(40):
        append(log, batch(2))
    assert len(log.segments) > 3
    assert all(segment.size <= 1000 for segment in log.segments)
    assert [offset for offset, _ in values(log)] == list(range(80))
    for offset in range(80):
        assert values(log, offset)[0][0] == offset


def test_a_batch_larger_than_a_segment_is_refused() -> None:
    log = make_log(config=SMALL)
    with pytest.raises(ApiError) as error:
        append(log, batch(1, value=bytes(2000)))
    assert code_of(error) is ErrorCode.RECORD_LIST_TOO_LARGE
    assert log.log_end_offset == 0


def started(disk: MemoryDisk, config: LogConfig = SMALL) -> Logs:
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: config if partition.topic == "t" else Fate.STRAY, 0)
    return logs


def log_of(logs: Logs) -> Log:
    log = logs.get(PARTITION)
    assert log is not None
    return log


@pytest.mark.parametrize("clean", [True, False])
def test_what_was_written_is_there_after_a_restart(clean: bool) -> None:
    disk = MemoryDisk()
    logs = started(disk)
    log = logs.create(PARTITION, b"t" * 16, SMALL, 0)
    for at in range(30):
        append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=2 * at))
    expected = values(log)
    if clean:
        logs.close()
    else:
        disk.process_death()
    logs = started(disk)
    log = log_of(logs)
    assert log.topic_id == b"t" * 16
    assert log.is_open is not clean
    assert values(log) == expected
    assert (
        append(log, batch(2, producer_id=7, producer_epoch=0, base_sequence=60)).base_offset == 60
    )


def test_unknown_directories_become_stray() -> None:
    disk = MemoryDisk()
    logs = started(disk)
    logs.create(TopicPartition("other", 0), b"o" * 16, SMALL, 0)
    logs.close()
    logs = started(disk)
    assert len(logs.strays) == 1
    assert logs.get(TopicPartition("other", 0)) is None
    assert [name for name in disk.list(ROOT) if name.endswith("-stray")]


def test_a_record_is_found_by_its_time() -> None:
    log = make_log(config=SMALL)
    for at in range(60):
        append(log, batch(2, timestamp=1000 + 10 * at))
    for at in range(60):
        found = offset_for_timestamp(log, 1000 + 10 * at)
        assert found is not None
        assert (found.offset, found.timestamp, found.leader_epoch) == (2 * at, 1000 + 10 * at, 0)
    between = offset_for_timestamp(log, 1002)
    assert between is not None
    assert between.offset == 2
    assert offset_for_timestamp(log, 1592) is None


def test_the_largest_timestamp_is_that_of_its_first_record() -> None:
    log = make_log(config=SMALL)
    assert newest_record(log) is None
    append(log, batch(2, timestamp=50))
    append(log, batch(3, timestamp=500))
    append(log, batch(1, timestamp=502))
    found = newest_record(log)
    assert found is not None
    assert (found.offset, found.timestamp) == (4, 502)


def test_the_largest_timestamp_may_be_that_of_a_deleted_record() -> None:
    """As with Kafka: only a whole segment that goes takes its timestamps along."""
    log = make_log(config=SMALL)
    append(log, batch(2, timestamp=500))
    append(log, batch(2, timestamp=50))
    log.high_watermark = 4
    for start in (1, 2, 4):
        log.advance_log_start(start)
        found = newest_record(log)
        assert found is not None
        assert (found.offset, found.timestamp) == (1, 501)
    assert offset_for_timestamp(log, 51) is None


def test_last_stable_offset_without_opening() -> None:
    disk = MemoryDisk()
    logs = started(disk)
    log = logs.create(PARTITION, b"t" * 16, SMALL, 0)
    append(log, batch(2))
    append(log, batch(2, producer_id=3, producer_epoch=0, base_sequence=0, transactional=True))
    log.high_watermark = 4
    assert log.last_stable_offset == 2
    logs.close()
    log = log_of(started(disk))
    assert not log.is_open
    assert log.last_stable_offset == 2


def test_a_follower_takes_the_leaders_batches_as_they_are() -> None:
    leader, follower = make_log(config=SMALL), make_log(config=SMALL)
    for at in range(40):
        append(
            leader,
            batch(2, producer_id=4, producer_epoch=0, base_sequence=2 * at),
            epoch=at // 15,
        )
    while follower.log_end_offset < leader.log_end_offset:
        result = leader.read(follower.log_end_offset, 700)
        follower.append_as_follower(bytes(result.records) + b"another batch, cut off", 0)
    assert values(follower) == values(leader)
    assert list(follower.leader_epochs) == list(leader.leader_epochs)
    assert follower.producers.entries() == leader.producers.entries()
    assert [s.base_offset for s in follower.segments] == [s.base_offset for s in leader.segments]


def test_a_follower_refuses_batches_that_go_back() -> None:
    leader, follower = make_log(), make_log()
    append(leader, batch(2))
    records = bytes(leader.read(0, 500).records)
    follower.append_as_follower(records, 0)
    with pytest.raises(ApiError) as error:
        follower.append_as_follower(records, 0)
    assert code_of(error) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert follower.log_end_offset == 2
    assert follower.append_as_follower(b"", 0) is None


def test_the_log_rolls_by_time_of_its_batches() -> None:
    log = make_log(config=LogConfig(segment_ms=100))
    for timestamp in (1000, 1050, 1099, 900):
        append(log, batch(1, timestamp=timestamp), now_ms=10**9)
    assert len(log.segments) == 1
    append(log, batch(1, timestamp=1100))
    assert len(log.segments) == 1
    append(log, batch(1, timestamp=1101))
    assert [segment.base_offset for segment in log.segments] == [0, 5]


def test_jitter_makes_segments_roll_early() -> None:
    config = LogConfig(segment_ms=100, segment_jitter_ms=50)
    disk = MemoryDisk()
    logs = started(disk, config)
    log = logs.create(PARTITION, b"t" * 16, config, 0)
    append(log, batch(1, timestamp=0))
    jitter = log.segments.active.jitter_ms
    assert 0 <= jitter < 50
    append(log, batch(1, timestamp=101 - jitter))
    assert len(log.segments) == 2


def test_the_log_rolls_when_an_index_is_full() -> None:
    log = make_log(config=LogConfig(index_interval_bytes=0, segment_index_bytes=12 * 5))
    for at in range(30):
        append(log, batch(1, timestamp=at))
    assert len(log.segments) > 4
    assert all(segment.offset_index.entries <= 7 for segment in log.segments)
    assert all(segment.time_index.entries <= 5 for segment in log.segments)


def test_with_log_append_time_the_broker_says_when() -> None:
    log = make_log(config=LogConfig(message_timestamp_type=TimestampType.LOG_APPEND_TIME))
    data = batch(3, timestamp=5)
    result = log.append(data, read_header(data), 0, 777_000)
    assert result.log_append_time_ms == 777_000
    [header] = whole(log.read(0, 500).records)
    assert header.max_timestamp == 777_000
    assert header.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert verify_crc(log.read(0, 500).records)
    found = offset_for_timestamp(log, 777_000)
    assert found is not None
    assert found.offset == 0


def test_the_first_flush_syncs_the_names_too() -> None:
    class Noting(MemoryDisk):
        def __init__(self) -> None:
            super().__init__()
            self.synced: list[str] = []

        def fault(self, operation: str, path: str, size: int) -> int | None:
            if operation.startswith("sync"):
                self.synced.append(path)
            return None

    disk = Noting()
    log = make_log(disk, SMALL)
    append(log, batch(1))
    log.flush()
    assert {f"{ROOT}/t-0/00000000000000000000.log", f"{ROOT}/t-0", ROOT} <= set(disk.synced)
    disk.synced.clear()
    append(log, batch(1))
    log.flush()
    assert disk.synced == [f"{ROOT}/t-0/00000000000000000000.log"]
    log.flush()
    assert len(disk.synced) == 1
    while len(log.segments) == 1:
        append(log, batch(2))
    disk.synced.clear()
    log.flush()
    assert f"{ROOT}/t-0" in disk.synced
    assert f"{ROOT}/t-0/00000000000000000000.index" in disk.synced


def test_one_flush_covers_all_appends_before_it_and_none_after() -> None:
    log = make_log()
    append(log, batch(2))
    job = log.flush_job()
    assert job is not None
    append(log, batch(3))
    job.run()
    log.flushed(job)
    assert log.flushed_end_offset == 2
    assert log.flush_job() is not None


def test_a_flush_from_before_a_truncation_does_not_count() -> None:
    log = make_log()
    append(log, batch(2))
    append(log, batch(2))
    job = log.flush_job()
    assert job is not None
    log.truncate_to(2, 0)
    append(log, batch(5))
    job.run()
    log.flushed(job)
    assert log.flushed_end_offset <= 2


def test_deleting_records_above_the_high_watermark_is_refused() -> None:
    log = make_log()
    append(log, batch(4))
    log.high_watermark = 2
    with pytest.raises(ApiError) as error:
        log.advance_log_start(3)
    assert code_of(error) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert log.advance_log_start(2)
    assert not log.advance_log_start(1)
    assert log.log_start_offset == 2
