"""What a path means, and that no broker is in the directory meanwhile."""

import pytest
from tests.unit.storage.parts import ROOT
from tests.unit.storage.test_verify import FOLDER, PARTITION, start, stopped_directory

from ottla.storage import offline
from ottla.storage.offline import InUseError


def test_a_log_directory_stands_for_all_its_partitions() -> None:
    disk = stopped_directory()
    assert offline.target_of(disk, ROOT) == (ROOT, {PARTITION: FOLDER}, True)


def test_a_partitions_directory_stands_for_itself() -> None:
    disk = stopped_directory()
    assert offline.target_of(disk, FOLDER) == (ROOT, {PARTITION: FOLDER}, False)


def test_anything_else_is_refused() -> None:
    disk = stopped_directory()
    disk.make_directory("/other")
    with pytest.raises(ValueError, match="no log directory"):
        offline.target_of(disk, "/other")


@pytest.mark.parametrize("path", [ROOT, FOLDER])
def test_a_directory_that_a_broker_has_is_refused(path: str) -> None:
    disk = stopped_directory()
    logs = start(disk)
    target = offline.target_of(disk, path)
    with pytest.raises(InUseError, match="in use by a broker"), offline.locked(disk, target):
        pass
    logs.close()
    with offline.locked(disk, target):
        pass
