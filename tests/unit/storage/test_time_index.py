from hypothesis import given
from hypothesis import strategies as st

from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.time_index import TimeIndex

BASE = 500
PATH = "/t"
OFFERS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=60)


def offered(offers: list[tuple[int, int]], index: TimeIndex) -> list[tuple[int, int]]:
    """Offer timestamps at rising offsets; return the rows that are expected."""
    rows: list[tuple[int, int]] = []
    offset = BASE
    for timestamp, step in offers:
        offset += step
        index.maybe_append(timestamp, offset)
        if timestamp > max((row[0] for row in rows), default=-1):
            rows.append((timestamp, offset))
    return rows


@given(OFFERS, st.integers(-1, 70), st.booleans())
def test_only_larger_timestamps_are_kept_and_found(
    offers: list[tuple[int, int]], timestamp: int, reload: bool
) -> None:
    disk = MemoryDisk()
    index = TimeIndex(disk, PATH, BASE)
    rows = offered(offers, index)
    if reload:
        index.write_out()
        index = TimeIndex(disk, PATH, BASE)
        assert index.load()
    assert index.rows() == rows
    assert index.entries == len(rows)
    assert (index.last_timestamp, index.last_offset) == (rows[-1] if rows else (-1, BASE))
    below = [offset for at, offset in rows if at <= timestamp]
    assert index.lookup(timestamp) == (below[-1] if below else BASE)


@given(OFFERS, st.integers(BASE, BASE + 100), st.booleans())
def test_truncation_drops_entries_in_the_file_too(
    offers: list[tuple[int, int]], offset: int, written: bool
) -> None:
    disk = MemoryDisk()
    index = TimeIndex(disk, PATH, BASE)
    rows = offered(offers, index)
    if written:
        index.write_out()
    index.truncate_to(offset)
    kept = [row for row in rows if row[1] < offset]
    assert index.rows() == kept
    index.write_out()
    again = TimeIndex(disk, PATH, BASE)
    assert again.load()
    assert again.rows() == kept


def test_what_cannot_be_an_index_is_said_to_be_none() -> None:
    disk = MemoryDisk()
    assert not TimeIndex(disk, PATH, BASE).load()
    for data in (bytes(11), b"\xff" * 12, bytes(8) + b"\xff" * 4):
        disk.write(PATH, data, sync=False)
        assert not TimeIndex(disk, PATH, BASE).load()


def test_unused_space_behind_the_entries_makes_it_none() -> None:
    disk = MemoryDisk()
    index = TimeIndex(disk, PATH, BASE)
    index.maybe_append(77, BASE + 1)
    index.write_out()
    disk.files[PATH].data.extend(bytes(24))
    assert not TimeIndex(disk, PATH, BASE).load()
