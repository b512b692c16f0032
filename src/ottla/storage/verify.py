"""Are the files of a log directory what a broker left there?

Batches are checked by structure, checksum and order; every other file is
compared with what the batches say. Nothing is changed and nothing is trusted.

A single flipped bit is found wherever it is: under the CRC by the checksum; in
length and magic by structure; in the base offset because offsets follow each
other without holes (where compaction has been, only by order); in the leader
epoch by `leader-epoch-checkpoint`.

The walk over a segment runs its indexes, the producers and the epochs along
with the batches, so memory does not grow with the log.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from ottla.model.ids import LeaderEpoch, Offset, TopicPartition, Uuid
from ottla.record.batch import HEADER_SIZE, MAGIC, BatchHeader, read_header, size_at, verify_crc
from ottla.storage import checkpoints, clean_stop, names, recovery
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk, File
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import INT32_MAX
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.producer_snapshot import SnapshotEntry, decode_snapshot
from ottla.storage.producer_state import ProducerStates
from ottla.storage.time_index import TimeIndex
from ottla.storage.transaction_index import AbortedTransaction, TransactionIndex

CHUNK_BYTES = 1024 * 1024

SPARSE_BYTES = 256 * 1024
"""An index that leaves out more than this was cut: every look-up beyond walks so far."""

UNUSED_BYTES = 4096
"""An active segment's index of at least this size may end in zeroes: Kafka allocates ahead."""


class Kind(Enum):
    """What a finding is about: it says how it can be repaired."""

    BATCH = "batch"
    EPOCH = "leader epoch"
    OFFSET_INDEX = "offset index"
    TIME_INDEX = "time index"
    TRANSACTION_INDEX = "transaction index"
    SNAPSHOT = "producer snapshot"
    EPOCH_FILE = "leader epoch file"
    METADATA = "partition metadata"
    CHECKPOINT = "checkpoint"
    IDENTITY = "meta.properties"


class Finding(NamedTuple):
    """Something is not as a broker leaves it."""

    kind: Kind
    path: str
    position: int | None
    """In bytes; None where the whole file is meant."""
    problem: str

    def __str__(self) -> str:
        place = "" if self.position is None else f"position {self.position}: "
        return f"{self.path}: {place}{self.problem}"


Progress = Callable[[int], None]
"""Hears of so many more bytes of `.log` files that were checked."""


class Checked(NamedTuple):
    """What verifying a partition found out besides its findings."""

    first_offset: Offset
    """Where its oldest segment begins."""
    end_offset: Offset | None
    """None: the end of its last segment cannot be read."""


def log_bytes(disk: Disk, path: str) -> int:
    """Return how many bytes of `.log` files a partition's directory has, for a progress bar."""
    return sum(
        disk.size(f"{path}/{name}")
        for name in disk.list(path)
        if (parsed := names.parse_offset_file(name)) is not None and parsed[1] == names.LOG
    )


def partitions_in(disk: Disk, root: str) -> dict[TopicPartition, str]:
    """Return the live partitions' directories of a log directory, in order."""
    found = {
        partition: f"{root}/{name}"
        for name in disk.list(root)
        if (partition := names.parse_partition_directory(name)) is not None
        and disk.is_directory(f"{root}/{name}")
    }
    return dict(sorted(found.items()))


# A log directory's own files.


def verify_directory(
    disk: Disk, root: str, checked: Mapping[TopicPartition, Checked]
) -> Iterator[Finding]:
    """Yield what is wrong with the files beside the partitions.

    Args:
        checked: every partition of the directory, verified.
    """
    yield from _meta_properties(disk, f"{root}/{checkpoints.META_PROPERTIES}")
    for name, what in (
        (checkpoints.RECOVERY_POINT, "flushed up to"),
        (checkpoints.HIGH_WATERMARK, "committed up to"),
        (checkpoints.LOG_START, "deleted up to"),
        (checkpoints.CLEANER, "compacted up to"),
    ):
        yield from _offset_checkpoint(disk, f"{root}/{name}", what, checked)
        yield from _ids_of_checkpoint(disk, f"{root}/{checkpoints.IDS_OF}{name}")
    yield from _clean_stop(disk, root, checked)


