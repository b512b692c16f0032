"""Every batch of a segment's file, one after the other, with what is wrong with it."""

from collections.abc import Iterator

from ottla.record.batch import HEADER_SIZE, MAGIC, BatchHeader, read_header, size_at, verify_crc
from ottla.storage.disk import File
from ottla.storage.verify.findings import Progress

CHUNK_BYTES = 1024 * 1024


def walk(
    file: File, end: int, progress: Progress = lambda size: None, *, start: int = 0
) -> Iterator[tuple[BatchHeader | None, tuple[int, str]]]:
    """Yield each batch of a file with what is wrong with it, "" for nothing.

    Where no batch can begin, (None, (position, why)) is the last. A batch whose
    length is plausible is stepped over, however damaged it is.
    """
    chunk = b""
    position = start
    while position < end:
        at = position - start
        if len(chunk) - at < HEADER_SIZE:
            chunk, start, at = file.pread(min(CHUNK_BYTES, end - position), position), position, 0
            if len(chunk) < HEADER_SIZE:
                yield None, (position, f"the last {end - position} bytes are no batch")
                return
        size = size_at(chunk, at)
        if size < HEADER_SIZE or position + size > end:
            yield None, (position, f"a batch of {size} bytes where {end - position} are left")
            return
        if at + size > len(chunk):
            wanted = min(max(size, CHUNK_BYTES), end - position)
            chunk, start, at = file.pread(wanted, position), position, 0
        header = read_header(chunk, at)._replace(position=position)
        problem = ""
        if header.magic != MAGIC:
            problem = f"magic {header.magic}, not {MAGIC}"
        elif not verify_crc(chunk, at, size):
            problem = "a wrong checksum"
        yield header, (position, problem)
        position += size
        progress(size)
