"""What lies in a partition's directory after any stop, and what of it is nobody's."""

import logging
from typing import NamedTuple

from ottla.model.ids import Offset
from ottla.storage import names, scan
from ottla.storage.disk import Disk
from ottla.storage.recovery.batches import checked

logger = logging.getLogger(__name__)


class Files(NamedTuple):
    """What a partition's directory has, each list rising by offset."""

    bases: list[Offset]
    snapshots: list[Offset]
    deleted: list[Offset]
    """Segments that are being deleted: the oldest first, but a power cut may keep any of them."""
    leftovers: list[str]
    """Names of what deletion and torn writes left."""
    orphans: list[str]
    """Names of indexes beside which there is no log file."""


def list_files(disk: Disk, path: str) -> Files:
    """Return what is there, a compaction that was being put in place completed.

    Raises:
        OSError: something cannot be read or put in place.
    """
    entries = disk.list(path)
    if any(name.endswith(names.SWAP) for name in entries):
        _complete_swaps(disk, path, entries)
        entries = disk.list(path)
    files = Files([], [], [], [], [])
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


def deleted_end(disk: Disk, path: str, files: Files) -> Offset:
    """Return where the segments being deleted end, if none follows them; else 0.

    Retention always leaves a newer one; a power cut may have taken its name. What
    is there of older ones then is what came back.
    """
    if not files.deleted or (files.bases and files.bases[-1] >= files.deleted[-1]):
        return 0
    end = files.deleted[-1]
    file = disk.open(f"{path}/{names.offset_file(end, names.LOG)}{names.DELETED}")
    try:
        for header, _ in checked(file.pread, 0, file.size()):
            if header is not None:
                end = header.next_offset
    finally:
        file.close()
    return end


def remove_leftovers(disk: Disk, path: str, files: Files) -> None:
    """Remove what deletion and torn writes left, for good. Raises OSError."""
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
