"""Kafka's DumpLogSegments reads what we wrote, and complains when a byte is flipped."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.storage.parts import CountingRandomness
from tools.kafka import Tools

from ottla.model.ids import TopicPartition
from ottla.model.isolation import CompressionType
from ottla.record.batch import read_header
from ottla.record.builder import build_batch
from ottla.record.control import build_end_txn_marker
from ottla.record.records import Record
from ottla.storage.disk import RealDisk
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.producer_state import AppendOrigin

pytestmark = pytest.mark.java

TOOL = "org.apache.kafka.tools.DumpLogSegments"
CONFIG = LogConfig(segment_bytes=30_000, index_interval_bytes=400)
RECORDS_PER_BATCH = 3


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    with Tools() as tools:
        yield tools


def written(folder: Path) -> Path:
    """Write a log with every compression, two producers, epochs and an aborted transaction."""
    logs = Logs(RealDisk(), [str(folder)], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: CONFIG, 0)
    log = logs.create(TopicPartition("dumped", 0), b"t" * 16, CONFIG, 0)
    for at in range(300):
        append(log, at)
        if at % 50 == 49:
            marker = build_end_txn_marker(
                committed=at % 100 == 99,
                coordinator_epoch=3,
                timestamp=2_000_000 + at,
                producer_id=2,
                producer_epoch=0,
            )
            log.append(
                bytearray(marker), read_header(marker), at // 100, 0, AppendOrigin.COORDINATOR
            )
    assert len(log.segments) > 2
    logs.close()
    return folder / "dumped-0"


def append(log: Log, at: int) -> None:
    producer_id = 1 + at % 2
    timestamp = 1_000_000 + 10 * at - (at % 7) * 15
    records = [
        Record(timestamp=timestamp + n, key=b"k%d" % at, value=bytes([at % 256]) * (at % 300))
        for n in range(RECORDS_PER_BATCH)
    ]
    batch = build_batch(
        records,
        compression=CompressionType(at % 5),
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=at // 2 * RECORDS_PER_BATCH,
        transactional=producer_id == 2,
    )
    log.append(bytearray(batch), read_header(batch), at // 100, 0)


def dump(tools: Tools, folder: Path, *suffixes: str) -> str:
    files = sorted(
        str(path) for path in folder.iterdir() if path.name.endswith(suffixes or (".log",))
    )
    assert files
    return tools.check(TOOL, "--deep-iteration", "--files", ",".join(files))


def complaints(text: str) -> list[str]:
    wrong = re.compile(
        "non-consecutive|mismatch|isvalid: false|corrupt|error|exception|found", re.I
    )
    return [line for line in text.splitlines() if wrong.search(line)]


ALL = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")


def test_kafka_reads_our_files_without_complaint(tools: Tools, tmp_path: Path) -> None:
    folder = written(tmp_path)
    text = dump(tools, folder, *ALL)
    assert complaints(text) == []
    assert text.count("isvalid: true") == 306
    offsets = [int(found) for found in re.findall(r"^\| offset: (\d+)", text, re.M)]
    assert sorted(offsets) == list(range(300 * RECORDS_PER_BATCH + 6))
    assert "producerId: 1" in text
    for suffix in ALL:
        assert f"{suffix}\n" in text.replace("\r", ""), suffix


def test_a_flipped_byte_is_complained_about(tools: Tools, tmp_path: Path) -> None:
    folder = written(tmp_path)
    for suffix, position in ((".index", 15), (".timeindex", 30), (".log", 5000)):
        path = next(iter(sorted(folder.glob(f"*{suffix}"))))
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)
        result = tools.run(TOOL, "--deep-iteration", "--files", str(path))
        assert complaints(result.stdout + result.stderr), suffix
        data[position] ^= 1
        path.write_bytes(data)
