from tests.unit.storage.parts import ROOT, CountingRandomness
from tests.unit.storage.test_goldens import golden_files

from ottla.model.ids import uuid_from_text
from ottla.storage.adoption import KEEP_EVERYTHING, Adoption, survey
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk

META = b"node.id=1\nversion=1\ncluster.id=abc\ndirectory.id=F-sAWYVATcqAjf_2qPt7BQ\n"


def surveyed(directories: dict[str, dict[str, bytes]]) -> Adoption | None:
    disk = MemoryDisk()
    disk.make_directories(ROOT)
    disk.create(f"{ROOT}/meta.properties", META)
    for name, files in directories.items():
        disk.make_directory(f"{ROOT}/{name}")
        for file, data in files.items():
            disk.create(f"{ROOT}/{name}/{file}", data)
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    return survey(logs)


def test_there_is_nothing_to_adopt_in_an_empty_directory() -> None:
    assert surveyed({}) is None


def test_without_a_metadata_log_nothing_is_deleted_by_itself() -> None:
    adoption = surveyed({"small-0": golden_files("small-0")})
    assert adoption is not None
    assert (adoption.cluster_id, adoption.node_id) == ("abc", 1)
    topic = adoption.topics["small"]
    assert topic.topic_id == uuid_from_text("WEK1ovozTxaL1AV7WvZuEg")
    assert topic.configs == KEEP_EVERYTHING
    assert topic.leader_epochs == {0: 0}
    assert not adoption.from_metadata_log
    assert "retention" in adoption.problems[0]


def test_the_next_producer_id_is_above_those_in_snapshots() -> None:
    adoption = surveyed({"timed-0": golden_files("timed-0")})
    assert adoption is not None
    assert adoption.next_producer_id == 2


def test_partitions_missing_here_are_a_problem() -> None:
    metadata = golden_files("__cluster_metadata-0")
    adoption = surveyed({"__cluster_metadata-0": metadata, "small-0": golden_files("small-0")})
    assert adoption is not None
    assert adoption.topics["plain"].present == frozenset()
    assert "plain: 5 of 5 partitions are not here" in adoption.problems
    assert any("small-0 is of no topic" in problem for problem in adoption.problems)
    assert adoption.next_producer_id == 1000


def test_a_metadata_log_that_cannot_be_read_is_done_without() -> None:
    adoption = surveyed({"__cluster_metadata-0": {}, "small-0": golden_files("small-0")})
    assert adoption is not None
    assert not adoption.from_metadata_log
    assert "cannot be understood" in adoption.problems[0]
    assert set(adoption.topics) == {"small"}
