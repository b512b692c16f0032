"""Kafka's own tester of compaction against the broker; Kafka's tools on what compaction left."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.conftest import AGAINST, SETTINGS, under_test
from tests.interop.test_dump_log_segments import ALL, append, complaints, dump
from tests.unit.storage.compaction.parts import compact
from tests.unit.storage.parts import CountingRandomness
from tools.kafka import Tools, alone
from tools.subject import Subject

from ottla.model.ids import TopicPartition
from ottla.record.batch import read_header
from ottla.record.control import build_end_txn_marker
from ottla.storage.disk import RealDisk
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.producer_state import AppendOrigin

pytestmark = pytest.mark.java

#: Segments of a mebibyte are Kafka's smallest. It waits ten seconds at least before it looks.
COMPACTING = {
    "log.segment.bytes": str(1 << 20),
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.min.cleanable.ratio": "0.01",
}


@pytest.fixture
def compacting(tmp_path: Path) -> Iterator[Subject]:
    subject = under_test(tmp_path, SETTINGS | COMPACTING)
    subject.start()
    yield subject
    subject.kill9()


def test_kafkas_compaction_tester(compacting: Subject) -> None:
    said = alone(
        "org.apache.kafka.tools.LogCompactionTester",
        *("--bootstrap-server", compacting.bootstrap),
        *("--messages", "250000", "--duplicates", "10", "--percent-deletes", "20"),
        *("--topics", "1", "--sleep", "3" if AGAINST == "ottla" else "15"),
        seconds=110,
    )
    assert "0 mismatches" in said
    assert "Data verification is completed" in said
    (reduction,) = re.findall(r"\(([\d.]+)% reduction\)", said)
    assert float(reduction) > 40, said


def compacted(folder: Path) -> Path:
    """Write a log of every codec, two producers and aborted transactions; compact it twice."""
    config = LogConfig(
        segment_bytes=30_000,
        index_interval_bytes=400,
        cleanup_policy=frozenset({"compact"}),
        retention_ms=-1,
    )
    logs = Logs(RealDisk(), [str(folder)], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: config, 0)
    log = logs.create(TopicPartition("dumped", 0), b"t" * 16, config, 0)
    for at in range(600):
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
        log.high_watermark = log.log_end_offset
        if at in (350, 500):
            log.flush()
            assert compact(log, at) is not None
    logs.close()
    return folder / "dumped-0"


def test_kafka_reads_what_compaction_left(kafka_tool: Tools, tmp_path: Path) -> None:
    folder = compacted(tmp_path)
    text = dump(kafka_tool, folder, *ALL)
    # That offsets are missing is what compaction is for.
    wrong = [line for line in complaints(text) if "non-consecutive" not in line.lower()]
    assert wrong == []
    offsets = [int(found) for found in re.findall(r"^\| offset: (\d+)", text, re.M)]
    assert len(offsets) < 1_300
    assert "deleteHorizonMs" in text
    assert text.count("isvalid: true") > 300
