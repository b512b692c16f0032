import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.storage.parts import batch, whole

from ottla.record.batch import stamp
from ottla.storage import scan
from ottla.storage.scan import NotABatch, NotCached

SHAPES = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 300) | st.just(9000)), min_size=1, max_size=12
)


def laid_out(shapes: list[tuple[int, int]]) -> tuple[bytes, list[scan.Found]]:
    """Lay batches back to back; say where each is."""
    data = bytearray()
    found = []
    offset = 0
    for count, size in shapes:
        one = batch(count, value=bytes(size))
        stamp(one, 0, offset, 0)
        found.append(scan.Found(len(data), len(one), offset, offset + count - 1))
        data += one
        offset += count
    return bytes(data), found


def reader(data: bytes) -> scan.Read:
    return lambda size, position: data[position : position + size]


@given(SHAPES)
def test_every_batch_is_met(shapes: list[tuple[int, int]]) -> None:
    data, found = laid_out(shapes)
    assert list(scan.places(reader(data), 0, len(data))) == found
    headers = list(scan.headers(reader(data), 0, len(data)))
    assert [(h.position, h.size, h.base_offset, h.last_offset) for h in headers] == found


@given(SHAPES, st.integers(1, 200))
def test_what_is_cut_off_is_no_batch(shapes: list[tuple[int, int]], cut: int) -> None:
    data, found = laid_out(shapes)
    short = data[: max(len(data) - cut, found[-1].position + 1)]
    if short == data:
        return
    for walk in (scan.places, scan.headers):
        with pytest.raises(NotABatch):
            list(walk(reader(short), 0, len(short)))


def test_pages_that_are_not_there_are_asked_for_elsewhere() -> None:
    for walk in (scan.places, scan.headers):
        with pytest.raises(NotCached):
            list(walk(lambda size, position: None, 0, 100))


@given(SHAPES, st.data())
def test_a_chunk_is_what_the_list_of_batches_says(
    shapes: list[tuple[int, int]], data: st.DataObject
) -> None:
    log, found = laid_out(shapes)
    end = found[-1].last_offset + 1
    offset = data.draw(st.integers(0, end), label="offset")
    below = data.draw(st.none() | st.integers(0, end + 1), label="below")
    max_bytes = data.draw(st.integers(0, len(log) + 10), label="max_bytes")
    min_one = data.draw(st.booleans(), label="min_one")
    hint = data.draw(
        st.sampled_from([f.position for f in found if f.base_offset <= offset] or [0]),
        label="hint",
    )
    boundary = data.draw(st.sampled_from([0, *(f.position for f in found)]), label="boundary")
    chunk = scan.read_chunk(
        reader(log), hint, len(log), offset, below, max_bytes, min_one, boundary
    )
    wanted = [f for f in found if f.last_offset >= offset]
    if not wanted:
        assert chunk is None
        return
    assert chunk is not None
    taken: list[scan.Found] = []
    for one in wanted:
        fits = sum(f.size for f in taken) + one.size <= max_bytes or (min_one and not taken)
        if not fits or (below is not None and one.last_offset >= below):
            break
        taken.append(one)
    assert [h.base_offset for h in whole(chunk.records)] == [f.base_offset for f in taken]
    if taken:
        assert chunk.next_offset == taken[-1].last_offset + 1
        assert chunk.end_position == taken[-1].position + taken[-1].size
    else:
        assert chunk.next_offset == offset
