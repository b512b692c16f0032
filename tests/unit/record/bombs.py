"""Few bytes that stand for many: a hostile producer's batches.

Run as a program it expands each under `LIMIT` and prints by how many KiB the
peak of this process' memory rose, as JSON.
"""

import contextlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cramjam

from ottla.model.errors import ApiError
from ottla.model.isolation import CompressionType
from ottla.record.compression import XERIAL_MAGIC, decompress

LIMIT = 4 << 20
GIB = 1 << 30
GZIP, SNAPPY, LZ4, ZSTD = list(CompressionType)[1:]


def gzip_member(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(bytes(size)) + packer.flush()


def lz4_frame(block: bytes, blocks: int, content_size: int | None = None) -> bytes:
    """Independent blocks of up to 4 MiB; the header's checksum is right only without a size."""
    descriptor = b"\x60\x70\x73"
    if content_size is not None:
        descriptor = b"\x68\x70" + struct.pack("<Q", content_size) + b"\x00"
    chunk = struct.pack("<I", len(block)) + block
    return b"\x04\x22\x4d\x18" + descriptor + chunk * blocks + bytes(4)


def zstd_frame(
    blocks: int, size: int, window: int = 0x38, content_size: int | None = None
) -> bytes:
    """Blocks of one repeated byte."""
    if content_size is None:
        out = b"\x28\xb5\x2f\xfd\x00" + bytes([window])
    else:
        out = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", content_size)
    block = struct.pack("<I", size << 3 | 1 << 1)[:3] + b"x"
    last = struct.pack("<I", size << 3 | 1 << 1 | 1)[:3] + b"x"
    return out + block * (blocks - 1) + last


def snappy_claim(size: int, body: bytes) -> bytes:
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out) + body


def xerial(block: bytes, blocks: int) -> bytes:
    chunk = struct.pack(">i", len(block)) + block
    return XERIAL_MAGIC + struct.pack(">ii", 1, 1) + chunk * blocks


def skippable(frames: int) -> bytes:
    """Frames that hold nothing, of LZ4 and Zstandard alike."""
    return (b"\x50\x2a\x4d\x18" + bytes(4)) * frames


def _gzip_lies(size: int) -> bytes:
    return gzip_member(8 << 20)[:-4] + struct.pack("<I", size)


def _snappy_block(size: int) -> bytes:
    return bytes(cramjam.snappy.compress_raw(bytes(size)))


def _lz4_block() -> bytes:
    return bytes(cramjam.lz4.compress_block(bytes(4 << 20), store_size=False))


def _zstd_streamed(size: int) -> bytes:
    packer = cramjam.zstd.Compressor(level=3)
    packer.compress(b"ottla is a river " * (size // 17))
    return bytes(packer.finish())


BOMBS: dict[str, tuple[CompressionType, Callable[[], bytes]]] = {
    "gzip, 8 MiB": (GZIP, lambda: gzip_member(8 << 20)),
    "gzip, 10 GiB in many members": (GZIP, lambda: gzip_member(16 << 20) * 640),
    "gzip, says it is 4 GiB": (GZIP, lambda: _gzip_lies(2**32 - 1)),
    "gzip, says it is nothing": (GZIP, lambda: _gzip_lies(0)),
    "snappy, says it is 2 GiB": (SNAPPY, lambda: snappy_claim(2 * GIB, b"\x00x")),
    "snappy, says it is 4 GiB": (SNAPPY, lambda: snappy_claim(4 * GIB - 1, bytes(100_000))),
    "snappy, 64 MiB": (SNAPPY, lambda: _snappy_block(64 << 20)),
    "snappy framed, 200 MiB": (SNAPPY, lambda: xerial(_snappy_block(1 << 20), 200)),
    "snappy framed, each says 2 GiB": (
        SNAPPY,
        lambda: xerial(snappy_claim(2 * GIB, b"\x00x"), 1000),
    ),
    "snappy framed, 300,000 empty blocks": (SNAPPY, lambda: xerial(b"\x00", 300_000)),
    "lz4, 10 GiB": (LZ4, lambda: lz4_frame(_lz4_block(), 600)),
    "lz4, 40 GiB past the blocks looked at": (LZ4, lambda: lz4_frame(_lz4_block(), 2000)),
    "lz4, says it is 8 EiB": (LZ4, lambda: lz4_frame(_lz4_block(), 2, 2**63)),
    "lz4, many frames": (LZ4, lambda: lz4_frame(_lz4_block(), 1) * 600),
    "zstd, 10 GiB": (ZSTD, lambda: zstd_frame(81_920, 128 * 1024)),
    "zstd, 64 MiB in a window of 128 MiB": (ZSTD, lambda: zstd_frame(512, 128 * 1024, 17 << 3)),
    "zstd, window of 2 GiB": (ZSTD, lambda: zstd_frame(1, 1000, 21 << 3)),
    "zstd, window of 2 TiB": (ZSTD, lambda: zstd_frame(1, 1000, 31 << 3)),
    "zstd, says it is 8 EiB": (ZSTD, lambda: zstd_frame(3, 100, content_size=2**63)),
    "zstd, 64 MiB truly compressed": (ZSTD, lambda: bytes(cramjam.zstd.compress(bytes(64 << 20)))),
    "zstd, 64 MiB that does not say so": (ZSTD, lambda: _zstd_streamed(64 << 20)),
    "zstd, many frames": (ZSTD, lambda: bytes(cramjam.zstd.compress(bytes(2 << 20))) * 5000),
    "zstd, nothing but skippable frames": (ZSTD, lambda: skippable(200_000)),
    "zstd, empty blocks": (ZSTD, lambda: zstd_frame(200_000, 0)),
}


def memory_kib(field: str) -> int:
    """`VmRSS` or `VmHWM`, the peak, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0])
    raise LookupError(field)


def main() -> None:
    risen = {}
    for name, (kind, make) in BOMBS.items():
        bomb = make()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory_kib("VmRSS")
        with contextlib.suppress(ApiError):
            decompress(kind, bomb, LIMIT)
        risen[name] = memory_kib("VmHWM") - before
    print(json.dumps(risen))


if __name__ == "__main__":
    main()
