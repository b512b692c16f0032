import errno
import os

import pytest

from ottla.storage.disk import File
from ottla.storage.handles import Handle, Handles
from ottla.storage.memory_disk import MemoryDisk


def some_handles(limit: int, count: int) -> tuple[MemoryDisk, Handles, list[Handle]]:
    disk = MemoryDisk()
    handles = Handles(disk, limit)
    return disk, handles, [Handle(f"/{n}", handles) for n in range(count)]


def test_no_more_than_the_limit_are_open() -> None:
    disk, handles, some = some_handles(4, 20)
    for handle in some:
        handle.get(create=True)
        assert len(handles) <= 4
        assert disk.open_files == len(handles)


def test_a_leased_handle_stays_open_whatever_happens() -> None:
    _, handles, some = some_handles(2, 10)
    some[0].get(create=True)
    file = some[0].lease()
    for handle in some[1:]:
        handle.get(create=True)
    handles.close_idle()
    handles.close_idle()
    some[0].discard()
    handles.close_all()
    assert some[0].file is file
    file.pwrite(b"still open", 0)
    some[0].release()
    assert some[0].file is None


def test_when_all_are_leased_the_limit_gives_way() -> None:
    _, handles, some = some_handles(2, 5)
    for handle in some:
        handle.get(create=True)
        handle.lease()
    assert len(handles) == 5


def test_idle_handles_are_closed_and_used_ones_spared() -> None:
    _, handles, some = some_handles(10, 4)
    for handle in some:
        handle.get(create=True)
    assert handles.close_idle() == 0
    some[1].get()
    assert handles.close_idle() == 3
    assert [handle.file is not None for handle in some] == [False, True, False, False]


def test_the_least_recently_used_goes_first() -> None:
    _, _, some = some_handles(2, 3)
    some[0].get(create=True)
    some[1].get(create=True)
    some[0].used = True
    some[1].used = False
    some[2].get(create=True)
    assert [handle.file is not None for handle in some] == [True, False, True]


def test_a_missing_file_is_not_made_by_opening_it() -> None:
    _, _, some = some_handles(2, 1)
    with pytest.raises(FileNotFoundError):
        some[0].get()


class Short(MemoryDisk):
    def open(self, path: str, /, *, create: bool = False, scattered: bool = False) -> File:
        if self.open_files >= 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return super().open(path, create=create, scattered=scattered)


def test_running_out_of_descriptors_closes_others() -> None:
    handles = Handles(Short(), 100)
    for n in range(10):
        Handle(f"/{n}", handles).get(create=True)
    assert len(handles) <= 3
