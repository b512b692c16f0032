"""Checkpoints are written one at a time, and older ones never over newer ones."""

import threading

from tests.unit.storage.parts import PARTITION, ROOT, CountingRandomness, append, batch

from ottla.storage import checkpoints
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.newest import Newest

PATH = f"{ROOT}/{checkpoints.RECOVERY_POINT}"


def test_a_job_made_before_a_truncation_does_not_raise_the_recovery_point_again() -> None:
    disk = MemoryDisk()
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.load(lambda partition, topic_id: LogConfig(), 0)
    log = logs.create(PARTITION, b"t" * 16, LogConfig(), 0)
    for _ in range(4):
        append(log, batch(2))
    log.flush()
    [job] = logs.checkpoint_jobs()
    log.truncate_to(2, 0)
    job.run()
    assert checkpoints.parse_offsets(disk.read(PATH))[PARTITION] == log.recovery_point < 8


def test_two_writers_do_not_share_a_temporary_file() -> None:
    """The one that comes while the other writes waits until it has ended."""
    newest = Newest()
    inside = threading.Semaphore(0)
    go_on = threading.Semaphore(0)
    under_way: list[str] = []
    overlaps: list[str] = []

    class SlowDisk(MemoryDisk):
        def write(self, path: str, data: bytes, /, *, sync: bool) -> None:
            overlaps.extend(under_way)
            under_way.append(path)
            inside.release()
            go_on.acquire()
            super().write(path, data, sync=sync)
            under_way.remove(path)

    disk = SlowDisk()
    disk.make_directory(ROOT)
    numbers = [newest.number(), newest.number()]
    writers = [
        threading.Thread(target=newest.write, args=(disk, [(PATH, b"%d" % n)], n)) for n in numbers
    ]
    for writer in writers:
        writer.start()
    inside.acquire()
    go_on.release()
    go_on.release()
    for writer in writers:
        writer.join()
    assert overlaps == []
    assert disk.read(PATH) == b"2"
