import errno
import os

from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.transaction_index import AbortedTransaction, TransactionIndex

PATH = "/x"
THREE = [
    AbortedTransaction(1, 0, 10, 4),
    AbortedTransaction(2, 4, 20, 21),
    AbortedTransaction(1, 25, 30, 31),
]


def filled(disk: MemoryDisk) -> TransactionIndex:
    index = TransactionIndex(disk, PATH)
    for aborted in THREE:
        index.append(aborted)
    return index


def test_entries_come_back() -> None:
    disk = MemoryDisk()
    assert filled(disk).rows() == THREE
    again = TransactionIndex(disk, PATH)
    assert again.load()
    assert again.rows() == THREE
    assert disk.size(PATH) == 3 * 34


def test_a_reader_is_told_what_to_skip() -> None:
    index = filled(MemoryDisk())
    assert index.collect(0, 5) == (THREE[:2], True)
    assert index.collect(0, 4) == (THREE[:1], True)
    assert index.collect(11, 40) == (THREE[1:], False)
    assert index.collect(21, 24) == ([], True)
    assert index.collect(31, 40) == ([], False)


def test_truncation_goes_by_the_marker() -> None:
    disk = MemoryDisk()
    index = filled(disk)
    index.truncate_to(20)
    assert index.rows() == THREE[:1]
    index.truncate_to(0)
    assert not disk.exists(PATH)
    index.append(THREE[2])
    assert index.rows() == THREE[2:]


def test_a_file_that_cannot_be_one_is_said_to_be_none() -> None:
    disk = MemoryDisk()
    filled(disk)
    good = bytes(disk.files[PATH].data)
    for data in (good[:-1], b"\0\1" + good[2:], good[34:] + good[:34]):
        disk.write(PATH, data, sync=False)
        assert not TransactionIndex(disk, PATH).load()


class Full(MemoryDisk):
    full = True

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if self.full and operation == "pwrite":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return None


def test_without_room_entries_wait_for_the_next() -> None:
    disk = Full()
    index = TransactionIndex(disk, PATH)
    index.append(THREE[0])
    index.append(THREE[1])
    assert index.rows() == THREE[:2]
    disk.full = False
    index.append(THREE[2])
    again = TransactionIndex(disk, PATH)
    assert again.load()
    assert again.rows() == THREE
