"""The codecs of record batches, and the limit on what a batch may expand to.

A compressed block names its codec in the batch's attributes:

    gzip    RFC 1952, one or more members
    snappy  raw blocks in the framing of the `xerial` Java library: 8 bytes
            `82 53 4e 41 50 50 59 00`, int32 version, int32 least compatible
            version, then per block int32 size and the block, all big-endian;
            or one raw block without any framing
    lz4     the LZ4 frame format
    zstd    RFC 8878 frames

A few bytes can stand for gigabytes, so nothing here lets a codec grow its own
output: each expands into a buffer that we made, no larger than the limit, and
fails when that is full. How large the buffer must be is first read from the
block structure, which is cheap: the sizes of snappy blocks, the tail of gzip,
the block headers of LZ4 and Zstandard frames. What claims more than the limit
is refused before any of it is expanded. The decoders take, besides, a window
of at most 128 MiB for Zstandard, of which they touch no more than they write.
"""

from collections.abc import Callable, Iterator
from struct import Struct

import cramjam

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import CompressionType
from ottla.record.checksum import Buffer

DEFAULT_LIMIT = 64 << 20
"""Bytes a batch may expand to, unless told otherwise."""

XERIAL_MAGIC = b"\x82SNAPPY\x00"

_XERIAL_HEADER = XERIAL_MAGIC + bytes([0, 0, 0, 1, 0, 0, 0, 1])
_XERIAL_BLOCK_SIZE = 32 * 1024
_XERIAL_AGAIN = int.from_bytes(XERIAL_MAGIC[:4], "big", signed=True)
"""Where a block's size stands, the first half of another header (streams put end to end)."""

_LZ4_MAGIC = 0x184D2204
_LZ4_DEFAULT_LEVEL = 9
"""Kafka's default, by which it means the fast compressor, not the ninth level."""
_LZ4_FAST = 1
_LZ4_BLOCK_SIZES = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
_LZ4_INDEPENDENT = 0x20
_LZ4_DICTIONARY = 0x01
_LZ4_STORED = 0x80000000
_LZ4_MAX_RATIO = 255

_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_BLOCK_SIZE = 128 * 1024
_ZSTD_DEFAULT_LEVEL = 3
_SKIPPABLE_MAGIC = 0x184D2A50
"""To ...5F; in LZ4 and Zstandard alike."""

_GZIP_MAX_RATIO = 1032
_GZIP_DEFAULT_LEVEL = 6
_SNAPPY_MAX_RATIO = 22
"""A copy of 64 bytes takes three."""

_MAX_BLOCKS_LOOKED_AT = 1024
_FIRST_GUESS_RATIO = 8
_GROWTH = 4

_INT32 = Struct(">i")
_UINT32_LE = Struct("<I")


def decompress(
    kind: CompressionType, data: Buffer, limit: int = DEFAULT_LIMIT, *, portable: bool = False
) -> Buffer:
    """Return what `data` expands to, at most `limit` bytes; `data` itself for NONE.

    `portable` refuses what Kafka's own reader of LZ4 does not take, though others
    do: linked blocks, dictionaries, more than one frame.

    Raises:
        ApiError: CORRUPT_MESSAGE, `data` is not whole or not of this codec;
            MESSAGE_TOO_LARGE, it expands past `limit`.
    """
    if kind is CompressionType.NONE:
        if len(data) > limit:
            raise _too_large(limit)
        return data
    if kind is CompressionType.SNAPPY:
        return _decompress_snappy(data, limit)
    if kind is CompressionType.LZ4:
        bound = _lz4_bound(data, limit, portable)
        return _expand(cramjam.lz4.decompress_into, "lz4", data, limit, bound, bound)
    if kind is CompressionType.ZSTD:
        if not data:
            return bytearray()
        guess, bound = _zstd_bound(data, limit)
        return _expand(cramjam.zstd.decompress_into, "zstd", data, limit, guess, bound)
    guess = _gzip_guess(data)
    bound = _GZIP_MAX_RATIO * len(data)
    return _expand(cramjam.gzip.decompress_into, "gzip", data, limit, guess, bound)


def expands_past(kind: CompressionType, data: Buffer, size: int) -> bool:
    """Say whether `data` may expand to more than `size` bytes, by what its blocks say of themselves.

    Nothing is expanded. Gzip's word is taken, which may be a lie: then it is
    refused after at most a thousand bytes for each of its own.
    """
    match kind:
        case CompressionType.NONE:
            return len(data) > size
        case CompressionType.SNAPPY:
            return _SNAPPY_MAX_RATIO * len(data) > size
        case CompressionType.GZIP:
            return _gzip_guess(data) > size
    try:
        if kind is CompressionType.LZ4:
            return _lz4_bound(data, size + 1, portable=False) > size
        return _zstd_bound(data, size + 1)[1] > size
    except ApiError as error:
        return error.code is ErrorCode.MESSAGE_TOO_LARGE


