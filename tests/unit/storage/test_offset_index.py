from hypothesis import given
from hypothesis import strategies as st

from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.offset_index import WRITE_ENTRIES, OffsetIndex

BASE = 1000
PATH = "/i"

ROWS = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5000)), max_size=200).map(
    lambda steps: [
        (BASE + sum(o for o, _ in steps[: n + 1]), sum(p for _, p in steps[: n + 1]))
        for n in range(len(steps))
    ]
)


def filled(rows: list[tuple[int, int]], disk: MemoryDisk | None = None) -> OffsetIndex:
    index = OffsetIndex(disk or MemoryDisk(), PATH, BASE)
    for offset, position in rows:
        index.append(offset, position)
    return index


def loaded(disk: MemoryDisk) -> OffsetIndex:
    index = OffsetIndex(disk, PATH, BASE)
    assert index.load()
    return index


@given(ROWS, st.integers(BASE - 1, BASE + 11_000), st.booleans(), st.booleans())
def test_lookups_agree_with_the_rows(
    rows: list[tuple[int, int]], offset: int, forget: bool, reload: bool
) -> None:
    disk = MemoryDisk()
    index = filled(rows, disk)
    if reload:
        index.write_out()
        index = loaded(disk)
    if forget:
        index.forget()
    at_or_below = [position for row, position in rows if row <= offset]
    assert index.lookup(offset) == (at_or_below[-1] if at_or_below else 0)
    assert index.rows() == rows
    assert index.entries == len(rows)
    assert index.last() == (rows[-1] if rows else (BASE, 0))


@given(ROWS, st.integers(0, 1_000_000))
def test_a_whole_batch_ends_before_the_position(rows: list[tuple[int, int]], position: int) -> None:
    before = [at for _, at in rows if at <= position]
    expected = before[-2] if len(before) > 1 else 0
    index = filled(rows)
    assert index.whole_before(position) == expected
    index.forget()
    assert index.whole_before(position) == expected


@given(ROWS, st.integers(BASE, BASE + 11_000), st.booleans(), st.booleans())
def test_truncation_drops_entries_in_the_file_too(
    rows: list[tuple[int, int]], offset: int, forget: bool, more: bool
) -> None:
    disk = MemoryDisk()
    index = filled(rows, disk)
    if forget:
        index.forget()
    index.truncate_to(offset)
    kept = [row for row in rows if row[0] < offset]
    assert index.rows() == kept
    if more:
        kept = [*kept, (offset, 10_000_000)]
        index.append(*kept[-1])
    index.write_out()
    assert loaded(disk).rows() == kept


@given(ROWS, st.integers(0, 1_000_000))
def test_truncation_by_position(rows: list[tuple[int, int]], position: int) -> None:
    index = filled(rows)
    index.truncate_to_position(position)
    assert index.rows() == [row for row in rows if row[1] < position]


def test_entries_are_written_some_at_a_time() -> None:
    disk = MemoryDisk()
    index = OffsetIndex(disk, PATH, BASE)
    for n in range(WRITE_ENTRIES - 1):
        index.append(BASE + n, n)
    assert not disk.exists(PATH)
    index.append(BASE + 100, 100)
    assert disk.size(PATH) == 8 * WRITE_ENTRIES
    assert index.forget() == 8 * WRITE_ENTRIES


def test_what_is_expected_is_read_when_needed() -> None:
    disk = MemoryDisk()
    filled([(BASE + 5, 50), (BASE + 9, 90)], disk).write_out()
    index = OffsetIndex(disk, PATH, BASE)
    index.expect(2)
    assert index.entries == 2
    index.append(BASE + 20, 200)
    assert [index.lookup(BASE + n) for n in (4, 5, 9, 25)] == [0, 50, 90, 200]


def test_a_file_that_got_shorter_still_leads_somewhere_before() -> None:
    disk = MemoryDisk()
    filled([(BASE + 5, 50), (BASE + 9, 90)], disk).write_out()
    index = OffsetIndex(disk, PATH, BASE)
    index.expect(2)
    del disk.files[PATH].data[8:]
    assert index.lookup(BASE + 9) == 50


def test_what_cannot_be_an_index_is_said_to_be_none() -> None:
    disk = MemoryDisk()
    assert not OffsetIndex(disk, PATH, BASE).load()
    for data in (bytes(7), bytes(8), (5).to_bytes(4, "big") + bytes(12), b"\xff" * 8):
        disk.write(PATH, data, sync=False)
        assert not OffsetIndex(disk, PATH, BASE).load()
    disk.write(PATH, b"", sync=False)
    assert OffsetIndex(disk, PATH, BASE).load()


def test_an_index_that_does_not_rise_or_leaves_its_segment_does_not_fit() -> None:
    def fits(*rows: tuple[int, int], size: int) -> bool:
        index = OffsetIndex(MemoryDisk(), "/i", 0)
        for offset, position in rows:
            index.append(offset, position)
        return index.fits(size)

    assert fits(size=0)
    assert fits((3, 100), (5, 200), (9, 300), size=400)
    assert not fits((3, 100), (5, 200), (9, 300), size=300)
    assert not fits((3, 100), (2, 200), (9, 300), size=400)
    assert not fits((3, 100), (5, 90), (9, 300), size=400)
