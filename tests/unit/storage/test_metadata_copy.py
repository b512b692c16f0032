import pytest

from ottla.model.holdings import MetadataCopy
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.metadata_copy import FILE, copy_line, copy_text, parse_copy, read_copy

COPY = MetadataCopy(
    "c", 2, "ab", 77, 9, {"config/2/ü": b'{"x":"1"}', "partition/i/0": b"{}"}, {"partition/i/0": 5}
)
TEXT = copy_text(
    COPY, [copy_line(key, value, COPY.revisions.get(key, 0)) for key, value in COPY.keys.items()]
)


def test_what_was_written_is_read() -> None:
    assert parse_copy(TEXT) == COPY
    disk = MemoryDisk()
    disk.make_directories("/data")
    assert read_copy(disk, "/data") is None
    disk.write(f"/data/{FILE}", TEXT, sync=True)
    assert read_copy(disk, "/data") == COPY


def test_a_file_cut_anywhere_or_with_a_wrong_byte_is_none() -> None:
    for size in range(len(TEXT)):
        with pytest.raises(CheckpointError):
            parse_copy(TEXT[:size])
    body = TEXT.index(b"\n") + 1
    for position in range(body, len(TEXT)):
        garbled = bytearray(TEXT)
        garbled[position] ^= 1
        with pytest.raises(CheckpointError):
            parse_copy(bytes(garbled))
