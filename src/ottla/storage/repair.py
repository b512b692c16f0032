"""Putting right what `verify` found, as far as the log itself says how.

Every step is an `Action`: it says what it does and what is lost by it, and only
then may be done. What can be known is restored without loss:

- base offset, length, magic and leader epoch lie outside the checksum, so a
  damaged one can be found again: the checksum, the neighbours and
  `leader-epoch-checkpoint` say what it was. No checksum is ever made anew.
- indexes, producer snapshots and the epoch file are made anew from the batches.
- checkpoints that cannot be read, or say more than the log has, are put in bounds.

Anything else in a log cannot be undone: it is cut at the first bad batch, and all
that is cut off is kept beside it, in a `-stray` directory that no broker touches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from struct import Struct
from typing import NamedTuple

from ottla.model.ids import Offset, TopicPartition
from ottla.record.batch import (
    HEADER_SIZE,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    read_header,
    verify_crc,
)
from ottla.storage import checkpoints, clean_stop, names, recovery
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk, File
from ottla.storage.handles import Handles
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.producer_snapshot import decode_snapshot, encode_snapshot
from ottla.storage.producer_state import ProducerStates
from ottla.storage.segment import Segment
from ottla.storage.verify import Checked, Finding, Kind, walk

COPY_BYTES = 1024 * 1024
INDEX_INTERVAL_BYTES = 4096
"""Kafka's default; readers do not mind how far apart the entries are."""

_BASE_OFFSET = Struct(">q")
_LENGTH = Struct(">i")
_LENGTH_AT = 8
_EPOCH_AT = 12
_MAGIC_AT = 16

_INDEXES = frozenset({Kind.OFFSET_INDEX, Kind.TIME_INDEX})
_REPLAYED = frozenset({Kind.TRANSACTION_INDEX, Kind.SNAPSHOT})


