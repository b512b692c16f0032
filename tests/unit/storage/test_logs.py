import errno
import os

import pytest
from tests.unit.storage.parts import CountingRandomness, append, batch, values

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import TopicPartition
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Fate, Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.roots import LogsError

CONFIG = LogConfig(segment_bytes=900, index_interval_bytes=200)
TOPIC_ID = b"t" * 16


def begin(disk: MemoryDisk, *paths: str) -> Logs:
    logs = Logs(disk, paths or ("/data",), CountingRandomness())
    logs.start()
    return logs


def start(disk: MemoryDisk, *paths: str, config: LogConfig = CONFIG) -> Logs:
    logs = begin(disk, *paths)
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: config, 0)
    return logs


def partition(number: int) -> TopicPartition:
    return TopicPartition("t", number)


def got(logs: Logs, number: int) -> Log:
    log = logs.get(partition(number))
    assert log is not None
    return log


def test_a_new_directory_counts_as_stopped_cleanly() -> None:
    assert start(MemoryDisk()).stopped_cleanly


def test_directory_ids_stay() -> None:
    disk = MemoryDisk()
    logs = start(disk, "/a", "/b")
    ids = [directory.directory_id for directory in logs.directories]
    assert len(set(ids)) == 2
    logs.close()
    assert [d.directory_id for d in start(disk, "/a", "/b").directories] == ids


def test_logs_are_placed_where_the_fewest_are() -> None:
    logs = start(MemoryDisk(), "/a", "/b")
    for number in range(6):
        logs.create(partition(number), TOPIC_ID, CONFIG, 0)
    assert [got(logs, number).directory.path for number in range(6)] == ["/a", "/b"] * 3


def test_a_deleted_log_goes_after_a_while() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(partition(0), TOPIC_ID, CONFIG._replace(file_delete_delay_ms=50), 0)
    append(log, batch(3))
    logs.delete(partition(0), 100)
    assert logs.get(partition(0)) is None
    [aside] = [name for name in disk.list("/data") if name.endswith("-delete")]
    assert logs.removal_jobs(149) == []
    for job in logs.removal_jobs(150):
        job.run()
    assert aside not in disk.list("/data")
    assert len(logs.handles) == 0
    logs.create(partition(0), b"u" * 16, CONFIG, 0)


def test_what_was_being_deleted_goes_after_a_restart() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    append(logs.create(partition(0), TOPIC_ID, CONFIG, 0), batch(1))
    logs.delete(partition(0), 0)
    disk.process_death()
    logs = start(disk)
    for job in logs.removal_jobs(0):
        job.run()
    assert not [name for name in disk.list("/data") if name.endswith("-delete")]


@pytest.mark.parametrize("fate", list(Fate))
def test_logs_of_no_topic_are_set_aside(fate: Fate) -> None:
    disk = MemoryDisk()
    logs = start(disk)
    append(logs.create(partition(0), TOPIC_ID, CONFIG, 0), batch(1))
    logs.close()
    asked = []
    logs = begin(disk)
    logs.load(lambda name, topic_id: asked.append((name, topic_id)) or fate, 0)
    assert asked == [(partition(0), TOPIC_ID)]
    assert len(logs) == 0
    assert len(logs.removal_jobs(10**9)) == (fate is Fate.DELETE)
    assert len(logs.strays) == (fate is Fate.STRAY)


def test_other_files_are_left_alone() -> None:
    disk = MemoryDisk()
    disk.make_directories("/data/lost+found")
    disk.make_directories("/data/__cluster_metadata-0")
    disk.create("/data/notes-1", b"a file")
    start(disk).close()
    assert {"lost+found", "__cluster_metadata-0", "notes-1"} <= set(disk.list("/data"))


def test_the_clean_stop_counts_once() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    append(logs.create(partition(0), TOPIC_ID, CONFIG, 0), batch(1))
    logs.close()
    logs = start(disk)
    assert logs.stopped_cleanly
    assert not got(logs, 0).is_open
    disk.process_death()
    logs = start(disk)
    assert not logs.stopped_cleanly
    assert got(logs, 0).is_open