def _meta_properties(disk: Disk, path: str) -> Iterator[Finding]:
    try:
        properties = checkpoints.parse_properties(disk.read(path))
    except FileNotFoundError:
        yield Finding(Kind.IDENTITY, path, None, "is missing: whose directory is this?")
        return
    except CheckpointError as error:
        yield Finding(Kind.IDENTITY, path, None, str(error))
        return
    for key, valid in (("cluster.id", str.isascii), ("node.id", str.isdecimal)):
        if not properties.get(key) or not valid(properties[key]):
            yield Finding(Kind.IDENTITY, path, None, f"has no usable {key}")


def _offset_checkpoint(
    disk: Disk, path: str, what: str, checked: Mapping[TopicPartition, Checked]
) -> Iterator[Finding]:
    try:
        offsets = checkpoints.parse_offsets(disk.read(path))
    except FileNotFoundError:
        return  # a broker that died young wrote none; the start does without
    except CheckpointError as error:
        yield Finding(Kind.CHECKPOINT, path, None, str(error))
        return
    for partition, offset in offsets.items():
        known = checked.get(partition)
        if known is None or known.end_offset is None:
            continue
        if not 0 <= offset <= known.end_offset:
            problem = f"{_name(partition)} is {what} {offset}, but ends at {known.end_offset}"
            yield Finding(Kind.CHECKPOINT, path, None, problem)


def _ids_of_checkpoint(disk: Disk, path: str) -> Iterator[Finding]:
    try:
        checkpoints.parse_topic_ids(disk.read(path))
    except FileNotFoundError:
        return  # Kafka has none
    except CheckpointError as error:
        yield Finding(Kind.CHECKPOINT, path, None, str(error))


def _clean_stop(
    disk: Disk, root: str, checked: Mapping[TopicPartition, Checked]
) -> Iterator[Finding]:
    path = f"{root}/{clean_stop.FILE}"
    try:
        nonce = checkpoints.parse_clean_shutdown(disk.read(f"{root}/{checkpoints.CLEAN_SHUTDOWN}"))
        _, stopped = clean_stop.parse_clean_stop(disk.read(path), nonce)
    except FileNotFoundError:
        return
    except CheckpointError as error:
        yield Finding(Kind.CHECKPOINT, path, None, str(error))
        return
    marks = (
        (checkpoints.RECOVERY_POINT, {p: log.summary.log_end_offset for p, log in stopped.items()}),
        (checkpoints.HIGH_WATERMARK, {p: log.high_watermark for p, log in stopped.items()}),
    )
    for partition, log in stopped.items():
        known = checked.get(partition)
        end = log.summary.log_end_offset
        if known is not None and known.end_offset not in (None, end):
            problem = f"{_name(partition)} ended at {end}, now at {known.end_offset}"
            yield Finding(Kind.CHECKPOINT, path, None, problem)
        metadata = f"{root}/{_name(partition)}/{names.PARTITION_METADATA}"
        if known is not None and _topic_id(disk, metadata) not in (None, log.topic_id):
            yield Finding(Kind.METADATA, metadata, None, "has another topic id than at the stop")
    for name, offsets in marks:
        if _parsed(disk, f"{root}/{name}") not in (None, offsets):
            problem = "is not what the clean stop left"
            yield Finding(Kind.CHECKPOINT, f"{root}/{name}", None, problem)


def _topic_id(disk: Disk, path: str) -> Uuid | None:
    try:
        return checkpoints.parse_partition_metadata(disk.read(path))
    except (FileNotFoundError, CheckpointError):
        return None


def _parsed(disk: Disk, path: str) -> dict[TopicPartition, Offset] | None:
    try:
        return checkpoints.parse_offsets(disk.read(path))
    except CheckpointError:
        return None  # told of already
    except FileNotFoundError:
        return {}


