"""What is in a log directory's files, row by row, for people and for JSON.

Each row is a mapping of plain values; `kind` says what it is, `problem`, where
there is one, what is wrong with it. Nothing is changed and nothing is trusted:
the files may be damaged, or in use by a running broker.
"""

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

from ottla.model.errors import ApiError
from ottla.model.isolation import CompressionType
from ottla.record.batch import (
    COMPRESSION_MASK,
    CONTROL_FLAG,
    HEADER_SIZE,
    LOG_OVERHEAD,
    MAGIC,
    TRANSACTIONAL_FLAG,
    BatchHeader,
    read_header,
    size_at,
    verify_crc,
)
from ottla.record.control import control_type, read_end_txn_marker
from ottla.record.records import Record, read_records
from ottla.storage import checkpoints, names
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk, File
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.producer_snapshot import decode_snapshot
from ottla.storage.scan import Found, NotABatch, find, headers
from ottla.storage.time_index import TimeIndex
from ottla.storage.transaction_index import TransactionIndex

Value: TypeAlias = "str | int | bool | bytes | list[Value] | dict[str, Value] | None"
Row: TypeAlias = dict[str, Value]

CHECKPOINTS = frozenset(
    {
        checkpoints.RECOVERY_POINT,
        checkpoints.LOG_START,
        checkpoints.HIGH_WATERMARK,
        checkpoints.CLEANER,
    }
)


def dump_path(disk: Disk, path: str, *, records: bool = True) -> Iterator[Row]:
    """Yield the rows of one file, or of each known file in a partition's directory.

    Args:
        records: also yield a row for every record of a `.log`.

    Raises:
        OSError: the path cannot be read.
        ValueError: it is no kind of file that can be dumped.
    """
    if not disk.is_directory(path):
        yield from dump_file(disk, path, records=records)
        return
    for name in disk.list(path):
        if _reader(name) is not None:
            yield from dump_file(disk, f"{path.rstrip('/')}/{name}", records=records)


def dump_file(disk: Disk, path: str, *, records: bool = True) -> Iterator[Row]:
    """Yield the rows of one file, the first of which names it; errors as for `dump_path`."""
    name = os.path.basename(path)
    reader = _reader(name)
    if reader is None:
        raise ValueError(f"{path} is not a file of a log directory")
    yield {"kind": "file", "path": path, "size": disk.size(path)}
    for row in reader(disk, path):
        if records or row["kind"] != "record":
            yield row


def _reader(name: str) -> Callable[[Disk, str], Iterator[Row]] | None:
    for suffix in (names.DELETED, names.SWAP, names.CLEANED):
        name = name.removesuffix(suffix)
    parsed = names.parse_offset_file(name)
    if parsed is not None:
        return _BY_SUFFIX[parsed[1]]
    if name == names.LEADER_EPOCH_CHECKPOINT:
        return _leader_epochs
    if name == names.PARTITION_METADATA:
        return _partition_metadata
    if name in CHECKPOINTS:
        return _offset_checkpoint
    if name == checkpoints.META_PROPERTIES:
        return _meta_properties
    if name.endswith(".checkpoint"):
        return _batches
    return None


# Segments.


def _batches(disk: Disk, path: str) -> Iterator[Row]:
    file = disk.open(path)
    try:
        yield from _batches_of(file, file.size())
    finally:
        file.close()


def _batches_of(file: File, end: int) -> Iterator[Row]:
    position = 0
    expected = epoch = -1
    while position < end:
        head = file.pread(HEADER_SIZE, position)
        size = size_at(head) if len(head) >= LOG_OVERHEAD else 0
        if size < HEADER_SIZE or position + size > end or head[16] != MAGIC:
            problem = f"no whole batch in the last {end - position} bytes"
            yield {"kind": "rest", "position": position, "problem": problem}
            return
        batch = file.pread(size, position)
        header = read_header(batch)
        row = _batch_row(header, position, verify_crc(batch))
        if header.base_offset < expected:
            row["problem"] = f"its offset is below {expected}, the end of the batch before"
        elif header.leader_epoch < epoch:
            row["problem"] = f"its leader epoch is below {epoch}, that of the batch before"
        epoch = header.leader_epoch
        yield row
        yield from _record_rows(batch, header)
        expected = header.next_offset
        position += size


