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
    room_for: int | None = None
    """How many renames succeed yet; None for all."""

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.room_for is not None and operation == "rename":
            if self.room_for == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            self.room_for -= 1
        return super().fault(operation, path, size)


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
            disk.room_for = 0
            with pytest.raises(ApiError):
                log.apply_retention(10**6)
            disk.room_for = None
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


@pytest.mark.parametrize("fails_at", range(9))
def test_what_the_disk_refuses_to_rename_goes_the_next_time(fails_at: int) -> None:
    """Three segments of a log and its two indexes; what was refused is there, the rest is gone."""
    disk = CrowdedDisk(SeededRandomness(1))
    logs = start(disk, CONFIG)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)
    for at in range(48):
        append(log, batch(2, value=b"%d" % at))
    log.flush()
    log.high_watermark = log.log_end_offset
    bases = [segment.base_offset for segment in log.segments]
    log.advance_log_start(bases[3])
    disk.room_for = fails_at
    gone = -(-fails_at // 3)
    if gone == 0:
        with pytest.raises(ApiError):
            log.apply_retention(0)
    else:
        assert [segment.base_offset for segment in log.apply_retention(0)] == bases[:gone]
    assert [segment.base_offset for segment in log.segments] == bases[gone:]
    disk.room_for = None
    assert [segment.base_offset for segment in log.apply_retention(0)] == bases[gone:3]
    assert log.log_start_offset == bases[3]