class Action(NamedTuple):
    """One step of a repair."""

    path: str
    does: str
    loses: str
    """What nobody gets back by it; "" for nothing."""
    run: Callable[[], None] | None
    """None: nothing can be done here, `does` says what a person can do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.does}" + (f"; LOST: {self.loses}" if self.loses else "")


# Batches.


def plan_batches(
    disk: Disk, path: str, findings: Sequence[Finding], unique: str
) -> Iterator[Action]:
    """Yield what makes the batches of a partition's directory good again.

    Args:
        findings: what `verify_partition` said of it.
        unique: 32 hex digits, for the name of what is set aside.
    """
    damaged = {finding.path for finding in findings if finding.kind is Kind.BATCH}
    epochs = _epochs(disk, path)
    bases = _bases(disk, path)
    for at, base in enumerate(bases):
        log = f"{path}/{names.offset_file(base, names.LOG)}"
        if log in damaged:
            bound = bases[at + 1] if at + 1 < len(bases) else None
            file = disk.open(log)
            try:
                mended, bad = _mend(file, base, bound)
            finally:
                file.close()
            for position, what, data in mended:
                yield Action(
                    log,
                    f"position {position}: {what}",
                    "",
                    partial(_put, disk, log, position, data),
                )
            if bad is not None:
                yield _cut(disk, path, bases[at:], bad, unique)
                return
    if epochs is not None and not any(f.kind is Kind.EPOCH_FILE for f in findings):
        for finding in findings:
            if finding.kind is Kind.EPOCH:
                yield from _mend_epoch(disk, finding, epochs)


class _Mended(NamedTuple):
    position: int
    what: str
    data: bytes


class _Bad(NamedTuple):
    position: int
    offset: Offset
    why: str


def _mend(file: File, base: Offset, bound: Offset | None) -> tuple[list[_Mended], _Bad | None]:
    """Return the fields to put right, and where the first batch is that cannot be."""
    mended: list[_Mended] = []
    size = file.size()
    position, expected = 0, base
    while position < size:
        for found, (at, why) in walk(file, size, start=position):
            header = found
            if header is None or why:
                mend = _mend_batch(file, at, size)
                if mend is None:
                    return mended, _Bad(at, expected, why)
                field, header = mend
                mended.append(field)
            following = expected + header.last_offset_delta + 1
            if header.base_offset != expected:
                next_base = _next_base(file, header.end_position, size, bound)
                flipped = (header.base_offset ^ expected).bit_count() == 1
                # Else compaction may have left a hole: the batch after this one follows it.
                follows = next_base is not None and next_base >= header.next_offset
                a_hole = header.base_offset > expected and follows
                if next_base == following or (flipped and not a_hole):
                    what = f"base offset {header.base_offset} becomes {expected}"
                    mended.append(_Mended(at, what, _BASE_OFFSET.pack(expected)))
                elif header.base_offset < expected:
                    return mended, _Bad(at, expected, f"offset {header.base_offset}")
                else:
                    following = header.next_offset  # a hole: what was there is gone already
            expected = following
            position = header.end_position
            if found is not header:
                break  # what the walk took for its end or length was wrong
    return mended, None


def _mend_batch(file: File, position: int, end: int) -> tuple[_Mended, BatchHeader] | None:
    """Find the magic or the length with which the checksum is right."""
    head = file.pread(HEADER_SIZE, position)
    if len(head) < HEADER_SIZE:
        return None
    length = _LENGTH.unpack_from(head, _LENGTH_AT)[0]
    for bit in (None, *range(32)):
        tried = length if bit is None else _signed(length ^ (1 << bit))
        size = tried + LOG_OVERHEAD
        if not HEADER_SIZE <= size <= end - position:
            continue
        batch = bytearray(file.pread(size, position))
        _LENGTH.pack_into(batch, _LENGTH_AT, tried)
        if not verify_crc(batch):
            continue
        if bit is not None:
            field = _Mended(
                position + _LENGTH_AT, f"length {length} becomes {tried}", _LENGTH.pack(tried)
            )
        elif batch[_MAGIC_AT] != MAGIC:
            what = f"magic {batch[_MAGIC_AT]} becomes {MAGIC}"
            field = _Mended(position + _MAGIC_AT, what, bytes([MAGIC]))
        else:
            return None
        batch[_MAGIC_AT] = MAGIC
        return field, read_header(batch)._replace(position=position)
    return None


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _next_base(file: File, position: int, end: int, bound: Offset | None) -> Offset | None:
    """Return where the following batch, or else the next segment, says that it begins."""
    if position >= end:
        return bound
    head = file.pread(8, position)
    return _BASE_OFFSET.unpack(head)[0] if len(head) == 8 else None


def _mend_epoch(disk: Disk, finding: Finding, epochs: LeaderEpochs) -> Iterator[Action]:
    assert finding.position is not None
    file = disk.open(finding.path)
    try:
        header = read_header(file.pread(HEADER_SIZE, finding.position))
    finally:
        file.close()
    listed = epochs.epoch_of(header.base_offset)
    if listed >= 0 and (listed ^ header.leader_epoch).bit_count() == 1:
        yield Action(
            finding.path,
            f"position {finding.position}: leader epoch {header.leader_epoch} becomes {listed}",
            "",
            partial(
                _put, disk, finding.path, finding.position + _EPOCH_AT, listed.to_bytes(4, "big")
            ),
        )


def _put(disk: Disk, path: str, position: int, data: bytes) -> None:
    file = disk.open(path)
    try:
        file.pwrite(data, position)
        file.sync()
    finally:
        file.close()


def _cut(disk: Disk, path: str, bases: list[Offset], bad: _Bad, unique: str) -> Action:
    """`bases[0]` is the segment with the bad batch; it and all after it are set aside."""
    log = f"{path}/{names.offset_file(bases[0], names.LOG)}"
    size = disk.size(log) - bad.position
    size += sum(disk.size(f"{path}/{names.offset_file(at, names.LOG)}") for at in bases[1:])
    folder, _, name = path.rpartition("/")
    known = names.parse_partition_directory(name) or TopicPartition(name, 0)
    aside = f"{folder}/{names.set_aside(known, unique, names.STRAY_SUFFIX)}"
    return Action(
        log,
        f"position {bad.position}: cut at offset {bad.offset} ({bad.why}); what is cut off is "
        f"kept in {aside}",
        f"every record from offset {bad.offset} on, {size} bytes in {len(bases)} segments",
        partial(_do_cut, disk, path, bases, bad, aside),
    )


def _do_cut(disk: Disk, path: str, bases: list[Offset], bad: _Bad, aside: str) -> None:
    disk.make_directory(aside)
    log = f"{path}/{names.offset_file(bases[0], names.LOG)}"
    file = disk.open(log)
    kept = disk.open(f"{aside}/{names.offset_file(bad.offset, names.LOG)}", create=True)
    try:
        end = file.size()
        for position in range(bad.position, end, COPY_BYTES):
            kept.pwrite(file.pread(COPY_BYTES, position), position - bad.position)
        kept.sync()
        for base in bases[1:]:
            for suffix in (names.LOG, names.INDEX, names.TIME_INDEX, names.TRANSACTION_INDEX):
                name = names.offset_file(base, suffix)
                if disk.exists(f"{path}/{name}"):
                    disk.rename(f"{path}/{name}", f"{aside}/{name}")
        for name in disk.list(path):
            parsed = names.parse_offset_file(name)
            if parsed is not None and parsed[1] == names.SNAPSHOT and parsed[0] > bad.offset:
                disk.rename(f"{path}/{name}", f"{aside}/{name}")
        disk.sync_directory(aside)
        file.truncate(bad.position)
        file.sync()
        disk.sync_directory(path)
    finally:
        kept.close()
        file.close()


# What is made anew from the batches.


def plan_files(disk: Disk, path: str, findings: Sequence[Finding]) -> Iterator[Action]:
    """Yield what makes the other files of a partition's directory agree with its batches."""
    by_kind: dict[Kind, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    bases = _bases(disk, path)
    stems = {
        finding.path.rpartition("/")[2][:20]
        for kind in _INDEXES
        for finding in by_kind.get(kind, ())
    }
    for stem in sorted(stems):
        if int(stem) in bases:
            log = f"{path}/{stem}{names.LOG}"
            run = partial(_index, disk, path, int(stem))
            yield Action(log, "its indexes are made anew", "", run)
        else:
            for suffix in (names.INDEX, names.TIME_INDEX):
                if disk.exists(index := f"{path}/{stem}{suffix}"):
                    yield Action(index, "removed, it has no log", "", partial(disk.remove, index))
    if _REPLAYED & by_kind.keys():
        yield Action(
            path,
            "producer snapshots and transaction indexes are made anew from the batches",
            _forgotten(disk, path, bases),
            partial(_replay, disk, path),
        )
    if Kind.EPOCH_FILE in by_kind:
        file = f"{path}/{names.LEADER_EPOCH_CHECKPOINT}"
        yield Action(file, "made anew from the batches", "", partial(_write_epochs, disk, path))


def _forgotten(disk: Disk, path: str, bases: list[Offset]) -> str:
    """Say what only a snapshot at the log's beginning could know, if there is none."""
    if not bases or bases[0] == 0:
        return ""
    file = f"{path}/{names.offset_file(bases[0], names.SNAPSHOT)}"
    try:
        decode_snapshot(disk.read(file))
        return ""
    except (FileNotFoundError, CheckpointError):
        return f"sequences of producers that wrote nothing since offset {bases[0]}"


def _index(disk: Disk, path: str, base: Offset) -> None:
    handles = Handles(disk)
    segment = Segment(disk, handles, path, base)
    # The transaction index is not made of this segment alone.
    kept = segment.transaction_index.path
    saved = disk.read(kept) if disk.exists(kept) else None
    try:
        recovery.verify(segment, 0, INDEX_INTERVAL_BYTES)
        segment.finish()
    finally:
        handles.close_all()
    if saved is not None:
        disk.write(kept, saved, sync=True)


def _replay(disk: Disk, path: str) -> None:
    bases = _bases(disk, path)
    snapshots = _snapshots(disk, path)
    producers = ProducerStates()
    producers.clear(bases[0] if bases else 0)
    handles = Handles(disk)
    try:
        for at, base in enumerate(bases):
            file = f"{path}/{names.offset_file(base, names.SNAPSHOT)}"
            if at == 0:
                try:
                    producers.load(decode_snapshot(disk.read(file)), base)
                except (FileNotFoundError, CheckpointError):
                    producers.clear(base)
            else:
                disk.write(file, encode_snapshot(producers.entries()), sync=True)
            segment = Segment(disk, handles, path, base)
            segment.size = disk.size(segment.log_path)
            segment.transaction_index.reset()
            recovery.replay(producers, segment, base, rebuild=True)
            end = _end(segment)
        for offset in snapshots:
            if offset not in bases:
                disk.remove(f"{path}/{names.offset_file(offset, names.SNAPSHOT)}")
        if bases and end > bases[-1]:
            file = f"{path}/{names.offset_file(end, names.SNAPSHOT)}"
            disk.write(file, encode_snapshot(producers.entries()), sync=True)
    finally:
        handles.close_all()


def _end(segment: Segment) -> Offset:
    end = segment.base_offset
    for header, _ in walk(segment.handle.get(), segment.size):
        if header is not None:
            end = header.next_offset
    return end


def _write_epochs(disk: Disk, path: str) -> None:
    epochs = LeaderEpochs()
    for base in _bases(disk, path):
        file = disk.open(f"{path}/{names.offset_file(base, names.LOG)}")
        try:
            for header, _ in walk(file, file.size()):
                if header is not None and header.leader_epoch > epochs.latest:
                    epochs.assign(header.leader_epoch, header.base_offset)
        finally:
            file.close()
    disk.write(f"{path}/{names.LEADER_EPOCH_CHECKPOINT}", epochs.text(), sync=True)


def _bases(disk: Disk, path: str) -> list[Offset]:
    return _offsets(disk, path, names.LOG)


def _snapshots(disk: Disk, path: str) -> list[Offset]:
    return _offsets(disk, path, names.SNAPSHOT)


def _offsets(disk: Disk, path: str, suffix: str) -> list[Offset]:
    found = map(names.parse_offset_file, disk.list(path))
    return [parsed[0] for parsed in found if parsed is not None and parsed[1] == suffix]


def _epochs(disk: Disk, path: str) -> LeaderEpochs | None:
    try:
        return LeaderEpochs.parse(disk.read(f"{path}/{names.LEADER_EPOCH_CHECKPOINT}"))
    except (FileNotFoundError, CheckpointError):
        return None


# A log directory's own files.


def plan_directory(
    disk: Disk,
    root: str,
    findings: Sequence[Finding],
    checked: Mapping[TopicPartition, Checked],
) -> Iterator[Action]:
    """Yield what makes the files beside the partitions agree with them."""
    for path in dict.fromkeys(f.path for f in findings if f.kind is Kind.CHECKPOINT):
        name = path.rpartition("/")[2]
        if name == clean_stop.FILE:
            does = "removed: the next start looks at every log"
            yield Action(path, does, "", partial(disk.remove, path))
            continue
        try:
            offsets = checkpoints.parse_offsets(disk.read(path))
        except CheckpointError:
            loses = _LOST_WITH.get(name, "")
            yield Action(path, "removed: it cannot be read", loses, partial(disk.remove, path))
            continue
        bounded = {
            partition: min(max(offset, 0), end)
            if (end := _end_of(checked, partition)) is not None
            else offset
            for partition, offset in offsets.items()
        }
        run = partial(disk.write, path, checkpoints.offsets_text(bounded), sync=True)
        yield Action(path, "offsets beyond the end of their log are lowered to it", "", run)
    for finding in findings:
        if finding.kind is Kind.METADATA:
            yield _metadata(disk, root, finding.path)
        elif finding.kind is Kind.IDENTITY:
            does = "not repaired: copy it from another log directory, or write cluster.id and "
            does += "node.id into it"
            yield Action(finding.path, does, "", None)


_LOST_WITH = {
    checkpoints.LOG_START: "how far DeleteRecords had come: what is still there is back",
}


def _end_of(checked: Mapping[TopicPartition, Checked], partition: TopicPartition) -> Offset | None:
    return checked[partition].end_offset if partition in checked else None


def _metadata(disk: Disk, root: str, path: str) -> Action:
    partition = names.parse_partition_directory(path.split("/")[-2])
    try:
        nonce = checkpoints.parse_clean_shutdown(disk.read(f"{root}/{checkpoints.CLEAN_SHUTDOWN}"))
        _, stopped = clean_stop.parse_clean_stop(disk.read(f"{root}/{clean_stop.FILE}"), nonce)
        topic_id = stopped[partition].topic_id if partition is not None else None
    except (FileNotFoundError, CheckpointError, KeyError):
        topic_id = None
    if topic_id is None:
        does = "not repaired: the broker will take the directory for the topic of its name"
        return Action(path, does, "", None)
    text = checkpoints.partition_metadata_text(topic_id)
    does = "made anew from what the clean stop left"
    return Action(path, does, "", partial(disk.write, path, text, sync=True))


def forget_clean_stop(disk: Disk, root: str) -> None:
    """Files were changed: the next start must look at them, not remember them."""
    if disk.exists(f"{root}/{clean_stop.FILE}"):
        disk.remove(f"{root}/{clean_stop.FILE}")
