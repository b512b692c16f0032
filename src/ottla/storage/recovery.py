"""Opening a log after a clean or unclean stop: verify, cut the torn tail, rebuild.

How much is doubted depends on how the broker stopped:

- CLEAN: nothing. The files are complete.
- PROCESS: the process died and the kernel lives (same boot id). All that was
  written is in the page cache, so only the last batch can be torn and only the
  active segment's indexes can lack entries: it is checked from its last index
  entry on.
- MACHINE: anything above the recovery point may be torn, missing or zeroes.
  The segments that end there or later are checked whole, and their indexes made anew.

A log is cut at the first batch that is not whole, does not match its checksum
or goes back in offsets; what follows goes too, since offsets have no holes of
that kind. Each cut is one line in the log. What nobody doubts is not cut: a
closed segment whose indexes are lost gets them anew, damage in it stays for its
readers to meet.

What recovery cuts or removes is gone for good before anything is appended: a
power cut soon after must not bring it back beyond newer records.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

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
from ottla.record.control import read_end_txn_marker
from ottla.record.records import read_records
from ottla.storage import names, scan
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Buffer, Disk
from ottla.storage.handles import Handles
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import INT32_MAX, INT64_MAX, LogConfig
from ottla.storage.producer_snapshot import decode_snapshot, encode_snapshot
from ottla.storage.producer_state import ProducerStates
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments
from ottla.storage.transaction_index import AbortedTransaction

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024

REMEMBER_ENTRIES = 64
"""So many index entries, each of some batches, are walked for what a snapshot leaves out."""

REMEMBER_SEGMENTS = 8
"""In at most so many segments."""


class Stop(Enum):
    """How the broker stopped last time."""

    CLEAN = "clean"
    PROCESS = "process"
    MACHINE = "machine"


class Loaded(NamedTuple):
    """An opened log."""

    segments: Segments
    log_start_offset: Offset
    log_end_offset: Offset
    epochs: LeaderEpochs
    producers: ProducerStates
    snapshots: list[Offset]
    """Offsets of the `.snapshot` files, rising."""
    cut_at: Offset | None = None
    """Recovery cut the log here; None: nothing was cut."""
    unsynced: tuple[Segment, ...] = ()
    """Closed segments whose index files may not be durable."""


def open_clean(
    disk: Disk,
    handles: Handles,
    path: str,
    *,
    log_start_offset: Offset,
    log_end_offset: Offset,
    active_base_offset: Offset,
    active_size: int,
    config: LogConfig,
    now_ms: int,
) -> Loaded:
    """Open a log whose ends are known from the checkpoint of a clean stop.

    If the active segment is not as it was left, or a time index cannot be, it is recovered instead.

    Raises:
        OSError: something cannot be read.
    """
    files = _list(disk, path)
    as_left = (
        files.bases
        and files.bases[-1] == active_base_offset
        and disk.size(f"{path}/{names.offset_file(active_base_offset, names.LOG)}") == active_size
    )
    never_written = not files.bases and active_size == 0 and log_end_offset == 0
    if as_left or never_written:
        _remove_leftovers(disk, path, files)
        segments = _segments(disk, handles, path, files.bases)
        if never_written or all(s.open(now_ms, log_end_offset) for s in segments):
            for segment in segments:
                _inactive_but(segment, segments)
            epochs = _load_epochs(disk, path, segments, log_end_offset)
            producers = ProducerStates()
            load_producers(
                producers, disk, path, files.snapshots, segments, log_start_offset, log_end_offset
            )
            return Loaded(
                segments, log_start_offset, log_end_offset, epochs, producers, files.snapshots
            )
    logger.warning("%s is not as its clean stop left it", path)
    return recover(
        disk,
        handles,
        path,
        stop=Stop.MACHINE,
        log_start_offset=log_start_offset,
        recovery_point=active_base_offset,
        config=config,
        now_ms=now_ms,
    )


def recover(
    disk: Disk,
    handles: Handles,
    path: str,
    *,
    stop: Stop,
    log_start_offset: Offset,
    recovery_point: Offset,
    config: LogConfig,
    now_ms: int,
    compacted_below: Offset = 0,
) -> Loaded:
    """Open a log of which only `log_start_offset` and `recovery_point` are known.

    A log that is compacted, or was below `compacted_below`, may have holes there.

    Raises:
        OSError: something cannot be read or repaired.
    """
    interval = config.index_interval_bytes
    holes_below = INT64_MAX if "compact" in config.cleanup_policy else compacted_below
    files = _list(disk, path)
    if files.orphans:
        # Their segment is lost. A new one that begins there must not find its place by them.
        for name in files.orphans:
            disk.remove(f"{path}/{name}")
        disk.sync_directory(path)
    segments = _segments(disk, handles, path, files.bases)
    # A cut that came before may not be durable.
    cut_before = disk.exists(f"{path}/{names.CUT}")
    cut: Offset | None = None
    undone = 0
    end = segments.first.base_offset
    # A segment that ends at the recovery point may have been rolled since, its
    # indexes never synced; one that ends below has been flushed as a closed one.
    doubted = segments.index_of(recovery_point - 1)
    doubted_base = segments[doubted].base_offset
    for index, segment in enumerate(segments):
        if not disk.exists(segment.log_path):
            segment.create(now_ms)
            continue
        active = index + 1 == len(segments)
        segment.open(now_ms, segment.base_offset)
        sound = _indexes_are_sound(segment, stop, active)
        segment.largest_timestamp = segment.time_index.last_timestamp
        segment.largest_timestamp_offset = segment.time_index.last_offset
        bound = None if active else segments[index + 1].base_offset
        why: str | None = None
        torn = stop is Stop.MACHINE and index >= doubted
        verified = torn or not sound
        if stop is not Stop.CLEAN and index >= doubted:
            segment.name_synced = False
        if verified:
            end, why = verify(segment, 0, interval, holes_below=holes_below, cut=torn or active)
            if not active or any(map(disk.exists, segment.paths()[1:3])):
                segment.finish()
            if index < doubted:
                _sync(disk, segment.paths()[1:])
        elif active and stop is Stop.PROCESS:
            end, why = verify(
                segment, segment.offset_index.last()[1], interval, holes_below=holes_below
            )
        elif active:
            try:
                segment.recent_floor = end = segment.next_offset()
            except scan.NotABatch:
                end, why = verify(segment, 0, interval, holes_below=holes_below)
        if why is None and bound is not None and verified:
            if end > bound:
                why = f"it goes on to {end}, past the next segment's {bound}"
            elif end < bound <= holes_below:
                pass  # compaction leaves holes, and `.deleted` files too
            elif end < bound and any(end <= base < bound for base in files.deleted):
                undone = index + 1
                logger.warning("%s: its deletion was undone, and is done again", segment.log_path)
            elif torn and end < bound and bound > holes_below:
                why = f"the next segment begins at {bound}"
        if why is not None:
            cut = end
            lost = [later for later in segments if later.base_offset > segment.base_offset]
            logger.warning(
                "%s cut at offset %d, position %d: %s%s",
                segment.log_path,
                end,
                segment.size,
                why,
                f"; {len(lost)} later segments removed" if lost else "",
            )
            if lost:
                disk.create(f"{path}/{names.CUT}", b"")
                for later in reversed(segments.remove_from(index + 1)):
                    _remove(disk, later)
            break
        _inactive_but(segment, segments)
    for segment in segments.remove_first(undone) if undone else []:
        _remove(disk, segment)
    gone_below = _deleted_end(disk, path, files)
    if end < max(log_start_offset, gone_below):
        # Not below what had been there: no offset is given twice.
        fresh = Segment(disk, handles, path, max(log_start_offset, gone_below))
        fresh.create(now_ms)
        fresh.ensure_file()
        disk.sync_directory(path)
        if holes_below and end > max(log_start_offset, segments.first.base_offset):
            # What compaction made of deleted segments stands for them.
            segments.active.become_inactive()
            segments.append(fresh)
        else:
            logger.warning("%s ends at %d, below %d: emptied", path, end, fresh.base_offset)
            for segment in segments.replace_all(fresh):
                _remove(disk, segment)
        end = fresh.base_offset
    start = max(log_start_offset, segments.first.base_offset)
    trusted = end
    if stop is Stop.MACHINE or cut is not None:
        trusted = min(doubted_base, end)
    # One from below the log's beginning was removed, and is back: between lies what nobody knows.
    first = segments.first.base_offset
    unwanted = [at for at in files.snapshots if not first <= at <= trusted]
    for offset in unwanted:
        disk.remove(f"{path}/{names.offset_file(offset, names.SNAPSHOT)}")
        files.snapshots.remove(offset)
    if unwanted or undone or cut is not None:
        disk.sync_directory(path)
    if cut_before:
        # It must not be undone beyond what is appended next.
        _sync(disk, [segments.active.log_path])
        disk.sync_directory(path)
    if cut_before or cut is not None:
        with contextlib.suppress(FileNotFoundError):
            disk.remove(f"{path}/{names.CUT}")
            files.leftovers[:] = [name for name in files.leftovers if name != names.CUT]
    _remove_leftovers(disk, path, files)
    if stop is Stop.PROCESS:
        # It may have died between the first batch of an epoch and the epoch file.
        trusted = min(trusted, segments.active.offset_index.last()[0])
    epochs = _load_epochs(disk, path, segments, end, trusted, start)
    producers = ProducerStates()
    load_producers(producers, disk, path, files.snapshots, segments, start, end, rebuild=True)
    unsynced = () if stop is Stop.CLEAN else tuple(segments.from_offset(doubted_base))[:-1]
    return Loaded(segments, start, end, epochs, producers, files.snapshots, cut, unsynced)


class _Files(NamedTuple):
    bases: list[Offset]
    snapshots: list[Offset]
    deleted: list[Offset]
    """Segments that are being deleted: the oldest first, but a power cut may keep any of them."""
    leftovers: list[str]
    """Names of what deletion and torn writes left."""
    orphans: list[str]
    """Names of indexes beside which there is no log file."""


def _list(disk: Disk, path: str) -> _Files:
    """Return what is there."""
    entries = disk.list(path)
    if any(name.endswith(names.SWAP) for name in entries):
        _complete_swaps(disk, path, entries)
        entries = disk.list(path)
    files = _Files([], [], [], [], [])
    indexes: list[tuple[Offset, str]] = []
    for name in entries:
        parsed = names.parse_offset_file(name)
        if parsed is None:
            if name.endswith((names.DELETED, names.CLEANED, ".tmp")):
                files.leftovers.append(name)
            if name.endswith(names.LOG + names.DELETED):
                files.deleted.append(int(name[:20]))
        elif parsed[1] == names.LOG:
            files.bases.append(parsed[0])
        elif parsed[1] == names.SNAPSHOT:
            files.snapshots.append(parsed[0])
        else:
            indexes.append((parsed[0], name))
    known = set(files.bases)
    files.orphans.extend(name for base, name in indexes if base not in known)
    return files


def _deleted_end(disk: Disk, path: str, files: _Files) -> Offset:
    """Return where the segments being deleted end, if none follows them; else 0.

    Retention always leaves a newer one; a power cut may have taken its name. What
    is there of older ones then is what came back.
    """
    if not files.deleted or (files.bases and files.bases[-1] >= files.deleted[-1]):
        return 0
    end = files.deleted[-1]
    file = disk.open(f"{path}/{names.offset_file(end, names.LOG)}{names.DELETED}")
    try:
        for header, _ in _checked(file.pread, 0, file.size()):
            if header is not None:
                end = header.next_offset
    finally:
        file.close()
    return end


def _remove_leftovers(disk: Disk, path: str, files: _Files) -> None:
    if files.deleted:
        # None of their names may come back when those of the later ones have gone.
        disk.sync_directory(path)
    for name in files.leftovers:
        disk.remove(f"{path}/{name}")


def _complete_swaps(disk: Disk, path: str, entries: list[str]) -> None:
    """Finish a compaction that had written its result and was putting it in place.

    The result, `.swap` files, stands for all segments up to its end. If there
    are `.cleaned` files too, a result at or above the first of them is not whole
    and goes; what it was made from is still there. Of each result the `.log` gets
    its name last: as long as that is a `.swap`, there may be more to remove.
    """
    cleaned = [name for name in entries if name.endswith(names.CLEANED)]
    first_cleaned = min((int(name[:20]) for name in cleaned), default=None)
    swaps = [name for name in entries if name.endswith(names.SWAP)]
    ends: dict[Offset, Offset] = {}
    for name in swaps:
        base = int(name[:20])
        if first_cleaned is not None and base >= first_cleaned:
            disk.remove(f"{path}/{name}")
        elif name.endswith(names.LOG + names.SWAP):
            ends[base] = _end_of(disk, f"{path}/{name}", base)
    for name in entries:
        parsed = names.parse_offset_file(name)
        if parsed is None:
            continue
        offset, suffix = parsed
        # The producers' state where the first of the segments began is still what it was.
        first_too = 0 if suffix == names.SNAPSHOT else 1
        if any(base - first_too < offset < end for base, end in ends.items()):
            disk.remove(f"{path}/{name}")
    for name in sorted(swaps, key=lambda name: name.endswith(names.LOG + names.SWAP)):
        if int(name[:20]) in ends:
            logger.info("%s/%s: completing a compaction", path, name)
            disk.rename(f"{path}/{name}", f"{path}/{name.removesuffix(names.SWAP)}")
        elif disk.exists(f"{path}/{name}"):
            disk.remove(f"{path}/{name}")  # an index alone, which can be made anew
    disk.sync_directory(path)


def _end_of(disk: Disk, path: str, base: Offset) -> Offset:
    file = disk.open(path)
    end = base
    try:
        for found in scan.places(file.pread, 0, file.size()):
            end = found.last_offset + 1
    except scan.NotABatch as error:
        logger.warning("%s: %s", path, error)
    finally:
        file.close()
    return end


def _segments(disk: Disk, handles: Handles, path: str, bases: list[Offset]) -> Segments:
    return Segments([Segment(disk, handles, path, base) for base in bases or [0]])


def _inactive_but(segment: Segment, segments: Segments) -> None:
    """Keep of a closed segment only what is needed."""
    if segment is not segments.active:
        segment.become_closed()


def _indexes_are_sound(segment: Segment, stop: Stop, active: bool) -> bool:
    """Load the indexes; after a power cut look at every time, too: any page may be lost.

    So may all of them: a closed segment has at least one time.
    """
    offset_index, time_index = segment.offset_index, segment.time_index
    if not (offset_index.load() and offset_index.fits(segment.size) and time_index.load()):
        return False
    if stop is Stop.MACHINE and not active and segment.size and not time_index.entries:
        return False
    return stop is not Stop.MACHINE or time_index.is_sound()


def _sync(disk: Disk, paths: list[str]) -> None:
    for path in paths:
        if disk.exists(path):
            file = disk.open(path)
            try:
                file.sync()
            finally:
                file.close()


def _remove(disk: Disk, segment: Segment) -> None:
    segment.handle.discard()
    for path in segment.paths():
        if disk.exists(path):
            disk.remove(path)


# Verifying.


def verify(
    segment: Segment,
    position: int,
    index_interval_bytes: int,
    *,
    holes_below: Offset = INT64_MAX,
    cut: bool = True,
) -> tuple[Offset, str | None]:
    """Check the batches from `position` on, index them, and cut at the first bad one.

    Position 0 makes the indexes anew; elsewhere they are continued, and
    `position` is that of the last indexed batch. Offsets follow each other
    without holes from `holes_below` on. Without `cut`, what is bad stays where
    it is, and is no reason to doubt what follows.

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
        segment.transaction_index.reset()
        segment.largest_timestamp = segment.time_index.last_timestamp
        segment.largest_timestamp_offset = segment.base_offset
    segment.size = position
    segment.bytes_since_index_entry = 0
    end = segment.base_offset
    why: str | None = None
    first = True
    for header, reason in _checked(file.pread, position, file_size):
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
        segment.disk.create(f"{segment.directory}/{names.CUT}", b"")
        file.truncate(segment.size)
        file.sync()
        segment.offset_index.truncate_to_position(segment.size)
        segment.time_index.truncate_to(end)
        segment.transaction_index.truncate_to(end)
    return end, why


