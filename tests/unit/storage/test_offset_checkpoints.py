"""One offset a partition, and for which topic it was written."""

import pytest
from tests.unit.storage.parts import PARTITION, ROOT, append, batch, make_log

from ottla.storage import checkpoints, offset_checkpoints
from ottla.storage.log import Log
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.recovery import Stop

OTHER = bytes(15) + b"\x02"


@pytest.fixture
def log() -> Log:
    log = make_log(MemoryDisk())
    log.high_watermark = 7
    offset_checkpoints.job(log.directory, [log]).run()
    return log


@pytest.mark.parametrize("stop", [Stop.PROCESS, Stop.MACHINE])
def test_it_counts_for_the_topic_it_was_written_for(log: Log, stop: Stop) -> None:
    found = offset_checkpoints.read(log.directory, checkpoints.HIGH_WATERMARK, stop)
    assert found.of(PARTITION, log.topic_id) == 7
    assert found.of(PARTITION, OTHER) is None
    assert found.of(PARTITION, None) is None


def test_after_a_clean_stop_the_name_does(log: Log) -> None:
    """Kafka may have run meanwhile, which writes no ids."""
    found = offset_checkpoints.read(log.directory, checkpoints.HIGH_WATERMARK, Stop.CLEAN)
    assert found.of(PARTITION, OTHER) == 7


def test_without_ids_the_name_does(log: Log) -> None:
    log.directory.disk.remove(f"{ROOT}/{checkpoints.IDS_OF}{checkpoints.HIGH_WATERMARK}")
    found = offset_checkpoints.read(log.directory, checkpoints.HIGH_WATERMARK, Stop.PROCESS)
    assert found.of(PARTITION, OTHER) == 7


@pytest.mark.parametrize("name", ["", checkpoints.IDS_OF])
def test_what_is_garbled_says_nothing(log: Log, name: str) -> None:
    path = f"{ROOT}/{name}{checkpoints.HIGH_WATERMARK}"
    log.directory.disk.write(path, b"\xff", sync=False)
    found = offset_checkpoints.read(log.directory, checkpoints.HIGH_WATERMARK, Stop.PROCESS)
    assert found.of(PARTITION, log.topic_id) is None


def test_a_checkpoint_that_kafka_has_yet_to_write_says_nothing(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """It makes the file when it starts."""
    log.directory.disk.write(f"{ROOT}/{checkpoints.CLEANER}", b"", sync=False)
    found = offset_checkpoints.read(log.directory, checkpoints.CLEANER, Stop.CLEAN)
    assert found.offsets == {}
    assert not caplog.records


def test_an_emptied_checkpoint_of_ours_is_told_of(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    log.directory.disk.write(f"{ROOT}/{checkpoints.HIGH_WATERMARK}", b"", sync=False)
    found = offset_checkpoints.read(log.directory, checkpoints.HIGH_WATERMARK, Stop.PROCESS)
    assert found.offsets == {}
    assert "is not used" in caplog.text


def test_a_start_is_written_where_no_segment_tells_it(log: Log) -> None:
    start = checkpoints.LOG_START
    assert offset_checkpoints.read(log.directory, start, Stop.CLEAN).offsets == {}
    for _ in range(3):
        append(log, batch())
    log.high_watermark = 3
    log.advance_log_start(2)
    offset_checkpoints.job(log.directory, [log], [start]).run()
    assert offset_checkpoints.read(log.directory, start, Stop.CLEAN).offsets == {PARTITION: 2}
