"""The codecs of record batches."""

import cramjam

from ottla.model.isolation import CompressionType
from ottla.record.checksum import Buffer

DEFAULT_LIMIT = 64 << 20
"""Bytes a batch may expand to, unless told otherwise."""


def decompress(kind: CompressionType, data: Buffer, limit: int = DEFAULT_LIMIT) -> Buffer:
    """Return `data` decompressed (a first form: the limit is not yet enforced)."""
    match kind:
        case CompressionType.GZIP:
            return bytes(cramjam.gzip.decompress(data))
        case CompressionType.LZ4:
            return bytes(cramjam.lz4.decompress(data))
        case CompressionType.ZSTD:
            return bytes(cramjam.zstd.decompress(data))
        case CompressionType.SNAPPY:
            return bytes(cramjam.snappy.decompress_raw(data))
    return data


def compress(kind: CompressionType, data: Buffer, level: int | None = None) -> bytes:
    """Return `data` compressed (a first form: levels are not yet looked at)."""
    match kind:
        case CompressionType.GZIP:
            return bytes(cramjam.gzip.compress(data))
        case CompressionType.LZ4:
            return bytes(cramjam.lz4.compress(data))
        case CompressionType.ZSTD:
            return bytes(cramjam.zstd.compress(data))
        case CompressionType.SNAPPY:
            return bytes(cramjam.snappy.compress_raw(data))
    return bytes(data)
