"""Files that Apache Kafka 4.3.1 wrote, against ours after the same appends.

`tests/goldens/storage/small-0` rolled by size (`internal.segment.bytes=6000`,
`index.interval.bytes=500`), `timed-0` by time (`segment.ms=10000`,
`index.interval.bytes=300`). An idempotent producer wrote single batches with
timestamps that also go back; then the broker stopped cleanly.
"""

from pathlib import Path

import pytest
from tests.unit.storage.parts import PARTITION, ROOT, CountingRandomness, make_log

from ottla.record.batch import read_header, stamp
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk

GOLDENS = Path(__file__).parents[2] / "goldens" / "storage"

CONFIGS = {
    "small-0": LogConfig(segment_bytes=6000, index_interval_bytes=500, retention_ms=-1),
    "timed-0": LogConfig(segment_ms=10_000, index_interval_bytes=300, retention_ms=-1),
}


def golden_files(name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((GOLDENS / name).iterdir())}


def produced(files: dict[str, bytes]) -> list[bytearray]:
    """Return the batches as the producer sent them, before offsets and epochs were stamped."""
    found = []
    for name, data in files.items():
        if name.endswith(".log"):
            position = 0
            while position < len(data):
                end = read_header(data, position).end_position
                batch = bytearray(data[position:end])
                stamp(batch, 0, 0, -1)
                found.append(batch)
                position = end
    return found


def replay(name: str, files: dict[str, bytes]) -> tuple[MemoryDisk, Log]:
    disk = MemoryDisk()
    log = make_log(disk, CONFIGS[name])
    for batch in produced(files):
        log.append(batch, read_header(batch), 0, 0)
    return disk, log


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_same_appends_make_the_same_files(name: str) -> None:
    files = golden_files(name)
    disk, log = replay(name, files)
    log.close()
    directory = f"{ROOT}/t-0"
    ours = {entry: disk.read(f"{directory}/{entry}") for entry in disk.list(directory)}
    del files["partition.metadata"]
    assert sorted(ours) == sorted(files)
    for entry, expected in files.items():
        assert ours[entry] == expected, entry


@pytest.mark.parametrize("name", sorted(CONFIGS))
@pytest.mark.parametrize("lost", [".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint"])
def test_recovery_makes_lost_files_as_kafka_wrote_them(name: str, lost: str) -> None:
    files = golden_files(name)
    disk = MemoryDisk()
    directory = f"{ROOT}/t-0"
    disk.make_directories(directory)
    for entry, data in files.items():
        if not entry.endswith(lost):
            disk.create(f"{directory}/{entry}", data)
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: CONFIGS[name], 0)
    log = logs.get(PARTITION)
    assert log is not None
    assert log.log_end_offset == 124
    [producer] = log.producers
    assert producer.last_sequence == 123
    logs.close()
    for entry, expected in files.items():
        assert disk.read(f"{directory}/{entry}") == expected, entry
