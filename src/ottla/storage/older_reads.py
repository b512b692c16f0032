"""Reading below the recent batches of the active segment: by index, or where a reader was before."""

from typing import TYPE_CHECKING, NamedTuple

from ottla.model.ids import Offset
from ottla.storage import scan
from ottla.storage.cold import ColdRead, corrupt
from ottla.storage.disk import Buffer
from ottla.storage.log_values import ReadResult
from ottla.storage.segment import Segment
from ottla.storage.stored import StoredRecords

if TYPE_CHECKING:
    from ottla.storage.log import Log

CURSORS = 16
"""Readers of older data whose next position is remembered."""


class Cursor(NamedTuple):
    """Where the batch begins that a reader asks for next."""

    segment: Segment
    position: int


def read_older(
    log: "Log",
    cursors: dict[Offset, Cursor],
    offset: Offset,
    max_bytes: int,
    below: Offset,
    min_one: bool,
    stored_from: int,
) -> ReadResult[Buffer | StoredRecords]:
    """Read as `Log.read` does, from whichever segment holds `offset`.

    Records of `stored_from` bytes and more stay in their file.
    """
    segments = log.segments
    index = segments.index_of(offset)
    asked = offset
    while index < len(segments):
        segment = segments[index]
        index += 1
        following = segments[index].base_offset if index < len(segments) else log.log_end_offset
        bound = below if below < following else None
        cursor = cursors.pop(offset, None)
        if cursor is not None and cursor.segment is segment:
            hint = cursor.position
        else:
            hint = segment.offset_index.lookup(offset)
        boundary = segment.offset_index.whole_before(hint + max_bytes)
        end = segment.size
        try:
            read = segment.handle.get().pread_now
            run = None
            if min(max_bytes, end - hint) >= stored_from:
                run = scan.find_run(read, hint, end, offset, bound, max_bytes, boundary)
            if run is not None and run.size >= stored_from:
                _remember(cursors, run.next_offset, segment, run.position + run.size)
                stored = StoredRecords(log, segment, run.position, run.size)
                return ReadResult(stored, run.next_offset)
            chunk = scan.read_chunk(read, hint, end, offset, bound, max_bytes, min_one, boundary)
        except scan.NotCached:
            return cold(log, segment, hint, offset, bound, max_bytes, min_one, asked, boundary)
        except scan.NotABatch as error:
            raise corrupt(segment.log_path, error) from error
        except OSError as error:
            log.directory.refuse(error, f"read of {segment.log_path}")
        if chunk is not None:
            _remember(cursors, chunk.next_offset, segment, chunk.end_position)
            return ReadResult(chunk.records, chunk.next_offset if chunk.records else asked)
        if index < len(segments):
            offset = segments[index].base_offset
    return ReadResult(b"", asked)


def _remember(
    cursors: dict[Offset, Cursor], next_offset: Offset, segment: Segment, position: int
) -> None:
    """Readers go on where they were: the next of them need not look the place up."""
    if position >= segment.size:
        return
    if len(cursors) >= CURSORS:
        del cursors[next(iter(cursors))]
    cursors[next_offset] = Cursor(segment, position)


def cold(
    log: "Log",
    segment: Segment,
    hint: int,
    offset: Offset,
    bound: Offset | None,
    max_bytes: int,
    min_one: bool,
    asked: Offset,
    boundary: int = 0,
) -> ReadResult[Buffer | StoredRecords]:
    """Return what a worker must do: the pages are not in memory."""
    end = segment.size

    def job(read: scan.Read) -> scan.Chunk | None:
        return scan.read_chunk(read, hint, end, offset, bound, max_bytes, min_one, boundary)

    try:
        return ReadResult(b"", asked, ColdRead(log, segment.handle, job))
    except OSError as error:
        log.directory.refuse(error, f"read of {segment.log_path}")