def test_high_watermarks_and_log_starts_survive() -> None:
    for clean in (True, False):
        disk = MemoryDisk()
        logs = start(disk)
        log = logs.create(partition(0), TOPIC_ID, CONFIG, 0)
        append(log, batch(5))
        append(log, batch(5))
        log.high_watermark = 8
        log.advance_log_start(6)
        if clean:
            logs.close()
        else:
            for job in logs.checkpoint_jobs():
                job.run()
            disk.process_death()
        logs = start(disk)
        log = got(logs, 0)
        assert (log.log_start_offset, log.high_watermark, log.log_end_offset) == (6, 8, 10)
        assert logs.high_watermark(partition(0)) == 8
        assert [offset for offset, _ in values(log)] == [6, 7, 8, 9]
        assert (log.log_start_offset, log.high_watermark) == (6, 8)


def test_where_acknowledged_means_flushed_everything_is_flushed_after_a_death() -> None:
    disk = MemoryDisk()
    durable = CONFIG._replace(flush_messages=1)
    logs = start(disk, config=durable)
    log = logs.create(partition(0), TOPIC_ID, durable, 0)
    for _ in range(5):
        append(log, batch(2))
    log.flush()
    logs.release()
    disk.process_death()
    log = got(start(disk, config=durable), 0)
    assert (log.flushed_end_offset, log.log_end_offset) == (10, 10)


@pytest.mark.parametrize("rotten", [b"\x7f" * 12, b"\xff" * 12, b"\0" * 7, b"\1" * 24])
def test_a_time_index_that_cannot_be_is_made_anew_after_a_clean_stop_too(rotten: bytes) -> None:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(partition(0), TOPIC_ID, CONFIG, 0)
    append(log, batch(2, timestamp=5))
    logs.close()
    (path,) = (path for path in disk.files if path.endswith(".timeindex"))
    sound = bytes(disk.files[path].data)
    disk.files[path].data[:] = rotten
    logs = start(disk)
    log = got(logs, 0)
    assert len(values(log)) == 2
    append(log, batch(1, timestamp=6))
    logs.close()
    assert bytes(disk.files[path].data).startswith(sound)


def test_the_highest_producer_id_is_known_after_every_stop() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(partition(0), TOPIC_ID, CONFIG, 0)
    append(log, batch(1, producer_id=41, producer_epoch=0, base_sequence=0))
    disk.process_death()
    logs = start(disk)
    assert logs.highest_producer_id == 41
    logs.close()
    logs = start(disk)
    assert logs.highest_producer_id == 41
    logs.close()
    assert start(disk).highest_producer_id == 41


def test_retention_takes_turns_and_opens_only_what_may_expire() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    for number in range(4):
        log = logs.create(partition(number), TOPIC_ID, CONFIG, 0)
        for at in range(20):
            append(log, batch(2, timestamp=number * 10**9 + at))
        log.high_watermark = log.log_end_offset
    logs.close()
    logs = start(disk)
    now_ms = 2 * 10**9 + 100
    removed = sum(logs.retention_turn(now_ms, 1) for _ in range(4))
    assert removed > 0
    assert [got(logs, number).is_open for number in range(4)] == [True, True, False, False]
    assert got(logs, 0).log_start_offset == got(logs, 0).log_end_offset
    for job in logs.removal_jobs(now_ms + CONFIG.file_delete_delay_ms):
        job.run()
    assert not [path for path in disk.files if path.endswith(".deleted")]


def test_retention_takes_a_few_segments_a_turn() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    config = LogConfig(segment_bytes=100, retention_ms=1000)
    for number in range(2):
        log = logs.create(partition(number), TOPIC_ID, config, 0)
        for at in range(40):
            append(log, batch(1, timestamp=at))
        log.high_watermark = log.log_end_offset
    removed = []
    while not removed or not logs.retention_is_over:
        removed.append(logs.retention_turn(10_000, 500))
    assert removed == [16, 16, 16, 16, 16, 0]
    assert all(got(logs, number).log_start_offset == 40 for number in range(2))


def test_idle_logs_hold_no_descriptor() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    for number in range(5):
        append(logs.create(partition(number), TOPIC_ID, CONFIG, 0), batch(1))
    assert disk.open_files == 5
    logs.handles.close_idle()
    logs.handles.close_idle()
    assert disk.open_files == 0
    assert len(values(got(logs, 3))) == 1


