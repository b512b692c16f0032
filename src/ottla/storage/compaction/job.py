"""The work of one compaction: map the keys of the dirty part, then write what stays.

Nothing here touches a log's state. It reads closed segments and writes
`.cleaned` files beside them, group by group; the loop puts each group in place
(`swap`). It runs in steps, so that whoever runs it can do something else between
two of them, wait, or stop.

Every batch's checksum, offsets, magic and leader epoch are looked at: a log that
is damaged is left as it is.
"""

import contextlib
from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import TypeAlias

from ottla.model.errors import ApiError
from ottla.model.ids import Offset
from ottla.record.batch import (
    CONTROL_FLAG,
    HEADER_SIZE,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    read_header,
    size_at,
    verify_crc,
)
from ottla.record.keyed import keyed_records
from ottla.record.records import records_of
from ottla.storage import names, scan
from ottla.storage.compaction.choice import groups
from ottla.storage.compaction.key_map import KeyMap
from ottla.storage.compaction.plan import (
    Cleaned,
    CompactionPlan,
    DamagedLog,
    Finished,
    SourceSegment,
)
from ottla.storage.compaction.rules import Verdict, what_stays
from ottla.storage.compaction.transactions import Transactions
from ottla.storage.disk import Disk, RealDisk
from ottla.storage.handles import Handles
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.segment import Segment
from ottla.storage.transaction_index import AbortedTransaction, TransactionIndex

STEP_RECORDS = 500
"""A step ends after so many records: a millisecond or two."""

Step: TypeAlias = int | Cleaned | Finished
"""Bytes read and written since the last step, or something that is done."""


