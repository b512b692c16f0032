"""Retention whose renames fail for lack of room: what is behind must not be lost with a crash."""

import errno
import os

import pytest
from tests.unit.storage.parts import PARTITION, append, batch, values
from tests.unit.storage.test_recovery import CONFIG, FOLDER, only, start

from ottla.model.errors import ApiError
from ottla.testing.power import PowerDisk
from ottla.testing.randomness import SeededRandomness

KEEPS = CONFIG._replace(retention_bytes=2_500)


class CrowdedDisk(PowerDisk):
    full = False

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.full and operation == "rename":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return super().fault(operation, path, size)


@pytest.mark.xfail(strict=True, reason="the log forgets segments before their files are renamed")
@pytest.mark.parametrize("power", [True, False])
def test_a_segment_that_could_not_be_deleted_makes_no_hole(power: bool) -> None:
    disk = CrowdedDisk(SeededRandomness(1))
    logs = start(disk, KEEPS)
    log = logs.create(PARTITION, b"t" * 16, KEEPS, 0)
    for round_of in range(2):
        for at in range(48):
            append(log, batch(2, value=b"%d-%d" % (round_of, at)))
        log.flush()
        log.high_watermark = log.log_end_offset
        if round_of == 0:
            disk.full = True
            with pytest.raises(ApiError):
                log.apply_retention(10**6)
            disk.full = False
    log.apply_retention(10**6)
    start_offset, held = log.log_start_offset, values(log)
    for name in disk.list(FOLDER):
        if name.endswith(".deleted"):
            disk.remove(f"{FOLDER}/{name}")
    disk.sync_directory(FOLDER)
    if power:
        disk.power_cut()
    else:
        disk.process_death()
    found = only(start(disk, KEEPS))
    assert (found.log_start_offset, values(found)) == (start_offset, held)