def compress(kind: CompressionType, data: Buffer, level: int | None = None) -> bytes:
    """Return `data` compressed; `level` as in Kafka's compression.*.level, None its default."""
    match kind:
        case CompressionType.GZIP:
            wanted = _GZIP_DEFAULT_LEVEL if level is None or level < 0 else level
            return bytes(cramjam.gzip.compress(data, level=wanted))
        case CompressionType.ZSTD:
            wanted = _ZSTD_DEFAULT_LEVEL if level is None else level
            return bytes(cramjam.zstd.compress(data, level=wanted))
        case CompressionType.SNAPPY:
            return _compress_snappy(data)
        case CompressionType.LZ4:
            return _compress_lz4(data, level)
    return bytes(data)


def _expand(
    decompress_into: Callable[[Buffer, bytearray], int],
    name: str,
    data: Buffer,
    limit: int,
    guess: int,
    bound: int,
) -> bytearray:
    """Expand into a buffer of `guess` bytes, or larger ones up to `limit`.

    `bound` is what the data cannot expand past, so far as is known. A buffer
    too small costs another try, four times as large, so at most a third of the
    work is wasted on top.
    """
    ceiling = min(bound, limit)
    size = min(max(guess, _FIRST_GUESS_RATIO * len(data), 1), ceiling)
    while True:
        out = bytearray(size)
        try:
            written = decompress_into(data, out)
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise _corrupt(f"{name} block cannot be decompressed: {error}") from None
        else:
            del out[written:]
            return out
        if size >= ceiling:
            if ceiling == limit:
                raise _too_large(limit)
            raise _corrupt(f"{name} block expands to more than it can")
        del out  # before the next, so that there is never more than one
        size = min(size * _GROWTH, ceiling)


_FULL = "failed to write whole buffer"
"""How cramjam says that the output is full, whatever the codec; a test holds it to that."""


def _corrupt(message: str) -> ApiError:
    return ApiError(ErrorCode.CORRUPT_MESSAGE, message)


def _too_large(limit: int) -> ApiError:
    return ApiError(
        ErrorCode.MESSAGE_TOO_LARGE, f"Record batch expands to more than the {limit} bytes allowed"
    )


def _gzip_guess(data: Buffer) -> int:
    """The size that the last member states at its end, unless it cannot be true."""
    if len(data) < 18:
        return 0
    size: int = _UINT32_LE.unpack_from(data, len(data) - 4)[0]
    return size if size <= _GZIP_MAX_RATIO * len(data) else 0


def _compress_snappy(data: Buffer) -> bytes:
    view = memoryview(data)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK_SIZE):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_SIZE]))
        parts.append(_INT32.pack(len(block)))
        parts.append(block)
    return b"".join(parts)


def _decompress_snappy(data: Buffer, limit: int) -> bytearray:
    """Add up the sizes of all blocks, make room once, expand each into its place.

    The blocks are found twice: to keep them would take forty times the memory of
    a hostile `data`.
    """
    view = memoryview(data)
    is_framed = view[:8] == XERIAL_MAGIC
    total = 0
    for block in _xerial_blocks(view) if is_framed else (view,):
        total += _snappy_size(block)
        if total > limit:
            raise _too_large(limit)
    out = bytearray(total)
    room = memoryview(out)
    position = 0
    for block in _xerial_blocks(view) if is_framed else (view,):
        size = _snappy_size(block)
        try:
            cramjam.snappy.decompress_raw_into(block, room[position : position + size])
        except cramjam.DecompressionError as error:
            raise _corrupt(f"snappy block cannot be decompressed: {error}") from None
        position += size
    return out


def _xerial_blocks(view: memoryview) -> Iterator[memoryview]:
    position = len(_XERIAL_HEADER)
    end = len(view)
    if end < position:
        raise _corrupt("snappy framing is cut off")
    while position < end:
        if end - position < 4:
            raise _corrupt("snappy framing is cut off")
        size: int = _INT32.unpack_from(view, position)[0]
        if size == _XERIAL_AGAIN and view[position : position + 8] == XERIAL_MAGIC:
            position += len(_XERIAL_HEADER)
            continue
        position += 4
        if size <= 0 or size > end - position:
            raise _corrupt(f"snappy block of {size} bytes is not there")
        yield view[position : position + size]
        position += size


def _snappy_size(block: memoryview) -> int:
    """The size a raw block says it has, if so many bytes can come of it at all."""
    size = 0
    for index in range(min(5, len(block))):
        byte = block[index]
        size |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            break
    else:
        raise _corrupt("snappy block has no size")
    if size > _SNAPPY_MAX_RATIO * len(block):
        raise _corrupt(f"snappy block of {len(block)} bytes says it expands to {size}")
    return size


def _compress_lz4(data: Buffer, level: int | None) -> bytes:
    """Return one frame with independent blocks, the only ones that Kafka's Java reader takes."""
    wanted = _LZ4_FAST if level is None or level == _LZ4_DEFAULT_LEVEL else level
    compressor = cramjam.lz4.Compressor(level=wanted, content_checksum=False, block_linked=False)
    compressor.compress(bytes(data))
    return bytes(compressor.finish())


