"""Walking the batches of a segment file, by their headers.

Functions take `read(size, position)`: a file's `pread`, or its `pread_now`,
which returns None where it would wait; then `NotCached` is raised, and a worker
does the same with `pread_once`.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple, TypeAlias

from ottla.model.ids import Offset
from ottla.record.batch import HEADER, HEADER_SIZE, LOG_OVERHEAD, MAGIC, BatchHeader
from ottla.storage.disk import Buffer

Read: TypeAlias = Callable[[int, int], Buffer | None]

WINDOW_BYTES = 8192
"""Headers of small batches come many in one read."""
MIN_LENGTH = HEADER_SIZE - LOG_OVERHEAD

# Base offset, length, magic and last offset delta of a batch.
_PLACE = Struct(">qi4xb6xi")
_LENGTH = Struct(">i")


class NotCached(Exception):  # noqa: N818  # it is an answer, not a failure
    """The bytes are on the device: ask a worker."""


class NotABatch(Exception):  # noqa: N818  # its callers say what it means
    """At this position no batch can begin: the file is damaged, or cut off."""


class Found(NamedTuple):
    """A batch in a segment."""

    position: int
    size: int
    base_offset: Offset
    last_offset: Offset


class Chunk(NamedTuple):
    """Whole batches read from a segment."""

    records: Buffer
    next_offset: Offset
    """One more than the last offset in `records`."""
    end_position: int


class Run(NamedTuple):
    """Whole batches that follow each other in a segment."""

    position: int
    size: int
    next_offset: Offset
    """One more than the last offset in them."""


def places(read: Read, position: int, end: int) -> Iterator[Found]:
    """Yield where each batch of `[position, end)` is.

    Raises:
        NotABatch: something else is at a boundary, or the last one is cut off.
        NotCached: `read` returned None.
    """
    window: Buffer = b""
    start = position
    while position < end:
        at = position - start
        if at + _PLACE.size > len(window):
            got = read(min(WINDOW_BYTES, end - position), position)
            if got is None:
                raise NotCached
            window, start, at = got, position, 0
            if len(window) < _PLACE.size:
                raise NotABatch(f"a batch is cut off at position {position}")
        base_offset, length, magic, delta = _PLACE.unpack_from(window, at)
        size = length + LOG_OVERHEAD
        if magic != MAGIC or length < MIN_LENGTH or position + size > end:
            raise NotABatch(
                f"no batch at position {position}: magic {magic}, length {length}, "
                f"{end - position} bytes there"
            )
        yield Found(position, size, base_offset, base_offset + delta)
        position += size


def headers(read: Read, position: int, end: int) -> Iterator[BatchHeader]:
    """Yield the header of each batch of `[position, end)`; its `position` is in the file.

    Raises:
        NotABatch, NotCached: as for `places`.
    """
    window: Buffer = b""
    start = position
    while position < end:
        at = position - start
        if at + HEADER_SIZE > len(window):
            got = read(min(WINDOW_BYTES, end - position), position)
            if got is None:
                raise NotCached
            window, start, at = got, position, 0
            if len(window) < HEADER_SIZE:
                raise NotABatch(f"a batch is cut off at position {position}")
        header = BatchHeader._make((*HEADER.unpack_from(window, at), position))
        if header.magic != MAGIC or header.batch_length < MIN_LENGTH or header.end_position > end:
            raise NotABatch(
                f"no batch at position {position}: magic {header.magic}, "
                f"length {header.batch_length}, {end - position} bytes there"
            )
        yield header
        position = header.end_position


def find(read: Read, hint: int, end: int, offset: Offset) -> Found | None:
    """Return the first batch that ends at or after `offset`, walking from `hint`.

    Raises:
        NotABatch, NotCached: as for `places`.
    """
    for found in places(read, hint, end):
        if found.last_offset >= offset:
            return found
    return None


def read_chunk(
    read: Read,
    hint: int,
    end: int,
    offset: Offset,
    below: Offset | None,
    max_bytes: int,
    min_one: bool,
    boundary: int,
) -> Chunk | None:
    """Read whole batches from the one that holds `offset`, at most `max_bytes` of them.

    Args:
        hint: position of a batch at or before that one.
        end: position where the segment's batches end.
        below: only batches that end below this offset; None where all of them do.
        min_one: let the first batch exceed `max_bytes`.
        boundary: position of some batch, the nearer before the end of the read the better.

    Returns:
        None where no batch holds `offset` or a later one; an empty chunk where
        there is one, but not below `below` or not within `max_bytes`.

    Raises:
        NotABatch, NotCached: as for `places`.
    """
    first = find(read, hint, end, offset)
    if first is None:
        return None
    nothing = Chunk(b"", offset, first.position)
    if below is not None and first.last_offset >= below:
        return nothing
    if first.size > max_bytes:
        if not min_one:
            return nothing
        size = first.size
    else:
        size = min(max_bytes, end - first.position)
    data = read(size, first.position)
    if data is None:
        raise NotCached
    if len(data) < size:
        raise NotABatch(f"{len(data)} of {size} bytes at position {first.position}")
    start = boundary - first.position if below is None else 0
    if not 0 <= start < size:
        start = 0
    whole, last_offset = _whole(data, start, below)
    if whole == 0 and start > 0:
        whole, last_offset = _whole(data, 0, below)
    if whole == 0:
        return nothing
    records = data if whole == len(data) else memoryview(data)[:whole]
    return Chunk(records, last_offset + 1, first.position + whole)


def find_run(
    read: Read,
    hint: int,
    end: int,
    offset: Offset,
    below: Offset | None,
    max_bytes: int,
    boundary: int,
) -> Run | None:
    """Find what `read_chunk` would read, by headers alone.

    None where it is nothing, or a first batch larger than `max_bytes`.

    Raises:
        NotABatch, NotCached: as for `places`.
    """
    first = find(read, hint, end, offset)
    if first is None or first.size > max_bytes:
        return None
    stop = min(first.position + max_bytes, end)
    start = boundary if below is None and boundary > first.position else first.position
    last: Found | None = None
    for found in places(read, start, end):
        if found.position + found.size > stop:
            break
        if below is not None and found.last_offset >= below:
            break
        last = found
    if last is None:
        if start == first.position:
            return None
        return find_run(read, first.position, end, offset, below, max_bytes, 0)
    return Run(first.position, last.position + last.size - first.position, last.last_offset + 1)


def _whole(data: Buffer, position: int, below: Offset | None) -> tuple[int, Offset]:
    """Return where the last whole batch ends that counts, and its last offset.

    Only the last header is looked at closely, unless `below` is asked about.
    """
    end = len(data)
    length_at = _LENGTH.unpack_from
    place_at = _PLACE.unpack_from
    last = -1
    if below is None:
        while position + HEADER_SIZE <= end:
            following: int = position + length_at(data, position + 8)[0] + LOG_OVERHEAD
            if following > end or following < position + HEADER_SIZE:
                break
            last, position = position, following
    else:
        while position + HEADER_SIZE <= end:
            base_offset, length, _, delta = place_at(data, position)
            following = position + length + LOG_OVERHEAD
            if following > end or length < MIN_LENGTH or base_offset + delta >= below:
                break
            last, position = position, following
    if last < 0:
        return 0, -1
    base_offset, _, _, delta = place_at(data, last)
    return position, base_offset + delta