def stopped_cleanly(disk: Disk, root: str) -> bool:
    return disk.exists(f"{root}/{checkpoints.CLEAN_SHUTDOWN}")


def checkpointed(disk: Disk, root: str, name: str, partition: TopicPartition) -> Offset:
    """Return what a log directory's checkpoint says of a partition, 0 where it says nothing."""
    try:
        return checkpoints.parse_offsets(disk.read(f"{root}/{name}")).get(partition, 0)
    except (FileNotFoundError, CheckpointError):
        return 0


def compacted_below(disk: Disk, root: str, partition: TopicPartition, path: str) -> Offset:
    """Return the offset below which a log may have holes, 0 if it was never compacted.

    The cleaner's checkpoint has it from its first compaction on, but says how far that
    came only at its end, and a broker may die before. What is appended to has no holes.
    """
    try:
        known = checkpoints.parse_offsets(disk.read(f"{root}/{checkpoints.CLEANER}"))
        ids_path = f"{root}/{checkpoints.IDS_OF}{checkpoints.CLEANER}"
        ids = checkpoints.parse_topic_ids(disk.read(ids_path)) if disk.exists(ids_path) else None
    except (FileNotFoundError, CheckpointError):
        return 0
    if partition not in known:
        return 0
    if ids is not None:
        topic_id = _topic_id(disk, f"{path}/{names.PARTITION_METADATA}")
        if topic_id is not None and partition in ids and ids[partition] != topic_id:
            return 0  # of another topic, which had that name
    bases = [found[0] for name in disk.list(path) if (found := _log_file(name))]
    return max(known[partition], *bases, 0)


def _log_file(name: str) -> tuple[Offset, str] | None:
    found = names.parse_offset_file(name)
    return found if found is not None and found[1] == names.LOG else None


# A partition.


def verify_partition(
    disk: Disk,
    path: str,
    found: Callable[[Finding], None],
    *,
    compacted_below: Offset = 0,
    log_start_offset: Offset = 0,
    clean: bool = True,
    progress: Progress = lambda size: None,
) -> Checked:
    """Tell `found` of everything that is wrong in a partition's directory.

    Args:
        compacted_below: offsets below it may have holes.
        log_start_offset: below it nobody reads, and epochs are forgotten.
        clean: the broker stopped cleanly, so its files are complete.

    Raises:
        OSError: something cannot be read.
    """
    return _Partition(
        disk, path, found, compacted_below, log_start_offset, clean, progress
    ).verify()