def _batch_row(header: BatchHeader, position: int, valid: bool) -> Row:
    codec = header.attributes & COMPRESSION_MASK
    known = codec in CompressionType.__members__.values()
    row: Row = {
        "kind": "batch",
        "position": position,
        "size": header.size,
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "records_count": header.records_count,
        "leader_epoch": header.leader_epoch,
        "base_timestamp": header.base_timestamp,
        "max_timestamp": header.max_timestamp,
        "timestamp_type": header.timestamp_type.name,
        "compression": CompressionType(codec).name if known else codec,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "transactional": bool(header.attributes & TRANSACTIONAL_FLAG),
        "control": bool(header.attributes & CONTROL_FLAG),
        "crc": header.crc,
        "valid": valid,
    }
    if header.delete_horizon_ms is not None:
        row["delete_horizon_ms"] = header.delete_horizon_ms
    if not valid:
        row["problem"] = "the checksum is wrong"
    return row


def _record_rows(batch: bytes, header: BatchHeader) -> Iterator[Row]:
    try:
        for record in read_records(batch):
            row: Row = {
                "kind": "record",
                "offset": record.offset,
                "timestamp": record.timestamp,
                "key": record.key,
                "value": record.value,
                "headers": [[name, value] for name, value in record.headers],
            }
            if header.is_control:
                row |= _control(record)
            yield row
    except ApiError as error:
        yield {"kind": "rest", "base_offset": header.base_offset, "problem": str(error)}


def _control(record: Record) -> Row:
    row: Row = {"control": control_type(record.key).name}
    marker = read_end_txn_marker(record)
    if marker is not None:
        row["coordinator_epoch"] = marker.coordinator_epoch
    return row


# Indexes, each entry compared with the log beside it.


def _unused(entries: int) -> Row:
    """Zeros: Kafka makes the indexes of an active segment as large as they may become."""
    return {"kind": "unused", "entries": entries}


def _offset_index(disk: Disk, path: str) -> Iterator[Row]:
    index = OffsetIndex(disk, path, _base_offset(path))
    loaded = index.load()
    rows = index.rows()
    if not loaded and rows[-1:] != [(_base_offset(path), 0)]:
        yield {"kind": "rest", "problem": "not whole entries in rising order"}
    before = -1
    log = _Log(disk, path)
    for number, (offset, position) in enumerate(rows):
        if position == 0 and offset == _base_offset(path):
            yield _unused(len(rows) - number)
            break
        row: Row = {"kind": "index_entry", "offset": offset, "position": position}
        problem = None
        if offset <= before:
            problem = f"not above the entry before, {before}"
        else:
            found = log.batch_at(position)
            if isinstance(found, str):
                problem = found
            elif found is not None and found.last_offset != offset:
                problem = f"the batch at {position} ends at offset {found.last_offset}"
        if problem is not None:
            row["problem"] = problem
        yield row
        before = offset
    log.close()


def _time_index(disk: Disk, path: str) -> Iterator[Row]:
    index = TimeIndex(disk, path, _base_offset(path))
    if not index.load():
        yield {"kind": "rest", "problem": "not whole entries with sensible values"}
    before = -1
    log = _Log(disk, path)
    rows = index.rows()
    for number, (timestamp, offset) in enumerate(rows):
        if timestamp == 0 and offset == _base_offset(path):
            yield _unused(len(rows) - number)
            break
        row: Row = {"kind": "time_index_entry", "timestamp": timestamp, "offset": offset}
        batch = log.batch_of(offset)
        if timestamp <= before:
            row["problem"] = f"not above the entry before, {before}"
        elif isinstance(batch, str):
            row["problem"] = batch
        elif batch is not None and batch.max_timestamp != timestamp:
            row["problem"] = f"the largest timestamp of its batch is {batch.max_timestamp}"
        yield row
        before = timestamp
    log.close()


def _transaction_index(disk: Disk, path: str) -> Iterator[Row]:
    index = TransactionIndex(disk, path)
    if not index.load():
        yield {"kind": "rest", "problem": "not whole entries of version 0 in rising order"}
    for aborted in index.rows():
        yield {"kind": "aborted_transaction", **aborted._asdict()}


