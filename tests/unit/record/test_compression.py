import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import cramjam
import pytest
from tests.unit.record.bombs import BOMBS, LIMIT
from tools.probes.produce_shapes import lz4_frame
from tools.probes.record_goldens import FEW, MANY

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import CompressionType
from ottla.record.batch import batches, read_header, verify_crc
from ottla.record.builder import build_batch
from ottla.record.compression import compress, decompress, expands_past
from ottla.record.control import build_end_txn_marker
from ottla.record.records import read_records

NONE, GZIP, SNAPPY, LZ4, ZSTD = CompressionType
CODECS = [GZIP, SNAPPY, LZ4, ZSTD]
ROOT = Path(__file__).parents[3]
OTHERS: dict[str, bytes] = {
    name: bytes.fromhex(digits)
    for name, digits in json.loads((ROOT / "tests/goldens/record/batches.json").read_text()).items()
}
TEXT = b"".join(b'{"ride":%d,"city":"Praha"}' % (n * 7919 % 10007) for n in range(20_000))


def code_of(kind: CompressionType, data: bytes, limit: int = LIMIT) -> ErrorCode | None:
    try:
        decompress(kind, data, limit)
    except ApiError as error:
        return error.code
    return None


@pytest.mark.parametrize("name", [name for name in OTHERS if name.endswith(("few", "many"))])
def test_batches_of_other_clients_are_read(name: str) -> None:
    (header,) = batches(OTHERS[name])
    assert verify_crc(OTHERS[name])
    assert list(read_records(OTHERS[name])) == (FEW if name.endswith("few") else MANY)
    assert header.records_count == len(FEW if name.endswith("few") else MANY)


def test_a_batch_is_built_byte_for_byte_as_kafka_builds_it() -> None:
    assert build_batch(FEW) == OTHERS["java none few"]
    assert (
        build_batch(
            FEW,
            base_offset=40,
            leader_epoch=9,
            producer_id=7,
            producer_epoch=3,
            base_sequence=2147483646,
            transactional=True,
        )
        == OTHERS["java transactional"]
    )
    assert read_header(OTHERS["java transactional"]).last_sequence == 1


@pytest.mark.parametrize(("committed", "offset"), [(True, 41), (False, 42)])
def test_a_marker_is_built_byte_for_byte_as_kafka_builds_it(committed: bool, offset: int) -> None:
    ours = build_end_txn_marker(
        committed=committed,
        coordinator_epoch=5,
        timestamp=1_700_000_000_000,
        producer_id=7,
        producer_epoch=3,
        base_offset=offset,
        leader_epoch=9,
    )
    assert ours == OTHERS[f"java {'commit' if committed else 'abort'} marker"]


@pytest.mark.parametrize("kind", CompressionType)
@pytest.mark.parametrize("size", [0, 1, 100, 32_768, 65_536, 65_537, len(TEXT)])
def test_what_is_compressed_comes_back(kind: CompressionType, size: int) -> None:
    packed = compress(kind, TEXT[:size])
    assert decompress(kind, packed, max(size, 1)) == TEXT[:size]
    assert decompress(kind, memoryview(bytearray(packed)), portable=True) == TEXT[:size]
    assert compress(kind, memoryview(TEXT)[:size]) == packed


@pytest.mark.parametrize("kind", CompressionType)
def test_the_limit_is_exact(kind: CompressionType) -> None:
    packed = compress(kind, TEXT)
    assert len(decompress(kind, packed, len(TEXT))) == len(TEXT)
    assert code_of(kind, packed, len(TEXT) - 1) is ErrorCode.MESSAGE_TOO_LARGE
    assert code_of(kind, packed, 1) is ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize(
    ("kind", "levels"),
    [(GZIP, (-1, 1, 9)), (LZ4, (1, 9, 17)), (ZSTD, (-7, 1, 3, 22)), (SNAPPY, (1,))],
)
def test_every_level_is_read_and_makes_a_difference(
    kind: CompressionType, levels: tuple[int, ...]
) -> None:
    packed = [compress(kind, TEXT, level) for level in levels]
    assert all(decompress(kind, block) == TEXT for block in packed)
    if kind is not SNAPPY:
        assert len(set(packed)) > 1


@pytest.mark.parametrize("kind", CODECS)
def test_two_streams_end_to_end_are_one(kind: CompressionType) -> None:
    packed = compress(kind, TEXT[:1000]) + compress(kind, TEXT[1000:])
    assert decompress(kind, packed) == TEXT


@pytest.mark.parametrize("kind", CODECS)
def test_a_block_cut_off_anywhere_is_corrupt(kind: CompressionType) -> None:
    packed = compress(kind, TEXT[:300])
    for size in range(1, len(packed)):
        code = code_of(kind, packed[:size])
        # A snappy header without any block behind it stands for nothing.
        assert code is ErrorCode.CORRUPT_MESSAGE or (kind is SNAPPY and size == 16)


@pytest.mark.parametrize("kind", CODECS)
def test_anything_else_is_corrupt(kind: CompressionType) -> None:
    for data in (b"\x01", b"garbage", TEXT[:200], bytes(1000), b"\xff" * 1000):
        assert code_of(kind, data) is ErrorCode.CORRUPT_MESSAGE
    assert code_of(kind, compress(kind, TEXT[:200]) + b"garbage") is ErrorCode.CORRUPT_MESSAGE


