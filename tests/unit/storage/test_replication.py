"""What a follower appends of its leader's batches, and what it refuses."""

import errno

import pytest
from tests.unit.storage.parts import append, batch, make_log, values, whole

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.record.batch import stamp
from ottla.record.control import build_end_txn_marker
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk

SMALL = LogConfig(segment_bytes=1000, index_interval_bytes=100, segment_index_bytes=4096)


def leader_with(*epochs: int, config: LogConfig = SMALL) -> Log:
    """A log with a batch of two records in each of these epochs."""
    log = make_log(config=config)
    for at, epoch in enumerate(epochs):
        append(log, batch(2, timestamp=1000 + at), epoch=epoch)
    log.high_watermark = log.log_end_offset
    return log


def everything(log: Log) -> bytes:
    found, offset = b"", log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, 1 << 20)
        found += bytes(result.records)
        offset = result.next_offset
    return found


def code_of_append(log: Log, records: bytes, **more: int) -> ErrorCode:
    with pytest.raises(ApiError) as error:
        log.append_as_follower(records, 0, **more)
    return error.value.code


def test_one_append_spans_segments_as_the_leaders_do() -> None:
    leader = leader_with(*[1] * 30, *[2] * 10)
    follower = make_log(config=SMALL)
    assert follower.append_as_follower(everything(leader), 0) == (0, 79)
    assert [s.base_offset for s in follower.segments] == [s.base_offset for s in leader.segments]
    assert len(follower.segments) > 3
    assert [s.size for s in follower.segments] == [s.size for s in leader.segments]
    assert everything(follower) == everything(leader)
    assert list(follower.leader_epochs) == [(1, 0), (2, 60)]


def test_a_batch_that_begins_a_segment_for_its_time_is_written_there() -> None:
    """It was written behind the others, and is cut off again."""
    config = LogConfig(segment_ms=50)
    leader = make_log(config=config)
    for timestamp in (1000, 1010, 1060, 1061):
        append(leader, batch(1, timestamp=timestamp))
    disk = MemoryDisk()
    follower = make_log(disk, config)
    follower.append_as_follower(everything(leader), 0)
    assert [s.base_offset for s in follower.segments] == [0, 2]
    first, second = follower.segments
    assert disk.size(first.log_path) == first.size == second.size
    assert values(follower) == values(leader)


def test_a_wrong_checksum_is_refused_and_nothing_before_it_is_kept() -> None:
    records = bytearray(everything(leader_with(1, 1)))
    records[-1] ^= 1
    follower = make_log()
    assert code_of_append(follower, bytes(records)) is ErrorCode.CORRUPT_MESSAGE
    assert follower.log_end_offset == 0


def test_epochs_do_not_go_back() -> None:
    follower = make_log()
    follower.append_as_follower(everything(leader_with(3)), 0)
    late = batch(1)
    stamp(late, 0, 2, 2)
    assert code_of_append(follower, bytes(late)) is ErrorCode.CORRUPT_MESSAGE
    stamp(late, 0, 2, 3)
    assert follower.append_as_follower(bytes(late), 0) == (2, 2)


def test_batches_of_a_later_epoch_than_was_asked_for_are_left_out() -> None:
    """The leader asked has become a follower meanwhile, and read on in its new leader's batches."""
    follower = make_log()
    records = everything(leader_with(1, 1, 2))
    assert follower.append_as_follower(records, 0, leader_epoch=1) == (0, 3)
    assert follower.append_as_follower(everything(leader_with(2)), 0, leader_epoch=1) is None
    assert list(follower.leader_epochs) == [(1, 0)]


def test_offsets_may_skip_and_never_go_back() -> None:
    follower = make_log()
    data = batch(2)
    stamp(data, 0, 7, 0)
    assert follower.append_as_follower(bytes(data), 0) == (7, 8)
    assert follower.log_end_offset == 9
    stamp(data, 0, 8, 0)
    assert code_of_append(follower, bytes(data)) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert [header.base_offset for header in whole(everything(follower))] == [7]


def test_an_empty_log_takes_the_batch_within_which_the_leaders_begins() -> None:
    leader = leader_with(1)
    leader.advance_log_start(1)
    follower = make_log()
    follower.truncate_fully_and_start_at(1, 0)
    follower.append_as_follower(bytes(leader.read(1, 500).records), 0)
    assert (follower.log_start_offset, follower.log_end_offset) == (1, 2)
    assert list(follower.leader_epochs) == list(leader.leader_epochs) == [(1, 1)]
    assert values(follower) == values(leader)
    assert follower.segments.first.base_offset == 0


def test_producers_and_aborted_transactions_are_as_on_the_leader() -> None:
    leader = make_log()
    append(leader, batch(2, producer_id=3, producer_epoch=1, base_sequence=0, transactional=True))
    append(leader, batch(1))
    marker = build_end_txn_marker(
        committed=False, coordinator_epoch=4, timestamp=9, producer_id=3, producer_epoch=1
    )
    append(leader, bytearray(marker))
    follower = make_log()
    follower.append_as_follower(everything(leader), 0)
    assert follower.producers.entries() == leader.producers.entries()
    assert follower.aborted_transactions(0, 4) == leader.aborted_transactions(0, 4)
    assert len(follower.aborted_transactions(0, 4)) == 1
    follower.high_watermark = 3
    assert follower.last_stable_offset == 0


def test_a_write_that_fails_leaves_the_log_as_it_was() -> None:
    class FullDisk(MemoryDisk):
        room: int | None = None

        def fault(self, operation: str, path: str, size: int) -> int | None:
            return self.room if operation == "pwrite" and path.endswith(".log") else None

    disk = FullDisk()
    disk.torn = errno.ENOSPC
    follower = make_log(disk, SMALL)
    records = everything(leader_with(*[1] * 20))
    tenth = len(records) // 10
    follower.append_as_follower(records[:tenth], 0)
    disk.room = 100
    assert code_of_append(follower, records[tenth:]) is ErrorCode.KAFKA_STORAGE_ERROR
    assert everything(follower) == records[:tenth]
    assert disk.size(follower.segments.active.log_path) == tenth
    disk.room = None
    follower.append_as_follower(records[tenth:], 0)
    assert everything(follower) == records


def test_an_offline_directory_takes_nothing() -> None:
    follower = make_log()
    follower.directory.go_offline("for the test")
    with pytest.raises((ApiError, StorageError)):
        follower.append_as_follower(everything(leader_with(1)), 0)