class Broken(MemoryDisk):
    broken = ""

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.broken and path.startswith(self.broken):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return None


def test_a_failed_directory_takes_only_its_logs_along() -> None:
    disk = Broken()
    logs = start(disk, "/a", "/b")
    heard = []
    for directory in logs.directories:
        directory.on_offline = lambda failed: heard.append(failed.path)
    for number in range(2):
        append(logs.create(partition(number), TOPIC_ID, CONFIG, 0), batch(1))
    disk.broken = "/a"
    with pytest.raises(StorageError):
        append(got(logs, 0), batch(1))
    assert heard == ["/a"]
    append(got(logs, 1), batch(1))
    assert [directory.path for directory in logs.online()] == ["/b"]
    assert logs.create(partition(2), TOPIC_ID, CONFIG, 0).directory.path == "/b"
    assert [job.directory.path for job in logs.checkpoint_jobs()] == ["/b"]
    logs.close()
    assert disk.exists("/b/.kafka_cleanshutdown")
    assert not disk.exists("/a/.kafka_cleanshutdown")


def test_a_directory_that_cannot_be_read_is_offline_from_the_start() -> None:
    disk = Broken()
    start(disk, "/a", "/b").close()
    disk.broken = "/a"
    logs = start(disk, "/a", "/b")
    assert [directory.path for directory in logs.online()] == ["/b"]
    disk.broken = "/"
    logs.release()
    with pytest.raises(LogsError, match="no log directory can be used"):
        begin(disk, "/a", "/b")


def test_without_a_directory_nothing_is_created() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    logs.directories[0].go_offline("for the test")
    with pytest.raises(ApiError) as error:
        logs.create(partition(0), TOPIC_ID, CONFIG, 0)
    assert error.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_new_log_has_its_directory_when_it_is_used_and_soon_in_any_case() -> None:
    disk = MemoryDisk()
    logs = start(disk, "/a")
    used, other, last = (
        logs.create(partition(number), bytes([number]) * 16, LogConfig(), 0) for number in range(3)
    )
    assert not any(disk.exists(log.path) for log in (used, other, last))
    append(used, batch(1))
    assert disk.exists(f"{used.path}/partition.metadata")
    assert not disk.exists(other.path)
    assert logs.make_directories(1)
    assert disk.exists(f"{other.path}/partition.metadata")
    assert not disk.exists(last.path)
    assert not logs.make_directories(1)
    assert disk.exists(last.path)


def test_a_log_whose_directory_was_not_made_yet_is_known_from_one_that_is_gone() -> None:
    disk = MemoryDisk()
    assert not start(disk).was_never_made(partition(0)), "nothing says what was there before"
    disk.process_death()
    logs = start(disk)
    made, gone, unmade = (
        logs.create(partition(number), bytes([number]) * 16, LogConfig(), 0) for number in range(3)
    )
    append(made, batch(1))
    append(gone, batch(1))
    for job in logs.checkpoint_jobs():
        job.run()
    disk.process_death()
    disk.remove_tree(gone.path)
    logs = start(disk)
    assert [logs.was_never_made(log.partition) for log in (made, gone, unmade)] == [
        False,
        False,
        True,
    ]
    disk.process_death()
    disk.files["/data/recovery-point-offset-checkpoint"].data[:1] = b"9"
    assert not start(disk).was_never_made(unmade.partition), "a checkpoint is garbled"


def test_a_log_deleted_before_it_was_used_leaves_nothing() -> None:
    disk = MemoryDisk()
    logs = start(disk, "/a")
    log = logs.create(partition(0), bytes(16), LogConfig(), 0)
    logs.delete(partition(0), 0)
    assert not logs.make_directories(10)
    assert logs.removal_jobs(2**62) == []
    assert not disk.exists(log.path)


def test_a_clean_stop_leaves_a_directory_of_every_log() -> None:
    disk = MemoryDisk()
    logs = start(disk, "/a")
    path = logs.create(partition(0), bytes(16), LogConfig(), 0).path
    logs.close()
    assert disk.exists(f"{path}/partition.metadata")