class _Partition:
    def __init__(
        self,
        disk: Disk,
        path: str,
        found: Callable[[Finding], None],
        compacted_below: Offset,
        log_start_offset: Offset,
        clean: bool,
        progress: Progress,
    ) -> None:
        self.disk = disk
        self.path = path
        self.found = found
        self.compacted_below = compacted_below
        self.log_start_offset = log_start_offset
        self.clean = clean
        self.progress = progress
        self.epoch_file = f"{path}/{names.LEADER_EPOCH_CHECKPOINT}"
        self.epochs: LeaderEpochs | None = None
        self.latest_epoch: LeaderEpoch = -1
        self.first_of_epoch: dict[LeaderEpoch, Offset] = {}
        self.disagreement: tuple[LeaderEpoch, LeaderEpoch] | None = None
        """What the epoch file and the batch before said, where they differed."""
        self.epoch_file_told = False
        self.epochs_differ = False
        self.producers = ProducerStates()
        self.complete = True
        """Every batch so far was good, so that `producers` is what the log says."""

    def verify(self) -> Checked:
        bases, snapshots = self._files()
        self._load_epochs()
        self._begin_producers(bases, snapshots)
        expected: Offset | None = None
        for at, base in enumerate(bases):
            active = at + 1 == len(bases)
            bound = None if active else bases[at + 1]
            if at:
                self._check_snapshot(base, snapshots)
            if expected is not None and expected != base and base > self.compacted_below:
                path = self._file(base, names.LOG)
                self._tell(Kind.BATCH, path, None, f"begins at {base}, where {expected} is next")
            expected = self._verify_segment(base, bound, active)
        if bases and expected is not None:
            self._check_end(bases, snapshots, expected)
        return Checked(bases[0] if bases else 0, expected if bases else 0)

    def _tell(self, kind: Kind, path: str, position: int | None, problem: str) -> None:
        self.found(Finding(kind, path, position, problem))

    def _file(self, offset: Offset, suffix: str) -> str:
        return f"{self.path}/{names.offset_file(offset, suffix)}"

    def _files(self) -> tuple[list[Offset], list[Offset]]:
        """Return the base offsets of segments, and the offsets of snapshots; tell of strangers."""
        offsets: dict[str, list[Offset]] = {}
        listed = self.disk.list(self.path)
        for name in listed:
            parsed = names.parse_offset_file(name)
            if parsed is not None:
                offsets.setdefault(parsed[1], []).append(parsed[0])
        bases = offsets.get(names.LOG, [])
        for suffix, kind in _KINDS.items():
            for offset in offsets.get(suffix, []):
                if offset not in bases:
                    self._tell(kind, self._file(offset, suffix), None, "has no log beside it")
        if names.PARTITION_METADATA not in listed:
            if not self.path.rpartition("/")[2].startswith("__cluster_metadata-"):
                path = f"{self.path}/{names.PARTITION_METADATA}"
                self._tell(Kind.METADATA, path, None, "is missing: of which topic is this?")
        else:
            self._check_metadata(f"{self.path}/{names.PARTITION_METADATA}")
        return bases, offsets.get(names.SNAPSHOT, [])

    def _check_metadata(self, path: str) -> None:
        try:
            checkpoints.parse_partition_metadata(self.disk.read(path))
        except CheckpointError as error:
            self._tell(Kind.METADATA, path, None, str(error))

    # Leader epochs.

    def _load_epochs(self) -> None:
        try:
            self.epochs = LeaderEpochs.parse(data := self.disk.read(self.epoch_file))
        except FileNotFoundError:
            return
        except CheckpointError as error:
            self._tell(Kind.EPOCH_FILE, self.epoch_file, None, str(error))
            return
        if list(self.epochs) != checkpoints.parse_pairs(data):
            self._tell(Kind.EPOCH_FILE, self.epoch_file, None, "its epochs do not rise")

    def _check_epoch(self, path: str, header: BatchHeader) -> None:
        epoch = header.leader_epoch
        if self.epochs is None:
            if epoch >= 0 and self.latest_epoch < 0:
                self._tell(Kind.EPOCH_FILE, self.epoch_file, None, "is missing")
        else:
            listed = self.epochs.epoch_of(header.base_offset)
            forgotten = listed < 0 and header.base_offset < self.log_start_offset
            if listed != epoch and not forgotten:
                self._disagree(path, header, listed)
                return
            self.disagreement = None
        if epoch < self.latest_epoch:
            problem = f"leader epoch {epoch} after {self.latest_epoch}"
            self._tell(Kind.EPOCH, path, header.position, problem)
        self.latest_epoch = max(self.latest_epoch, epoch)
        self.first_of_epoch.setdefault(epoch, header.base_offset)

    def _disagree(self, path: str, header: BatchHeader, listed: LeaderEpoch) -> None:
        """One batch alone may be wrong; where two agree, the file is."""
        self.epochs_differ = True
        epoch = header.leader_epoch
        named = str(listed) if listed >= 0 else "none"
        if self.disagreement != (listed, epoch):
            problem = f"leader epoch {epoch}, where {names.LEADER_EPOCH_CHECKPOINT} has {named}"
            self._tell(Kind.EPOCH, path, header.position, problem)
        elif not self.epoch_file_told:
            self.epoch_file_told = True
            problem = f"has {named} where batches have {epoch}, at offset {header.base_offset}"
            self._tell(Kind.EPOCH_FILE, self.epoch_file, None, problem)
        self.disagreement = (listed, epoch)

    # Producers.

    def _begin_producers(self, bases: list[Offset], snapshots: list[Offset]) -> None:
        """Start from what was known before the first batch, if anything can have been."""
        for offset in snapshots:
            entries = self._read_snapshot(offset)
            if entries is not None and bases and offset == bases[0]:
                self.producers.load(entries, offset)
                return
        self.complete = not bases or bases[0] == 0

    def _read_snapshot(self, offset: Offset) -> list[SnapshotEntry] | None:
        path = self._file(offset, names.SNAPSHOT)
        try:
            return decode_snapshot(self.disk.read(path))
        except CheckpointError as error:
            self._tell(Kind.SNAPSHOT, path, None, str(error))
            return None

    def _check_snapshot(self, offset: Offset, snapshots: list[Offset]) -> None:
        """Compare a snapshot with the batches below it: the producers that both know."""
        path = self._file(offset, names.SNAPSHOT)
        if offset not in snapshots:
            if not self.path.rpartition("/")[2].startswith("__cluster_metadata-"):
                self._tell(Kind.SNAPSHOT, path, None, "is missing")
            return
        try:
            entries = decode_snapshot(self.disk.read(path))
        except CheckpointError:
            return  # told of already
        for entry in entries:
            if entry.last_offset >= offset:
                problem = f"producer {entry.producer_id} wrote offset {entry.last_offset}"
                self._tell(Kind.SNAPSHOT, path, None, problem)
            known = self.producers.producers.get(entry.producer_id)
            if known is None or not self.complete or self.compacted_below:
                continue
            ours = known.entry()
            if (ours.producer_epoch, ours.last_sequence) != (
                entry.producer_epoch,
                entry.last_sequence,
            ):
                problem = (
                    f"producer {entry.producer_id} is at epoch {entry.producer_epoch}, sequence "
                    f"{entry.last_sequence}; in the log at {ours.producer_epoch}, "
                    f"{ours.last_sequence}"
                )
                self._tell(Kind.SNAPSHOT, path, None, problem)

    def _check_end(self, bases: list[Offset], snapshots: list[Offset], end: Offset) -> None:
        for offset in snapshots:
            if offset > end:
                path = self._file(offset, names.SNAPSHOT)
                self._tell(
                    Kind.SNAPSHOT, path, None, f"is of offset {offset}; the log ends at {end}"
                )
        if end not in bases and (self.clean or end in snapshots):
            self._check_snapshot(end, snapshots)
        if self.epochs is not None:
            for epoch, start in self.epochs:
                if start > end:
                    problem = f"epoch {epoch} begins at {start}; the log ends at {end}"
                    self._tell(Kind.EPOCH_FILE, self.epoch_file, None, problem)
                first = self.first_of_epoch.get(epoch, start)
                known = start > max(self.log_start_offset, self.compacted_below, bases[0])
                if known and first != start and not self.epochs_differ:
                    problem = f"epoch {epoch} begins at {start}, in the log at {first}"
                    self._tell(Kind.EPOCH_FILE, self.epoch_file, None, problem)

    # Segments.

    def _verify_segment(self, base: Offset, bound: Offset | None, active: bool) -> Offset | None:
        """Return the offset after its last batch, None if that cannot be known."""
        path = self._file(base, names.LOG)
        file = self.disk.open(path)
        try:
            size = file.size()
            indexes = _Indexes(self, base, size, active)
            end = base
            whole = True
            for header, problem in walk(file, size, self.progress):
                if header is None:
                    self.complete = False
                    self._tell(Kind.BATCH, path, problem[0], problem[1])
                    whole = False
                    break
                if problem[1]:
                    self.complete = False
                    self._tell(Kind.BATCH, path, header.position, problem[1])
                if self._check_offset(path, header, base, end, bound):
                    self._check_epoch(path, header)
                indexes.batch(header)
                self._replay(file, header, indexes)
                end = header.next_offset
            indexes.ended(whole=whole)
        finally:
            file.close()
        if not whole:
            return None
        if bound is not None and end < bound and bound > self.compacted_below:
            self._tell(Kind.BATCH, path, size, f"ends at {end}, the next segment begins at {bound}")
            self.complete = False
            return bound
        return end

    def _check_offset(
        self, path: str, header: BatchHeader, base: Offset, end: Offset, bound: Offset | None
    ) -> bool:
        first = header.base_offset
        problem = None
        if first < end:
            problem = f"offset {first}, where {end} is next"
        elif first > end and first > self.compacted_below:
            problem = f"offset {first}, where {end} is next: what was between is missing"
        elif bound is not None and header.next_offset > bound:
            problem = f"goes on to {header.next_offset}, past the next segment's {bound}"
        elif header.last_offset - base > INT32_MAX or header.last_offset_delta < 0:
            problem = f"ends at offset {header.last_offset}, too far from the segment's {base}"
        if problem is not None:
            self._tell(Kind.BATCH, path, header.position, problem)
        return problem is None

    def _replay(self, file: File, header: BatchHeader, indexes: "_Indexes") -> None:
        if header.producer_id < 0:
            return
        if header.is_control:
            batch = file.pread(header.size, header.position)
            aborted = recovery.apply_control_batch(self.producers, batch)
            if aborted is not None:
                indexes.aborted.append(aborted)
        else:
            self.producers.apply_header(header)


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


