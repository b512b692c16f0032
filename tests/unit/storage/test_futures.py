"""A copy takes its log's place whole, or not at all, whenever the broker dies."""

import copy

import pytest
from tests.unit.storage.parts import CountingRandomness, append, batch, values

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.storage import futures, names
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk

CONFIG = LogConfig(segment_bytes=500, retention_ms=-1)
NAME = TopicPartition("rides", 0)


def start(disk: MemoryDisk) -> Logs:
    logs = Logs(disk, ["/one", "/two"], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: CONFIG, 0)
    return logs


def only(logs: Logs) -> Log:
    log = logs.get(NAME)
    assert log is not None
    return log


def filled(batches: int = 12) -> tuple[Logs, Log]:
    """A log in `/one`, whose first producer wrote nothing since."""
    logs = start(MemoryDisk())
    log = logs.create(NAME, b"t" * 16, CONFIG, 0)
    assert log.directory.path == "/one"
    append(log, batch(2, producer_id=4711, producer_epoch=3, base_sequence=8))
    for number in range(batches):
        append(log, batch(2, value=b"%d" % number), epoch=number // 5)
    log.high_watermark = log.log_end_offset
    return logs, log


def copy_all(logs: Logs, log: Log, future: Log) -> None:
    futures.follow_bounds(log, future, 0)
    while future.log_end_offset < log.log_end_offset:
        future.append_as_follower(log.read(future.log_end_offset, 300).records, 0)


def begin(logs: Logs, log: Log) -> Log:
    return logs.begin_future(log, logs.directory_at("/two"), 0)


@pytest.mark.parametrize("name", ["rides-0", "a.b-c-12"])
def test_the_name_of_a_copy_is_kafkas(name: str) -> None:
    partition = names.parse_partition_directory(name)
    assert partition is not None
    aside = names.set_aside(partition, "0123456789abcdef" * 2, names.FUTURE_SUFFIX)
    assert aside == f"{name}.{'0123456789abcdef' * 2}-future"
    assert futures.future_of(aside) == partition
    assert futures.future_of(name) is None


def test_a_copy_has_everything_of_its_log() -> None:
    logs, log = filled()
    held, producers = values(log), log.producers.entries()
    epochs, end = list(log.leader_epochs), log.log_end_offset
    future = begin(logs, log)
    copy_all(logs, log, future)
    new = logs.swap(log, future, 0)
    assert logs.get(NAME) is new
    assert (new.path, new.directory.path) == ("/two/rides-0", "/two")
    assert (values(new), new.producers.entries()) == (held, producers)
    assert (list(new.leader_epochs), new.log_end_offset) == (epochs, end)
    assert (new.high_watermark, new.flushed_end_offset) == (end, end)
    assert not logs.futures
    assert logs.disk.exists("/two/rides-0/partition.metadata")
    append(new, batch(value=b"more"), epoch=9)
    assert values(new) == [*held, (end, b"more")]


def test_producers_that_wrote_nothing_since_the_start_are_known() -> None:
    logs, log = filled()
    log.advance_log_start(6)
    future = begin(logs, log)
    copy_all(logs, log, future)
    assert future.log_start_offset == 6
    new = logs.swap(log, future, 0)
    assert [entry.producer_id for entry in new.producers.entries()] == [4711]
    assert new.log_start_offset == 6


def test_a_copy_that_is_behind_the_logs_start_begins_anew() -> None:
    logs, log = filled()
    future = begin(logs, log)
    future.append_as_follower(log.read(0, 300).records, 0)
    log.advance_log_start(20)
    futures.follow_bounds(log, future, 0)
    assert (future.log_start_offset, future.log_end_offset) == (20, 20)


def test_the_old_log_is_removed_when_its_delay_has_passed() -> None:
    logs, log = filled()
    future = begin(logs, log)
    copy_all(logs, log, future)
    logs.swap(log, future, 0)
    assert [name for name in logs.disk.list("/one") if name.endswith("-delete")]
    for job in logs.removal_jobs(CONFIG.file_delete_delay_ms):
        job.run()
    assert not [name for name in logs.disk.list("/one") if name.startswith("rides")]


def test_a_copy_given_up_is_removed() -> None:
    logs, log = filled()
    future = begin(logs, log)
    copy_all(logs, log, future)
    logs.discard_future(future, 0)
    for job in logs.removal_jobs(0):
        job.run()
    assert not [name for name in logs.disk.list("/two") if name.startswith("rides")]


def test_a_directory_that_is_none_is_refused() -> None:
    logs, _ = filled(1)
    with pytest.raises(ApiError) as refused:
        logs.directory_at("/three")
    assert refused.value.code is ErrorCode.LOG_DIR_NOT_FOUND


class Recording(MemoryDisk):
    """Remembers what was on it before each operation that changes something."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[MemoryDisk] = []
        self.recording = False

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.recording and operation not in ("pread", "read", "open"):
            self.recording = False
            before = self.before
            self.before = []
            taken = MemoryDisk()
            taken.files = copy.deepcopy(self.files)
            taken.directories = copy.deepcopy(self.directories)
            before.append(taken)
            self.before = before
            self.recording = True
        return None


def test_whenever_the_broker_dies_there_is_one_whole_log() -> None:
    disk = Recording()
    logs = start(disk)
    log = logs.create(NAME, b"t" * 16, CONFIG, 0)
    for number in range(6):
        append(log, batch(2, value=b"%d" % number))
    held = values(log)
    disk.recording = True
    future = begin(logs, log)
    copy_all(logs, log, future)
    logs.swap(log, future, 0)
    disk.recording = False
    assert len(disk.before) > 15
    places = set()
    for number, left in enumerate(disk.before):
        again = start(left)
        found = only(again)
        assert values(found) == held, number
        places.add(found.directory.path)
        resumed = again.futures.get(NAME)
        if resumed is not None:
            assert found.directory.path == "/one", number
            copy_all(again, found, resumed)
            moved = again.swap(found, resumed, 0)
            assert values(moved) == held, number
            assert not any(name.endswith("-future") for name in left.list("/two"))
    assert places == {"/one", "/two"}


def test_a_copy_goes_on_after_a_clean_stop() -> None:
    logs, log = filled()
    future = begin(logs, log)
    future.append_as_follower(log.read(0, 300).records, 0)
    end = future.log_end_offset
    held = values(log)
    logs.close()
    disk = logs.disk
    assert isinstance(disk, MemoryDisk)
    again = start(disk)
    resumed = again.futures[NAME]
    assert resumed.log_end_offset == end > 0
    copy_all(again, only(again), resumed)
    assert values(again.swap(only(again), resumed, 0)) == held
