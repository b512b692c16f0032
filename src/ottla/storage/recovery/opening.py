"""A log, opened as its broker stopped: each segment as far as it is doubted."""

import contextlib
import logging
from enum import Enum
from typing import NamedTuple

from ottla.model.ids import Offset
from ottla.storage import names, scan
from ottla.storage.disk import Disk
from ottla.storage.handles import Handles
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import INT64_MAX, LogConfig
from ottla.storage.producer_state import ProducerStates
from ottla.storage.recovery.batches import Torn, mark_damaged, verify
from ottla.storage.recovery.epochs import load_epochs
from ottla.storage.recovery.files import deleted_end, list_files, remove_leftovers
from ottla.storage.recovery.producers import load_producers
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments

logger = logging.getLogger(__name__)


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
    is_damaged: bool = False
    """What was cut was no write cut short by the death of its process: it had been whole."""


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
    files = list_files(disk, path)
    as_left = (
        files.bases
        and files.bases[-1] == active_base_offset
        and disk.size(f"{path}/{names.offset_file(active_base_offset, names.LOG)}") == active_size
    )
    never_written = not files.bases and active_size == 0 and log_end_offset == 0
    if as_left or never_written:
        remove_leftovers(disk, path, files)
        segments = _segments(disk, handles, path, files.bases)
        if never_written or all(s.open(now_ms, log_end_offset) for s in segments):
            for segment in segments:
                _inactive_but(segment, segments)
            epochs = load_epochs(disk, path, segments, log_end_offset)
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
    files = list_files(disk, path)
    if files.orphans:
        # Their segment is lost. A new one that begins there must not find its place by them.
        for name in files.orphans:
            disk.remove(f"{path}/{name}")
        disk.sync_directory(path)
    segments = _segments(disk, handles, path, files.bases)
    # A cut that came before may not be durable.
    cut_before = disk.exists(f"{path}/{names.CUT}")
    cut: Offset | None = None
    # The broker of a start before this one may not have come to say so.
    is_damaged = disk.exists(f"{path}/{names.DAMAGED}")
    finds_damage = stop is Stop.PROCESS
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
            end, why = verify(
                segment,
                0,
                interval,
                holes_below=holes_below,
                cut=torn or active,
                marks_damage=finds_damage,
            )
            if not active or any(map(disk.exists, segment.paths()[1:3])):
                segment.finish()
            if index < doubted:
                _sync(disk, segment.paths()[1:])
        elif active and stop is Stop.PROCESS:
            end, why = verify(
                segment,
                segment.offset_index.last()[1],
                interval,
                holes_below=holes_below,
                marks_damage=finds_damage,
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
            if finds_damage and not isinstance(why, Torn):
                is_damaged = True
                mark_damaged(disk, path)
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
    gone_below = deleted_end(disk, path, files)
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
    remove_leftovers(disk, path, files)
    if stop is Stop.PROCESS:
        # It may have died between the first batch of an epoch and the epoch file.
        trusted = min(trusted, segments.active.offset_index.last()[0])
    epochs = load_epochs(disk, path, segments, end, trusted, start)
    producers = ProducerStates()
    load_producers(producers, disk, path, files.snapshots, segments, start, end, rebuild=True)
    refilled = [each.transaction_index for each in segments if each.transaction_index.begun_anew]
    if refilled:
        # No later recovery looks at segments below the recovery point again.
        _sync(disk, [index.path for index in refilled])
        disk.sync_directory(path)
    unsynced = () if stop is Stop.CLEAN else tuple(segments.from_offset(doubted_base))[:-1]
    return Loaded(
        segments, start, end, epochs, producers, files.snapshots, cut, unsynced, is_damaged
    )


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
