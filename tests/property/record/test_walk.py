"""The walk over the lengths of records, against the obvious one."""

from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import ApiError, ProtocolError
from ottla.record.records import FEW, MANY, MIN_RECORD_SIZE, WORTH_A_LOOK, walk
from ottla.record.varint import append_varint, read_varint


def obvious(records: bytes, count: int) -> bool:
    """Whether exactly `count` records fill `records`."""
    position = 0
    for _ in range(count):
        try:
            length, position = read_varint(records, position)
        except (ApiError, ProtocolError, IndexError):
            return False
        if length < MIN_RECORD_SIZE:
            return False
        position += length
    return position == len(records)


def walked(records: bytes, count: int) -> bool:
    try:
        walk(memoryview(bytearray(b"before" + records)), count, 6)
    except ApiError:
        return False
    return True


lengths = st.sampled_from([6, 7, 62, 63, 64, 65, 100, 127, 128, 300, 8191, 8192])
runs = st.tuples(lengths, st.sampled_from([1, 1, 2, FEW, WORTH_A_LOOK, MANY, MANY + 1, 200]))


@given(
    st.lists(runs, max_size=12),
    st.integers(-2, 2),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=2),
    st.integers(0, 255),
)
def test_it_agrees_with_the_obvious_one(
    some: list[tuple[int, int]], off: int, damage: list[tuple[int, int]], fill: int
) -> None:
    records = bytearray()
    count = 0
    for length, times in some:
        for _ in range(times):
            append_varint(records, length)
            records += bytes([fill]) * length
        count += times
    assert walked(bytes(records), count) or not some
    for where, value in damage:
        if records:
            records[where % len(records)] = value
    count = max(1, count + off)
    assert walked(bytes(records), count) == obvious(bytes(records), count)