def test_snappy_is_framed_when_written_and_may_be_raw_when_read() -> None:
    framed = compress(SNAPPY, TEXT[:70_000])
    assert framed.startswith(bytes.fromhex("82534e41505059000000000100000001"))
    (first,) = struct.unpack_from(">i", framed, 16)
    assert cramjam.snappy.decompress_raw_len(framed[20 : 20 + first]) == 32 * 1024
    raw = bytes(cramjam.snappy.compress_raw(TEXT))
    assert decompress(SNAPPY, raw) == TEXT


@pytest.mark.parametrize("chunk", [0, -1, 7, 2**31 - 1])
def test_a_snappy_chunk_that_is_not_there_is_corrupt(chunk: int) -> None:
    framed = compress(SNAPPY, b"abc")
    assert len(framed) - 20 not in (chunk, 7)
    broken = framed[:16] + struct.pack(">i", chunk) + framed[20:]
    assert code_of(SNAPPY, broken) is ErrorCode.CORRUPT_MESSAGE


def test_lz4_frames_of_every_kind_are_read() -> None:
    linked = bytes(cramjam.lz4.compress(TEXT))
    assert decompress(LZ4, linked) == TEXT
    for size in (False, True):
        for checksum in (False, True):
            frame = lz4_frame(TEXT, size=size, checksum=checksum)
            assert decompress(LZ4, frame, portable=True) == TEXT
    skippable = b"\x5f\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"
    assert decompress(LZ4, skippable + linked) == TEXT


@pytest.mark.parametrize(
    "data",
    [
        bytes(cramjam.lz4.compress(TEXT)),
        lz4_frame(TEXT) * 2,
        b"\x50\x2a\x4d\x18" + struct.pack("<I", 0) + lz4_frame(TEXT),
    ],
)
def test_lz4_frames_that_kafka_could_not_read_are_not_portable(data: bytes) -> None:
    decompress(LZ4, data)
    with pytest.raises(ApiError) as raised:
        decompress(LZ4, data, portable=True)
    assert raised.value.code is ErrorCode.CORRUPT_MESSAGE


def test_zstd_may_say_its_size_or_not_and_skip() -> None:
    streamed = cramjam.zstd.Compressor(level=1)
    streamed.compress(TEXT)
    unsized = bytes(streamed.finish())
    sized = bytes(cramjam.zstd.compress(TEXT, level=1))
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"
    assert decompress(ZSTD, unsized) == TEXT
    assert decompress(ZSTD, sized) == TEXT
    assert decompress(ZSTD, skippable + unsized + skippable + sized) == TEXT * 2
    assert decompress(ZSTD, b"") == b""


def test_gzip_that_lies_about_its_size_is_corrupt() -> None:
    packed = gzip.compress(TEXT)
    for size in (0, 1, len(TEXT) - 1, len(TEXT) + 1, 2**32 - 1):
        lying = packed[:-4] + struct.pack("<I", size)
        assert code_of(GZIP, lying) is ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("kind", [GZIP, LZ4, ZSTD])
def test_the_library_says_so_when_the_output_is_full(kind: CompressionType) -> None:
    module = {GZIP: cramjam.gzip, LZ4: cramjam.lz4, ZSTD: cramjam.zstd}[kind]
    packed = compress(kind, TEXT)
    for size in (0, 1, 1000, len(TEXT) - 1):
        with pytest.raises(cramjam.DecompressionError, match="failed to write whole buffer"):
            module.decompress_into(packed, bytearray(size))


HARMLESS = {
    "zstd, empty blocks",
    "zstd, nothing but skippable frames",
    "snappy framed, 300,000 empty blocks",
}
"""They expand to nothing, and that takes no memory: no bombs, but they might have been."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str) -> None:
    kind, make = BOMBS[name]
    wanted = {ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE}
    if name in HARMLESS:
        assert code_of(kind, make()) is None
    else:
        assert code_of(kind, make()) in wanted


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_no_bomb_takes_memory_past_the_limit() -> None:
    """The output, a block of the decoder's, and for LZ4 a copy of its input."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.record.bombs"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=os.environ
        # Large blocks go back to the system at once, so that none hides in the next peak.
        | {"MALLOC_MMAP_THRESHOLD_": "131072", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    risen = json.loads(done.stdout)
    assert set(risen) == set(BOMBS)
    for name, (kind, make) in BOMBS.items():
        allowed = LIMIT + (4 << 20) + (1 << 20)
        if kind is LZ4:
            allowed += len(make())
        assert risen[name] * 1024 <= allowed, name


@pytest.mark.parametrize("kind", CODECS)
def test_what_may_expand_past_a_size_is_told_from_its_outside(kind: CompressionType) -> None:
    small = compress(kind, TEXT[:10_000])
    assert not expands_past(kind, small, 1 << 20)
    large = compress(kind, bytes(4 << 20))
    assert expands_past(kind, large, 1 << 20)
    assert not expands_past(kind, large, 100 << 20)
    assert not expands_past(kind, b"noise", 1 << 20)
    assert expands_past(NONE, b"123", 2)
    assert not expands_past(NONE, b"12", 2)


@pytest.mark.parametrize("name", [name for name in BOMBS if "MiB" in name or "GiB" in name])
def test_most_bombs_are_seen_from_outside(name: str) -> None:
    """Gzip is believed, and snappy's size is: what they say wrongly is refused soon."""
    kind, make = BOMBS[name]
    assert expands_past(kind, make(), 1 << 20) or "says" in name or "window of 2" in name
