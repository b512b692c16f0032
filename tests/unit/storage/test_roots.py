import pytest
from tests.unit.storage.parts import CountingRandomness

from ottla.storage.directory import LogDirectory
from ottla.storage.handles import Handles
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.roots import BOOT_ID, LogsError, Roots


def hold(disk: MemoryDisk, *paths: str) -> Roots:
    handles = Handles(disk, 10)
    directories = [LogDirectory(path, disk, handles) for path in paths or ("/data",)]
    roots = Roots(disk, directories, CountingRandomness())
    roots.hold()
    return roots


def test_a_directory_is_used_by_one_broker() -> None:
    disk = MemoryDisk()
    first = hold(disk)
    with pytest.raises(LogsError, match="in use by another process"):
        hold(disk)
    first.release()
    hold(disk)


def test_directories_of_another_cluster_or_node_are_refused() -> None:
    disk = MemoryDisk()
    roots = hold(disk)
    roots.identify("one", 1)
    roots.release()
    roots = hold(disk)
    assert (roots.cluster_id, roots.node_id) == ("one", 1)
    for cluster_id, node_id in (("two", 1), ("one", 2)):
        with pytest.raises(LogsError):
            roots.identify(cluster_id, node_id)


def test_directories_that_do_not_belong_together_are_refused() -> None:
    disk = MemoryDisk()
    for path, cluster_id in (("/a", "one"), ("/b", "two")):
        roots = hold(disk, path)
        roots.identify(cluster_id, 1)
        roots.release()
    with pytest.raises(LogsError, match=r"cluster\.id"):
        hold(disk, "/a", "/b")


def test_partitions_without_metadata_are_refused_once_a_broker_of_ours_was_there() -> None:
    disk = MemoryDisk()
    roots = hold(disk)
    disk.make_directories("/data/rides-0")
    roots.refuse_without_metadata()
    disk.write(f"/data/{BOOT_ID}", b"boot", sync=False)
    with pytest.raises(LogsError, match="no metadata about them"):
        roots.refuse_without_metadata()