def _lz4_bound(data: Buffer, limit: int, portable: bool) -> int:
    """Return what LZ4 frames cannot expand past, from their block headers.

    A block that is stored counts as it is, a compressed one as the most that
    LZ4 can make of it. Past the first thousand blocks it is `limit`.
    """
    bound = 0
    stored = 0
    looked_at = 0
    position = 0
    end = len(data)
    while position < end:
        if portable and position:
            raise _corrupt("lz4 block is more than one frame")
        position, skipped = _skip_frame(data, position, end, "lz4", _LZ4_MAGIC)
        if skipped:
            continue
        if position + 3 > end:
            raise _corrupt("lz4 frame is cut off")
        flags = data[position]
        block_size = _LZ4_BLOCK_SIZES.get(data[position + 1] >> 4 & 7, 0)
        if flags >> 6 != 1 or not block_size:
            raise _corrupt(f"lz4 frame of an unknown kind: {flags:#x}")
        if portable and (flags & _LZ4_INDEPENDENT == 0 or flags & _LZ4_DICTIONARY):
            raise _corrupt("lz4 frame with linked blocks or a dictionary")
        position += 3 + (8 if flags & 0x08 else 0) + (4 if flags & _LZ4_DICTIONARY else 0)
        block_overhead = 4 if flags & 0x10 else 0
        while True:
            if position + 4 > end:
                raise _corrupt("lz4 frame is cut off")
            size: int = _UINT32_LE.unpack_from(data, position)[0]
            position += 4
            if size == 0:
                break
            if size & _LZ4_STORED:
                size ^= _LZ4_STORED
                stored += size
                bound += size
            else:
                bound += min(block_size, _LZ4_MAX_RATIO * size)
            position += size + block_overhead
            if size > block_size or position > end:
                raise _corrupt(f"lz4 block of {size} bytes is not there")
            looked_at += 1
            if looked_at == _MAX_BLOCKS_LOOKED_AT:
                return limit
        position += 4 if flags & 0x04 else 0
    if stored > limit:
        raise _too_large(limit)
    return bound


def _zstd_bound(data: Buffer, limit: int) -> tuple[int, int]:
    """Return what Zstandard frames probably and at most expand to, from their headers.

    Raises:
        ApiError: MESSAGE_TOO_LARGE, their blocks that need no decoding, or the
            sizes they state, are past `limit`; CORRUPT_MESSAGE, not such frames.
    """
    stated = 0
    all_stated = True
    bound = 0
    certain = 0
    looked_at = 0
    position = 0
    end = len(data)
    while position < end:
        position, skipped = _skip_frame(data, position, end, "zstd", _ZSTD_MAGIC)
        if skipped:
            continue
        position, content_size, has_checksum = _zstd_frame_header(data, position, end)
        if content_size is None:
            all_stated = False
        else:
            stated += content_size
            if stated > limit:
                raise _too_large(limit)
        last = False
        while not last:
            if position + 3 > end:
                raise _corrupt("zstd frame is cut off")
            header = data[position] | data[position + 1] << 8 | data[position + 2] << 16
            last = header & 1 == 1
            kind = header >> 1 & 3
            size = header >> 3
            if kind == 2:
                bound += _ZSTD_BLOCK_SIZE
            else:
                bound += size
                certain += size
                if certain > limit:
                    raise _too_large(limit)
            position += 3 + (1 if kind == 1 else size)
            if kind == 3 or position > end:
                raise _corrupt("zstd block is not there")
            looked_at += 1
            if looked_at == _MAX_BLOCKS_LOOKED_AT:
                return stated, limit
        position += 4 if has_checksum else 0
    return (stated, min(bound, stated)) if all_stated else (min(bound, _ZSTD_BLOCK_SIZE), bound)


def _zstd_frame_header(data: Buffer, position: int, end: int) -> tuple[int, int | None, bool]:
    """Return the position of the first block, the content size if stated, whether a checksum ends it."""
    if position + 2 > end:
        raise _corrupt("zstd frame is cut off")
    descriptor = data[position]
    single_segment = descriptor >> 5 & 1
    position += 1 if single_segment else 2
    position += (0, 1, 2, 4)[descriptor & 3]
    size_flag = descriptor >> 6
    size_bytes = (single_segment, 2, 4, 8)[size_flag]
    if position + size_bytes > end:
        raise _corrupt("zstd frame is cut off")
    content_size = None
    if size_bytes:
        content_size = int.from_bytes(data[position : position + size_bytes], "little")
        content_size += 256 if size_flag == 1 else 0
    return position + size_bytes, content_size, descriptor & 4 != 0


def _skip_frame(data: Buffer, position: int, end: int, name: str, wanted: int) -> tuple[int, bool]:
    """Pass the magic number of a `wanted` frame, or the whole of a skippable one (then True)."""
    if position + 4 > end:
        raise _corrupt(f"{name} frame is cut off")
    magic: int = _UINT32_LE.unpack_from(data, position)[0]
    if magic == wanted:
        return position + 4, False
    if magic & 0xFFFFFFF0 != _SKIPPABLE_MAGIC or position + 8 > end:
        raise _corrupt(f"{name} frame has magic number {magic:#x}")
    size: int = _UINT32_LE.unpack_from(data, position + 4)[0]
    return position + 8 + size, True