class _Log:
    """The `.log` beside an index, if it is there."""

    def __init__(self, disk: Disk, index_path: str) -> None:
        folder = os.path.dirname(index_path)
        path = f"{folder}/{names.offset_file(_base_offset(index_path), names.LOG)}"
        self._file = disk.open(path) if disk.exists(path) else None
        self._size = self._file.size() if self._file is not None else 0
        self._headers: Iterator[BatchHeader] = iter(())
        if self._file is not None:
            self._headers = headers(self._file.pread, 0, self._size)

    def batch_at(self, position: int) -> Found | str | None:
        """Return the batch there, what is wrong there, or None where there is no log to ask."""
        if self._file is None:
            return None
        try:
            return find(self._file.pread, position, self._size, 0) or "beyond the end of the log"
        except NotABatch as error:
            return str(error)

    def batch_of(self, last_offset: int) -> BatchHeader | str | None:
        """Like `batch_at`, for the batch that ends at `last_offset`; ask in rising order."""
        if self._file is None:
            return None
        try:
            for header in self._headers:
                if header.last_offset == last_offset:
                    return header
                if header.last_offset > last_offset:
                    break
        except NotABatch as error:
            return str(error)
        return f"no batch ends at offset {last_offset}"

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _base_offset(path: str) -> int:
    parsed = names.parse_offset_file(os.path.basename(path)[:40].split(".deleted")[0])
    return parsed[0] if parsed else 0


# Small files.


def _snapshot(disk: Disk, path: str) -> Iterator[Row]:
    try:
        for entry in decode_snapshot(disk.read(path)):
            yield {"kind": "producer", **entry._asdict()}
    except CheckpointError as error:
        yield {"kind": "rest", "problem": str(error)}


def _leader_epochs(disk: Disk, path: str) -> Iterator[Row]:
    try:
        for epoch, start in checkpoints.parse_pairs(disk.read(path)):
            yield {"kind": "leader_epoch", "epoch": epoch, "start_offset": start}
    except CheckpointError as error:
        yield {"kind": "rest", "problem": str(error)}


def _partition_metadata(disk: Disk, path: str) -> Iterator[Row]:
    data = disk.read(path)
    try:
        checkpoints.parse_partition_metadata(data)
        yield {"kind": "partition_metadata", **_lines(data, ":")}
    except CheckpointError as error:
        yield {"kind": "rest", "problem": str(error)}


def _offset_checkpoint(disk: Disk, path: str) -> Iterator[Row]:
    try:
        for (topic, partition), offset in checkpoints.parse_offsets(disk.read(path)).items():
            yield {
                "kind": "offset_checkpoint",
                "topic": topic,
                "partition": partition,
                "offset": offset,
            }
    except CheckpointError as error:
        yield {"kind": "rest", "problem": str(error)}


def _meta_properties(disk: Disk, path: str) -> Iterator[Row]:
    yield {"kind": "meta_properties", **_lines(disk.read(path), "=")}


def _lines(data: bytes, separator: str) -> Row:
    row: Row = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, found, value = line.partition(separator)
        if found and not line.startswith("#"):
            row[name.strip()] = value.strip()
    return row


_BY_SUFFIX: dict[str, Callable[[Disk, str], Iterator[Row]]] = {
    names.LOG: _batches,
    names.INDEX: _offset_index,
    names.TIME_INDEX: _time_index,
    names.TRANSACTION_INDEX: _transaction_index,
    names.SNAPSHOT: _snapshot,
}


# For people and for JSON.

_INDENT = {"file": "", "record": "    "}


def _readable(value: Value) -> str:
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return "0x" + value.hex()
        return repr(text)
    if isinstance(value, list):
        return "[" + ", ".join(_readable(item) for item in value) + "]"
    return "null" if value is None else str(value)


def json_of(value: Value) -> "object":
    """Return a row with `bytes` as text, or as {"hex": ...} where they are not UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(value, list):
        return [json_of(item) for item in value]
    if isinstance(value, dict):
        return {name: json_of(item) for name, item in value.items()}
    return value
