"""What a coordinator reads of its partition: a disk that fails takes its directory offline."""

from types import SimpleNamespace
from typing import Any

import pytest

from ottla.broker.groups import PartitionPort
from ottla.model.errors import StorageError


class Cold:
    """A read that was not in memory, and fails."""

    released = False

    def run(self) -> Any:
        raise StorageError("EIO")

    def release(self) -> None:
        self.released = True


def test_a_read_that_fails_while_loading_takes_the_directory_offline() -> None:
    cold, failures = Cold(), list[StorageError]()
    log = SimpleNamespace(
        log_end_offset=1,
        read=lambda offset, max_bytes: SimpleNamespace(cold=cold, records=b""),
        read_failed=failures.append,
    )
    partition: Any = SimpleNamespace(log=log, leader_epoch=0)
    with pytest.raises(StorageError):
        PartitionPort(partition, clock=None).read(0, 10)  # type: ignore[arg-type]
    assert len(failures) == 1
    assert cold.released
