"""What goes first when a directory may hold no more, what never goes, and what is refused."""

import pytest
from tests.unit.storage.parts import ROOT, CountingRandomness, append, batch, make_log

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.names import CONSUMER_OFFSETS
from ottla.record.batch import read_header
from ottla.storage.budget import Budget
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.producer_state import AppendOrigin

VALUE = b"." * 400
BATCH_BYTES = len(batch(value=VALUE))
SEGMENT_BYTES = 2 * BATCH_BYTES
DELETABLE = LogConfig(segment_bytes=SEGMENT_BYTES, retention_ms=10**12)
NEVER = 10**9
"""A time at which only what does not wait for its delay is removed."""


class Directory:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.logs = self.start()

    def start(self) -> Logs:
        logs = Logs(self.disk, [ROOT], CountingRandomness())
        logs.start()
        logs.identify("cluster", 1)
        logs.load(lambda partition, topic_id: DELETABLE, 0)
        return logs

    def log(self, topic: str, batches: int, *, at: int = 1000, **config: object) -> Log:
        """A log with committed batches, two a segment, a tenth of a second after each other."""
        settings = DELETABLE._replace(**config)
        log = self.logs.create(TopicPartition(topic, 0), topic.encode().ljust(16), settings, 0)
        for number in range(batches):
            append(log, batch(value=VALUE, timestamp=at + 100 * number))
        log.high_watermark = log.log_end_offset
        return log

    def keep_within(self, batches: int) -> Budget:
        """Set the limit so that deletion goes down to so many batches; remove what is due."""
        self.logs.keep_within(batches * BATCH_BYTES * 20 // 19 + 1, 0)
        for job in self.logs.removal_jobs(0):
            job.run()
            job.done()
        budget = self.logs.directories[0].budget
        assert budget is not None
        return budget

    def log_bytes(self) -> int:
        return sum(len(content.data) for path, content in self.disk.files.items() if ".log" in path)


@pytest.fixture
def directory() -> Directory:
    return Directory()


def starts(*logs: Log) -> list[int]:
    return [log.log_start_offset for log in logs]


def test_nothing_goes_where_nothing_is_limited(directory: Directory) -> None:
    log = directory.log("rides", 10)
    directory.logs.keep_within(-1, 0)
    assert starts(log) == [0]
    assert directory.logs.directories[0].budget is None


def test_the_oldest_segment_of_any_topic_goes_first(directory: Directory) -> None:
    older = directory.log("older", 6, at=1000)
    newer = directory.log("newer", 6, at=1150)
    directory.keep_within(10)
    assert starts(older, newer) == [2, 0]
    directory.keep_within(6)
    assert starts(older, newer) == [4, 2]
    assert directory.log_bytes() == 6 * BATCH_BYTES


def test_no_more_goes_than_must(directory: Directory) -> None:
    log = directory.log("rides", 10)
    directory.keep_within(10)
    assert starts(log) == [0]
    directory.keep_within(9)
    assert starts(log) == [2]


@pytest.mark.parametrize(
    ("topic", "config"),
    [
        (CONSUMER_OFFSETS, {}),
        ("compacted", {"cleanup_policy": ("compact",)}),
        ("both", {"cleanup_policy": ("compact", "delete")}),
        ("neither", {"cleanup_policy": ()}),
        ("for-ever", {"retention_ms": -1, "retention_bytes": -1}),
    ],
)
def test_what_nobody_allowed_to_delete_never_goes(
    directory: Directory, topic: str, config: dict[str, object]
) -> None:
    kept = directory.log(topic, 10, at=0, **config)
    other = directory.log("rides", 10)
    budget = directory.keep_within(2)
    assert starts(kept, other) == [0, 8], "all but the active segment of the other"
    assert budget.left_bytes <= 0


def test_nothing_goes_past_the_high_watermark(directory: Directory) -> None:
    log = directory.log("rides", 10)
    log.high_watermark = 5
    directory.keep_within(0)
    assert starts(log) == [4]


def test_a_log_that_is_not_open_takes_its_turn(directory: Directory) -> None:
    directory.log("older", 6, at=1000)
    directory.log("newer", 6, at=9000)
    directory.logs.close()
    directory.logs = directory.start()
    directory.keep_within(10)
    older, newer = (directory.logs.get(TopicPartition(topic, 0)) for topic in ("older", "newer"))
    assert older is not None
    assert newer is not None
    assert starts(older, newer) == [2, 0]
    assert not newer.is_open


def test_what_waits_to_be_removed_counts_and_waits_no_longer(directory: Directory) -> None:
    directory.log("deleted", 6)
    log = directory.log("rides", 6)
    directory.logs.delete(TopicPartition("deleted", 0), 0)
    assert directory.keep_within(8).left_bytes < 0
    assert directory.keep_within(8).left_bytes >= 2 * BATCH_BYTES
    assert starts(log) == [0]


def test_there_is_a_little_room_when_deletion_begins(directory: Directory) -> None:
    directory.log("rides", 38)
    directory.keep_within(38)
    limit = 40 * BATCH_BYTES
    directory.logs.keep_within(limit, 0)
    budget = directory.logs.directories[0].budget
    assert budget is not None
    assert budget.left_bytes == 2 * BATCH_BYTES


def test_more_than_is_left_is_refused_until_there_is_room() -> None:
    budget = Budget(ROOT)
    budget.measured(1000, 700)
    budget.take(200)
    with pytest.raises(ApiError, match=r"log\.dir\.max\.bytes=1000") as refused:
        budget.take(101)
    assert refused.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    budget.take(100)
    budget.measured(1000, 500)
    budget.take(101)


def test_a_full_directory_acknowledges_what_came_again_and_lets_nothing_overtake() -> None:
    log = make_log()
    log.directory.budget = budget = Budget(ROOT)
    budget.measured(BATCH_BYTES * 2, 0)

    def send(sequence: int) -> int:
        sent = batch(value=VALUE, producer_id=7, producer_epoch=0, base_sequence=sequence)
        return append(log, sent).base_offset

    assert [send(0), send(1)] == [0, 1]
    for sequence in (2, 3):  # told OUT_OF_ORDER_SEQUENCE_NUMBER, librdkafka would begin anew
        with pytest.raises(ApiError) as refused:
            send(sequence)
        assert refused.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert [send(0), send(1)] == [0, 1]
    budget.measured(BATCH_BYTES * 9, 0)
    assert [send(sequence) for sequence in (2, 3)] == [2, 3]


def test_what_coordinators_write_is_taken_by_a_full_directory() -> None:
    log = make_log()
    log.directory.budget = Budget(ROOT)
    log.directory.budget.measured(0, 0)
    sent = batch(producer_id=7, producer_epoch=0, transactional=True)
    log.append(sent, read_header(sent), 0, 0, AppendOrigin.COORDINATOR)
    assert log.log_end_offset == 1