def _checked(
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
                yield None, f"{len(chunk)} bytes are left"
                return
        size = size_at(chunk, at)
        if size < HEADER_SIZE or position + size > end:
            yield None, f"a batch of {size} bytes where {end - position} are left"
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


# Leader epochs.


def _load_epochs(
    disk: Disk,
    path: str,
    segments: Segments,
    log_end_offset: Offset,
    trusted: Offset | None = None,
    log_start_offset: Offset | None = None,
) -> LeaderEpochs:
    """Read the epoch file; from `trusted` on, or without one, ask the batches.

    So too for what lies before its first entry, if `log_start_offset` says that
    there is anything: records may have been deleted, and be back.
    """
    file = f"{path}/{names.LEADER_EPOCH_CHECKPOINT}"
    epochs = None
    try:
        epochs = LeaderEpochs.parse(disk.read(file))
    except FileNotFoundError:
        pass
    except CheckpointError as error:
        logger.warning("%s is made anew: %s", file, error)
    if epochs is None:
        epochs = LeaderEpochs()
        trusted = segments.first.base_offset
    elif log_start_offset is not None:
        epochs = _with_older(epochs, segments, log_start_offset)
    if trusted is None or trusted >= log_end_offset:
        epochs.truncate_from_end(log_end_offset)
        return epochs
    epochs.truncate_from_end(trusted)
    for header in headers_from(segments, trusted):
        if header.leader_epoch > epochs.latest:
            epochs.assign(header.leader_epoch, header.base_offset)
    if epochs.dirty:
        disk.write(file, epochs.text(), sync=False)
        epochs.dirty = False
    return epochs


def _with_older(epochs: LeaderEpochs, segments: Segments, start: Offset) -> LeaderEpochs:
    """Return `epochs` with those of the records between `start` and its first entry."""
    known = list(epochs)
    if not known or known[0][1] <= start:
        return epochs
    whole = LeaderEpochs()
    for header in headers_from(segments, start):
        if header.base_offset >= known[0][1]:
            break
        whole.assign(header.leader_epoch, max(header.base_offset, start))
    for epoch, offset in known:
        whole.assign(epoch, offset)
    return whole


def headers_from(segments: Segments, offset: Offset) -> Iterator[BatchHeader]:
    """Yield the headers of all batches that end at or after `offset`."""
    for segment in segments.from_offset(offset):
        if segment.size == 0:
            continue
        read = segment.handle.get().pread
        position = segment.offset_index.lookup(offset) if offset > segment.base_offset else 0
        with _damage(segment):
            for header in scan.headers(read, position, segment.size):
                if header.last_offset >= offset:
                    yield header


@contextlib.contextmanager
def _damage(segment: Segment) -> Iterator[None]:
    """A damaged batch in a closed segment is for its readers to meet; here the walk ends."""
    try:
        yield
    except scan.NotABatch as error:
        logger.error("%s is damaged: %s", segment.log_path, error)


# Producers.


def load_producers(
    producers: ProducerStates,
    disk: Disk,
    path: str,
    snapshots: list[Offset],
    segments: Segments,
    log_start_offset: Offset,
    log_end_offset: Offset,
    *,
    rebuild: bool = False,
) -> None:
    """Set `producers` to the state at the log's end: the latest snapshot, then the batches.

    With `rebuild`, what is missing is written on the way: a snapshot where a
    segment begins, aborted transactions in transaction indexes. A snapshot that
    does not match its checksum is removed, and an older one is taken.
    """
    # Records below the log's start that are still there say what producers sent, too.
    producers.clear(min(log_start_offset, segments.first.base_offset))
    for offset in reversed(snapshots[:]):
        if not segments.first.base_offset <= offset <= log_end_offset:
            continue
        file = f"{path}/{names.offset_file(offset, names.SNAPSHOT)}"
        try:
            producers.load(decode_snapshot(disk.read(file)), offset)
            _remember(producers, segments, offset)
            break
        except CheckpointError as error:
            logger.warning("%s is removed: %s", file, error)
            disk.remove(file)
            snapshots.remove(offset)
    start = producers.end_offset
    if start < log_end_offset:
        for segment in segments.from_offset(start):
            at = segment.base_offset
            if rebuild and at > start and at not in snapshots:
                file = f"{path}/{names.offset_file(at, names.SNAPSHOT)}"
                disk.write(file, encode_snapshot(producers.entries()), sync=False)
                snapshots.append(at)
            replay(producers, segment, start, rebuild=rebuild)
        snapshots.sort()
    producers.end_offset = log_end_offset


def _remember(producers: ProducerStates, segments: Segments, end_offset: Offset) -> None:
    """Complete what a snapshot as of `end_offset` says, from the batches before it.

    Kafka's snapshots name a producer's last batch; one with several requests in
    flight when the broker stopped sends earlier ones again, and they are duplicates too.
    """
    if not len(producers):
        return
    found: list[BatchHeader] = []
    entries = REMEMBER_ENTRIES
    index = segments.index_of(end_offset - 1)
    for segment in [segments[at] for at in range(index, max(-1, index - REMEMBER_SEGMENTS), -1)]:
        if segment.size == 0 or segment.base_offset >= end_offset:
            continue
        rows = [position for offset, position in segment.offset_index.rows() if offset < end_offset]
        position = rows[-entries] if len(rows) >= entries else 0
        here = []
        with _damage(segment):
            for header in scan.headers(segment.handle.get().pread, position, segment.size):
                if header.base_offset >= end_offset:
                    break
                here.append(header)
        found[:0] = here
        entries -= len(rows) + 1
        if entries <= 0:
            break
    producers.remember(found)


def replay(producers: ProducerStates, segment: Segment, start: Offset, *, rebuild: bool) -> None:
    """Take a segment's batches from `start` on into account; `rebuild` as for `load_producers`."""
    if segment.size == 0:
        return
    read = segment.handle.get().pread
    position = segment.offset_index.lookup(start) if start > segment.base_offset else 0
    known = -1
    if rebuild:
        rows = segment.transaction_index.rows()
        known = rows[-1].last_offset if rows else -1
    with _damage(segment):
        for header in scan.headers(read, position, segment.size):
            if header.last_offset < start or header.producer_id < 0:
                continue
            if header.attributes & CONTROL_FLAG:
                batch = read(header.size, header.position)
                aborted = apply_control_batch(producers, batch)
                if rebuild and aborted is not None and aborted.last_offset > known:
                    segment.transaction_index.append(aborted)
            else:
                producers.apply_header(header)


def apply_control_batch(producers: ProducerStates, batch: Buffer) -> AbortedTransaction | None:
    """Apply the marker a control batch holds, if it holds one."""
    header = read_header(batch)
    if header.records_count == 0 and header.producer_id >= 0:
        # Compaction has left it because no later batch has this epoch.
        producers.apply_empty_marker(
            header.producer_id, header.producer_epoch, header.max_timestamp
        )
        return None
    try:
        for record in read_records(batch):
            marker = read_end_txn_marker(record)
            if marker is not None and header.producer_id >= 0:
                return producers.apply_marker(
                    header.producer_id,
                    header.producer_epoch,
                    marker,
                    record.offset,
                    record.timestamp,
                )
    except ApiError as error:
        logger.warning("control batch at offset %d: %s", header.base_offset, error)
    return None
