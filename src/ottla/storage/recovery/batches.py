"""The batches of a segment: checked one by one, indexed, cut at the first bad one."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from ottla.model.ids import Offset
from ottla.record.batch import (
    HEADER_SIZE,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    read_header,
    size_at,
    verify_crc,
)
from ottla.storage import names, scan
from ottla.storage.disk import Disk
from ottla.storage.log_config import INT32_MAX, INT64_MAX
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024


class Torn(str):
    """Why a last batch is not whole: its write was cut short, as far as can be told."""

    __slots__ = ()


def verify(
    segment: Segment,
    position: int,
    index_interval_bytes: int,
    *,
    holes_below: Offset = INT64_MAX,
    cut: bool = True,
    marks_damage: bool = False,
) -> tuple[Offset, str | None]:
    """Check the batches from `position` on, index them, and cut at the first bad one.

    Position 0 makes the indexes anew; elsewhere they are continued, and
    `position` is that of the last indexed batch. Offsets follow each other
    without holes from `holes_below` on. Without `cut`, what is bad stays where
    it is, and is no reason to doubt what follows. What is more than torn is
    marked before it is cut, where `marks_damage` asks for it.

    Returns:
        The segment's end offset, and why it was cut, None if it was not.
    """
    file = segment.handle.get()
    file_size = file.size()
    if position >= file_size:
        position = 0
    if position == 0:
        segment.offset_index.reset()
        segment.time_index.reset()
        segment.transaction_index.begin_anew()
        segment.largest_timestamp = segment.time_index.last_timestamp
        segment.largest_timestamp_offset = segment.base_offset
    segment.size = position
    segment.bytes_since_index_entry = 0
    end = segment.base_offset
    why: str | None = None
    first = True
    for header, reason in checked(file.pread, position, file_size):
        if header is None:
            why = reason
            break
        if header.base_offset < end or header.last_offset - segment.base_offset > INT32_MAX:
            why = f"a batch at offset {header.base_offset} where {end} is next"
            break
        if header.base_offset > max(end, holes_below) and not (first and position):
            why = f"a batch at offset {header.base_offset} where {end} is next"
            break
        if first:
            segment.recent_floor = header.base_offset
            first = False
        segment.publish(header.size, header.last_offset, header.max_timestamp, index_interval_bytes)
        end = header.next_offset
    if first:
        segment.recent_floor = end
    if why is not None and not cut:
        logger.error("%s is damaged at position %d: %s", segment.log_path, segment.size, why)
        segment.size = file_size
        return end, None
    if why is not None:
        if marks_damage and not isinstance(why, Torn):
            mark_damaged(segment.disk, segment.directory)
        segment.disk.create(f"{segment.directory}/{names.CUT}", b"")
        file.truncate(segment.size)
        file.sync()
        segment.offset_index.truncate_to_position(segment.size)
        segment.time_index.truncate_to(end)
        segment.transaction_index.truncate_to(end)
    return end, why


def mark_damaged(disk: Disk, path: str) -> None:
    """Have every later start know, until `Logs.accept_losses`. Raises OSError."""
    disk.create(f"{path}/{names.DAMAGED}", b"")
    disk.sync_directory(path)


def checked(
    pread: Callable[[int, int], bytes], position: int, end: int
) -> Iterator[tuple[BatchHeader | None, str]]:
    """Yield the header of each good batch, then (None, why) if one is bad."""
    chunk = b""
    start = position
    while position < end:
        at = position - start
        if len(chunk) - at < LOG_OVERHEAD:
            chunk, start, at = pread(CHUNK_BYTES, position), position, 0
            if len(chunk) < LOG_OVERHEAD:
                yield None, Torn(f"{len(chunk)} bytes are left")
                return
        size = size_at(chunk, at)
        if size < HEADER_SIZE or position + size > end:
            yield None, Torn(f"a batch of {size} bytes where {end - position} are left")
            return
        if at + size > len(chunk):
            chunk, start, at = pread(max(size, CHUNK_BYTES), position), position, 0
        header = read_header(chunk, at)
        if header.magic != MAGIC:
            yield None, f"magic {header.magic}"
            return
        if not verify_crc(chunk, at, size):
            yield None, "a wrong checksum"
            return
        yield header, ""
        position += size


def headers_from(segments: Segments, offset: Offset) -> Iterator[BatchHeader]:
    """Yield the headers of all batches that end at or after `offset`."""
    for segment in segments.from_offset(offset):
        if segment.size == 0:
            continue
        read = segment.handle.get().pread
        position = segment.offset_index.lookup(offset) if offset > segment.base_offset else 0
        with damage(segment):
            for header in scan.headers(read, position, segment.size):
                if header.last_offset >= offset:
                    yield header


@contextlib.contextmanager
def damage(segment: Segment) -> Iterator[None]:
    """A damaged batch in a closed segment is for its readers to meet; here the walk ends."""
    try:
        yield
    except scan.NotABatch as error:
        logger.error("%s is damaged: %s", segment.log_path, error)
