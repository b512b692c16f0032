"""CRC-32C (Castagnoli), the checksum of record batches and of some of Kafka's files."""

from collections.abc import Callable
from typing import TypeAlias

import crc32c as _crc32c

Buffer: TypeAlias = bytes | bytearray | memoryview

crc32c: Callable[[Buffer], int] = _crc32c.crc32c
"""CRC-32C of all the bytes of a buffer, as an unsigned 32-bit integer.

In hardware where there is any, and without the GIL for long buffers; it is the
function of the `crc32c` package itself, since a wrapper would cost a third of a
small batch's checksum.
"""