# Indexes, in step with the batches.


class _Indexes:
    """The three indexes of one segment, compared with its batches as they go by."""

    def __init__(self, partition: _Partition, base: Offset, size: int, active: bool) -> None:
        self.partition = partition
        self.active = active
        self.size = size
        self.must_exist = size > 0 and (not active or partition.clean)
        self.offset_index = partition._file(base, names.INDEX)
        self.time_index = partition._file(base, names.TIME_INDEX)
        self.transaction_index = partition._file(base, names.TRANSACTION_INDEX)
        self.aborted: list[AbortedTransaction] = []
        """What the batches say belongs in the transaction index."""
        self._largest_timestamp = -1
        self._last_batch = 0
        self._offsets = self._load_offsets(base)
        self._next_offset = 0
        self._times = self._load_times(base)
        self._next_time = 0

    def _tell(self, kind: Kind, path: str, position: int | None, problem: str) -> None:
        self.partition._tell(kind, path, position, problem)

    def _load_offsets(self, base: Offset) -> list[tuple[Offset, int]]:
        disk = self.partition.disk
        index = OffsetIndex(disk, self.offset_index, base)
        index.load()
        rows = self._used(Kind.OFFSET_INDEX, self.offset_index, 8, index.rows(), (base, 0))
        return self._rising(Kind.OFFSET_INDEX, self.offset_index, 8, rows, strictly=(0, 1))

    def _load_times(self, base: Offset) -> list[tuple[int, Offset]]:
        index = TimeIndex(self.partition.disk, self.time_index, base)
        index.load()
        rows = self._used(Kind.TIME_INDEX, self.time_index, 12, index.rows(), (0, base))
        return self._rising(Kind.TIME_INDEX, self.time_index, 12, rows, strictly=(0,))

    def _used(
        self, kind: Kind, path: str, entry: int, rows: list[tuple[int, int]], zero: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """Leave out the zeroes at the end, where they may be; tell of a file that is not whole."""
        disk = self.partition.disk
        if not disk.exists(path):
            if self.must_exist:
                self._tell(kind, path, None, "is missing")
            return []
        size = disk.size(path)
        if size % entry:
            self._tell(kind, path, size - size % entry, "the last entry is cut off")
        used = len(rows)
        while used and rows[used - 1] == zero:
            used -= 1
        unused = len(rows) - used
        if unused and not (self.active and unused * entry >= UNUSED_BYTES):
            self._tell(kind, path, used * entry, f"the last {unused} entries are zeroes")
        return rows[:used]

    def _rising(
        self,
        kind: Kind,
        path: str,
        entry: int,
        rows: list[tuple[int, int]],
        *,
        strictly: tuple[int, ...],
    ) -> list[tuple[int, int]]:
        for at in range(1, len(rows)):
            before, row = rows[at - 1], rows[at]
            if row < before or any(row[column] <= before[column] for column in strictly):
                self._tell(kind, path, at * entry, f"entry {row} after {before}")
                return rows[:at]
        return rows

    def batch(self, header: BatchHeader) -> None:
        position, last = header.position, header.last_offset
        self._last_batch = position
        largest = self._largest_timestamp
        self._largest_timestamp = max(largest, header.max_timestamp)
        offsets, at = self._offsets, self._next_offset
        while at < len(offsets) and offsets[at][1] <= position:
            problem = None
            if offsets[at][1] < position:
                problem = f"no batch begins at {offsets[at][1]}"
            elif offsets[at][0] != last:
                problem = f"offset {offsets[at][0]}, but the batch there ends at {last}"
            if problem is not None:
                self._tell(Kind.OFFSET_INDEX, self.offset_index, at * 8, problem)
            at += 1
        self._next_offset = at
        times, at = self._times, self._next_time
        while at < len(times) and times[at][1] <= last:
            problem = None
            if times[at][1] < last:
                problem = f"no batch ends at offset {times[at][1]}"
            elif times[at][0] != header.max_timestamp:
                problem = f"timestamp {times[at][0]}, but its batch has {header.max_timestamp}"
            elif times[at][0] <= largest:
                problem = f"timestamp {times[at][0]} was there before offset {last}"
            if problem is not None:
                self._tell(Kind.TIME_INDEX, self.time_index, at * 12, problem)
            at += 1
        self._next_time = at

    def ended(self, *, whole: bool) -> None:
        """The batches are through; `whole` says that they reached the end of the file."""
        if not whole:
            return
        for at in range(self._next_offset, len(self._offsets)):
            problem = f"no batch begins at {self._offsets[at][1]}"
            self._tell(Kind.OFFSET_INDEX, self.offset_index, at * 8, problem)
        for at in range(self._next_time, len(self._times)):
            problem = f"no batch ends at offset {self._times[at][1]}"
            self._tell(Kind.TIME_INDEX, self.time_index, at * 12, problem)
        disk = self.partition.disk
        last = self._offsets[-1][1] if self._offsets else 0
        if disk.exists(self.offset_index) and self._last_batch - last > SPARSE_BYTES:
            problem = f"has no entry for the {self.size - last} bytes after position {last}"
            self._tell(Kind.OFFSET_INDEX, self.offset_index, len(self._offsets) * 8, problem)
        largest = self._times[-1][0] if self._times else -1
        if self.must_exist and disk.exists(self.time_index) and largest < self._largest_timestamp:
            problem = f"ends with timestamp {largest}, the log has {self._largest_timestamp}"
            self._tell(Kind.TIME_INDEX, self.time_index, len(self._times) * 12, problem)
        self._check_transactions()

    def _check_transactions(self) -> None:
        path = self.transaction_index
        index = TransactionIndex(self.partition.disk, path)
        if not index.load():
            self._tell(
                Kind.TRANSACTION_INDEX, path, len(index.rows()) * 34, "no rising, whole entries"
            )
        if not self.partition.complete or self.partition.compacted_below:
            return
        listed, said = index.rows(), self.aborted
        for at, (theirs, ours) in enumerate(zip(listed, said, strict=False)):
            if theirs != ours:
                self._tell(Kind.TRANSACTION_INDEX, path, at * 34, f"{theirs}, in the log {ours}")
                return
        if len(listed) != len(said):
            self._tell(
                Kind.TRANSACTION_INDEX,
                path,
                min(len(listed), len(said)) * 34,
                f"{len(listed)} aborted transactions, {len(said)} in the log",
            )


_KINDS = {
    names.INDEX: Kind.OFFSET_INDEX,
    names.TIME_INDEX: Kind.TIME_INDEX,
    names.TRANSACTION_INDEX: Kind.TRANSACTION_INDEX,
}


def _name(partition: TopicPartition) -> str:
    return names.partition_directory(partition)