class CompactionJob:
    """`steps` does it, on `disk`."""

    def __init__(self, disk: Disk, plan: CompactionPlan) -> None:
        self.disk = disk
        self.plan = plan
        self._changed = False
        self._bytes_after = 0
        self._records_before = 0
        self._records_after = 0

    @property
    def may_run_elsewhere(self) -> bool:
        """Whether another process finds the same files, and nothing watches each access."""
        return type(self.disk) is RealDisk

    def steps(self) -> Generator[Step, None, None]:
        """Yield as each step ends; `Finished` is last.

        Raises:
            DamagedLog: a batch is not what it was.
            OSError: a file cannot be read or written.
        """
        plan = self.plan
        aborted = self._aborted()
        keys = yield from self._map_keys(aborted)
        end = keys.latest_offset + 1
        transactions = Transactions(aborted)
        bytes_before = 0
        for group in groups(plan.segments, end, plan.limits):
            bytes_before += sum(segment.size for segment in group)
            yield from self._clean(group, keys, transactions)
        yield Finished(
            end, bytes_before, self._bytes_after, self._records_before, self._records_after
        )

    def _aborted(self) -> list[AbortedTransaction]:
        found = list(self.plan.aborted)
        for path in self.plan.transaction_indexes:
            index = TransactionIndex(self.disk, path)
            if not index.load():
                raise DamagedLog(f"{path} is not a transaction index")
            found += index.rows()
        return found

    # Mapping.

    def _map_keys(self, aborted: list[AbortedTransaction]) -> Generator[Step, None, KeyMap]:
        plan = self.plan
        start = plan.first_dirty_offset
        dirty = [segment for segment in plan.segments if segment.end_offset > start]
        records = 0
        for segment in dirty:
            records += yield from self._count_records(segment)
        keys = KeyMap(plan.limits.key_map_bytes, plan.limits.load_factor, records)
        transactions = Transactions(t for t in aborted if t.last_offset >= start)
        for segment in dirty:
            if not (yield from self._map_segment(segment, keys, transactions)):
                break
            # Offsets may be missing at its end.
            keys.latest_offset = max(keys.latest_offset, segment.end_offset - 1)
        return keys

    def _count_records(self, segment: SourceSegment) -> Generator[Step, None, int]:
        """How many there are at most decides how large the map must be."""
        file = self.disk.open(self._path(segment.base_offset, names.LOG))
        count = seen = 0
        try:
            for header in scan.headers(file.pread, 0, segment.size):
                count += header.records_count
                seen += 1
                if seen % STEP_RECORDS == 0:
                    yield 0
        except scan.NotABatch as error:
            raise DamagedLog(f"{self._path(segment.base_offset, names.LOG)}: {error}") from error
        finally:
            file.close()
        return count

    def _map_segment(
        self, segment: SourceSegment, keys: KeyMap, transactions: Transactions
    ) -> Generator[Step, None, bool]:
        """Return False when the map was full before the segment's end."""
        start = self.plan.first_dirty_offset
        since = size = 0
        for header, batch in self._batches(segment, start):
            size += len(batch)
            since += header.records_count + 1
            counts = not transactions.may_discard(header, batch)
            counts = counts and not header.attributes & CONTROL_FLAG
            if counts and not _put_all(header, batch, keys, start):
                return False
            if header.last_offset >= start:
                keys.latest_offset = max(keys.latest_offset, header.last_offset)
            if since >= STEP_RECORDS:
                yield size
                since = size = 0
        yield size
        return True

    # Writing.

    def _clean(
        self, group: tuple[SourceSegment, ...], keys: KeyMap, transactions: Transactions
    ) -> Generator[Step, None, None]:
        plan = self.plan
        base = group[0].base_offset
        self._changed = len(group) > 1
        handles = Handles(self.disk)
        cleaned = Segment(self.disk, handles, plan.path, base, names.CLEANED)
        try:
            self._remove(cleaned)
            cleaned.create(plan.now_ms)
            cleaned.ensure_file()
            transactions.keep = cleaned.transaction_index.append
            for segment in group:
                yield from self._clean_segment(segment, cleaned, keys, transactions)
            self._bytes_after += cleaned.size
            cleaned.finish()
            if not self._changed:
                self._remove(cleaned)
                return
            cleaned.handle.get().sync()
            for path in cleaned.paths()[1:]:
                self._sync(path)
            self.disk.sync_directory(plan.path)
        except (OSError, DamagedLog):
            with contextlib.suppress(OSError):
                self._remove(cleaned)
            raise
        finally:
            handles.close_all()
        sources = tuple(segment.base_offset for segment in group)
        yield Cleaned(sources, group[-1].end_offset, cleaned.size)

    def _clean_segment(
        self,
        segment: SourceSegment,
        cleaned: Segment,
        keys: KeyMap,
        transactions: Transactions,
    ) -> Generator[Step, None, None]:
        plan = self.plan
        end_offset = plan.end_offset
        out: list[tuple[BatchHeader, bytes]] = []
        read = waiting = since = 0
        for header, batch in self._batches(segment, segment.base_offset):
            read += len(batch)
            since += header.records_count + 1
            verdict = Verdict(
                transactions.may_discard(header, batch),
                self._is_last_of_producer(header) or header.next_offset == end_offset,
            )
            kept = what_stays(
                header, batch, verdict, keys, plan.now_ms, plan.limits.delete_retention_ms
            )
            self._records_before += header.records_count
            self._records_after += kept.records
            self._changed |= kept.batch != batch
            if kept.batch:
                out.append((header, kept.batch))
                waiting += len(kept.batch)
            if waiting >= plan.limits.buffer_bytes or since >= STEP_RECORDS:
                self._write(cleaned, out)
                yield read + waiting
                out, read, waiting, since = [], 0, 0, 0
        self._write(cleaned, out)
        yield read + waiting

    def _write(self, cleaned: Segment, out: list[tuple[BatchHeader, bytes]]) -> None:
        if out:
            cleaned.write(b"".join(batch for _, batch in out))
        for header, batch in out:
            cleaned.publish(
                len(batch),
                header.last_offset,
                read_header(batch).max_timestamp,
                self.plan.limits.index_interval_bytes,
            )

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        last = self.plan.last_records.get(header.producer_id)
        if last is None or header.producer_id < 0:
            return False
        if last.last_offset >= 0:
            return header.last_offset == last.last_offset
        return (
            header.attributes & CONTROL_FLAG != 0 and header.producer_epoch == last.producer_epoch
        )

    def _remove(self, cleaned: Segment) -> None:
        for path in cleaned.paths():
            if self.disk.exists(path):
                self.disk.remove(path)

    def _sync(self, path: str) -> None:
        try:
            file = self.disk.open(path)
        except FileNotFoundError:
            return
        try:
            file.sync()
        finally:
            file.close()

    # Reading.

    def _path(self, base_offset: Offset, suffix: str) -> str:
        return f"{self.plan.path}/{names.offset_file(base_offset, suffix)}"

    def _batches(
        self, segment: SourceSegment, start: Offset
    ) -> Iterator[tuple[BatchHeader, bytes]]:
        """Yield the batches of `segment` that end at or after `start`, checked.

        Raises:
            DamagedLog: one is not what it was.
        """
        path = self._path(segment.base_offset, names.LOG)
        position = 0
        if start > segment.base_offset:
            index = OffsetIndex(
                self.disk, self._path(segment.base_offset, names.INDEX), segment.base_offset
            )
            if index.load():
                position = index.lookup(start)
        epochs = [epoch for epoch, _ in self.plan.epochs]
        starts = [offset for _, offset in self.plan.epochs]
        expected = segment.base_offset
        file = self.disk.open(path)
        try:
            window = b""
            window_start = position
            while position < segment.size:
                at = position - window_start
                if at + LOG_OVERHEAD > len(window) or at + size_at(window, at) > len(window):
                    head = file.pread(LOG_OVERHEAD, position)
                    size = size_at(head) if len(head) == LOG_OVERHEAD else 0
                    if size < HEADER_SIZE or position + size > segment.size:
                        raise DamagedLog(f"{path}: no batch at position {position}")
                    wanted = min(max(size, self.plan.limits.buffer_bytes), segment.size - position)
                    window, window_start, at = file.pread(wanted, position), position, 0
                size = size_at(window, at)
                if size < HEADER_SIZE or at + size > len(window):
                    raise DamagedLog(f"{path}: no batch at position {position}")
                batch = window[at : at + size]
                header = read_header(batch)
                if header.magic != MAGIC or not verify_crc(batch):
                    raise DamagedLog(f"{path}: a damaged batch at position {position}")
                if header.base_offset < expected or header.next_offset > segment.end_offset:
                    raise DamagedLog(
                        f"{path}: offsets {header.base_offset} to {header.last_offset} at position "
                        f"{position}, where {expected} is next and {segment.end_offset} the end"
                    )
                known = bisect_right(starts, header.base_offset) - 1
                if known >= 0 and epochs[known] != header.leader_epoch:
                    raise DamagedLog(
                        f"{path}: leader epoch {header.leader_epoch} at offset "
                        f"{header.base_offset}, where {epochs[known]} was"
                    )
                expected = header.next_offset
                position += size
                if header.last_offset >= start:
                    yield header, batch
        finally:
            file.close()


def _put_all(header: BatchHeader, batch: bytes, keys: KeyMap, start: Offset) -> bool:
    """Put the keys of a batch's records from `start` on; return False if there was no room."""
    base_offset = header.base_offset
    try:
        records = bytes(records_of(batch, header))
        found = list(keyed_records(records, header.records_count))
    except ApiError:
        return True  # it stays as it is, and hides nothing
    for record in found:
        offset = base_offset + record.offset_delta
        if record.key is not None and offset >= start:
            if keys.is_full:
                return False
            keys.put(record.key, offset)
    return True
