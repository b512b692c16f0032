import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.storage.test_goldens import golden_files

from ottla.storage.checkpoints import CheckpointError
from ottla.storage.producer_snapshot import SnapshotEntry, decode_snapshot, encode_snapshot

INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
ENTRIES = st.lists(st.builds(SnapshotEntry, INT64, INT16, INT32, INT64, INT32, INT64, INT32, INT64))


@given(ENTRIES)
def test_entries_come_back(entries: list[SnapshotEntry]) -> None:
    assert decode_snapshot(encode_snapshot(entries)) == entries


def test_kafkas_is_read_and_written_alike() -> None:
    data = golden_files("small-0")["00000000000000000113.snapshot"]
    [entry] = decode_snapshot(data)
    assert (entry.last_sequence, entry.last_offset) == (112, 112)
    assert encode_snapshot([entry]) == data


def test_a_damaged_one_is_an_error() -> None:
    data = golden_files("small-0")["00000000000000000113.snapshot"]
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        with pytest.raises(CheckpointError):
            decode_snapshot(bytes(flipped))
        with pytest.raises(CheckpointError):
            decode_snapshot(data[:position])
