"""A partition's files: its segments batch by batch, and all else against what these say."""

from collections.abc import Callable

from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import BatchHeader
from ottla.storage import checkpoints, names, recovery
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk, File
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import INT32_MAX
from ottla.storage.producer_snapshot import SnapshotEntry, decode_snapshot
from ottla.storage.producer_state import ProducerStates
from ottla.storage.verify.batches import walk
from ottla.storage.verify.findings import Checked, Finding, Kind, Progress
from ottla.storage.verify.indexes import Indexes

_KINDS = {
    names.INDEX: Kind.OFFSET_INDEX,
    names.TIME_INDEX: Kind.TIME_INDEX,
    names.TRANSACTION_INDEX: Kind.TRANSACTION_INDEX,
}


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
            indexes = Indexes(
                self.disk,
                self.path,
                base,
                self.found,
                size=size,
                active=active,
                clean=self.clean,
            )
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
            indexes.ended(whole=whole, transactions=self.complete and not self.compacted_below)
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

    def _replay(self, file: File, header: BatchHeader, indexes: Indexes) -> None:
        if header.producer_id < 0:
            return
        if header.is_control:
            batch = file.pread(header.size, header.position)
            aborted = recovery.apply_control_batch(self.producers, batch)
            if aborted is not None:
                indexes.aborted.append(aborted)
        else:
            self.producers.apply_header(header)
