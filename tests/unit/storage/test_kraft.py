"""The metadata log and snapshots that Apache Kafka 4.3.1 wrote (`goldens/storage`).

Topics were created, one with settings changed since, one with partitions added,
one deleted; then the node stopped.
"""

import pytest
from tests.unit.storage.test_goldens import golden_files

from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.storage.kraft import KraftError, KraftMetadata, read_metadata
from ottla.storage.memory_disk import MemoryDisk

FILES = golden_files("__cluster_metadata-0")
SNAPSHOTS = [name for name in FILES if name.endswith(".checkpoint")]


def read(files: dict[str, bytes]) -> KraftMetadata:
    disk = MemoryDisk()
    disk.make_directory("/metadata")
    for name, data in files.items():
        disk.create(f"/metadata/{name}", data)
    return read_metadata(disk, "/metadata")


def described(metadata: KraftMetadata) -> object:
    topics = {
        topic.name: (topic.topic_id, dict(sorted(topic.partitions.items())))
        for topic in metadata.topics.values()
    }
    configs = {resource: sorted(found.items()) for resource, found in metadata.configs.items()}
    return topics, configs, metadata.features, metadata.next_producer_id


def test_topics_settings_and_ids_are_those_kafka_had() -> None:
    metadata = read(FILES)
    assert {topic.name: len(topic.partitions) for topic in metadata.topics.values()} == {
        "plain": 5,
        "kept": 1,
        "rolled": 1,
        "__consumer_offsets": 50,
    }
    assert metadata.configs[2, "kept"] == {"segment.ms": "777000", "max.message.bytes": "2000000"}
    assert metadata.next_producer_id == 1000
    assert metadata.features["transaction.version"] == 2


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_a_snapshot_and_the_rest_of_the_log_say_the_same(snapshot: str) -> None:
    log = {name: data for name, data in FILES.items() if name.endswith(".log")}
    alone = described(read(log))
    assert described(read({**log, snapshot: FILES[snapshot]})) == alone


def logged(*values: bytes) -> dict[str, bytes]:
    records = [Record(value=value) for value in values]
    return {"00000000000000000000.log": build_batch(records)}


PRODUCER_IDS = bytes([1, 15, 0]) + bytes(12) + (5000).to_bytes(8, "big") + b"\0"
BEGIN, END, ABORT = bytes([1, 23, 0, 0]), bytes([1, 24, 0, 0]), bytes([1, 25, 0, 0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([PRODUCER_IDS], 5000),
        ([BEGIN, PRODUCER_IDS, END], 5000),
        ([BEGIN, PRODUCER_IDS, ABORT], 0),
        ([BEGIN, PRODUCER_IDS], 0),
    ],
)
def test_records_of_a_transaction_count_once_it_has_ended(
    values: list[bytes], expected: int
) -> None:
    assert read(logged(*values)).next_producer_id == expected


@pytest.mark.parametrize("size", range(len(PRODUCER_IDS) - 1))
def test_a_record_that_is_cut_off_is_an_error(size: int) -> None:
    with pytest.raises(KraftError):
        read(logged(PRODUCER_IDS[:size]))


def test_a_directory_without_a_log_is_an_error() -> None:
    with pytest.raises(KraftError):
        read({})
