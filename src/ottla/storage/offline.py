"""A log directory while no broker has it: verified whole, and repaired step by step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ottla.model.ids import TopicPartition
from ottla.storage import checkpoints, names, repair, verify
from ottla.storage.disk import Disk, is_read_only
from ottla.storage.verify import Checked, Finding, Progress


class InUseError(Exception):
    """A broker has the directory."""


class Target(NamedTuple):
    """A log directory, or one partition's directory in it."""

    root: str
    partitions: dict[TopicPartition, str]
    whole: bool
    """All of `root` is meant, its checkpoints too."""


def target_of(disk: Disk, path: str) -> Target:
    """Return what a path means: a partition's directory has its number in its name.

    Raises:
        ValueError: it is neither.
    """
    folder, _, name = path.rpartition("/")
    partition = names.parse_partition_directory(name)
    if partition is not None and not disk.exists(f"{path}/{checkpoints.META_PROPERTIES}"):
        return Target(folder or "/", {partition: path}, whole=False)
    partitions = verify.partitions_in(disk, path)
    if not partitions and not disk.exists(f"{path}/{checkpoints.META_PROPERTIES}"):
        raise ValueError(f"{path} is no log directory and no partition's directory")
    return Target(path, partitions, whole=True)


@contextmanager
def locked(disk: Disk, target: Target) -> Iterator[None]:
    """Keep brokers out meanwhile.

    Raises:
        InUseError: one is in.
    """
    path = f"{target.root}/{checkpoints.LOCK}"
    lock = None
    if disk.exists(path):
        try:
            lock = disk.lock(path)
        except BlockingIOError:
            raise InUseError(f"{target.root} is in use by a broker: stop it first") from None
        except OSError as error:
            if not is_read_only(error):
                raise  # where nothing can be written, no broker can be
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def size_of(disk: Disk, target: Target) -> int:
    """Return the bytes of batches in it, for a progress bar."""
    return sum(verify.log_bytes(disk, path) for path in target.partitions.values())


def verify_target(
    disk: Disk,
    target: Target,
    found: Callable[[Finding], None],
    progress: Progress = lambda size: None,
) -> dict[TopicPartition, Checked]:
    """Tell `found` of everything that is wrong. Raises OSError."""
    checked = {}
    for partition, path in target.partitions.items():
        checked[partition] = _verify(disk, target, partition, path, found, progress)
    if target.whole:
        for finding in verify.verify_directory(disk, target.root, checked):
            found(finding)
    return checked


def _verify(
    disk: Disk,
    target: Target,
    partition: TopicPartition,
    path: str,
    found: Callable[[Finding], None],
    progress: Progress = lambda size: None,
) -> Checked:
    return verify.verify_partition(
        disk,
        path,
        found,
        compacted_below=verify.compacted_below(disk, target.root, partition, path),
        log_start_offset=verify.checkpointed(disk, target.root, checkpoints.LOG_START, partition),
        clean=verify.stopped_cleanly(disk, target.root),
        progress=progress,
    )


def repair_target(
    disk: Disk,
    target: Target,
    do: Callable[[repair.Action], bool],
    unique: Callable[[], str],
    progress: Progress = lambda size: None,
) -> list[Finding]:
    """Go through the steps of a repair; return what is still wrong after it.

    Args:
        do: hears of each step and performs it, or not; returns whether it did.
        unique: makes 32 hex digits.

    Raises:
        OSError: a step failed; the steps before it are done.
    """
    left: list[Finding] = []
    checked: dict[TopicPartition, Checked] = {}
    changed = False

    def perform(plan: Iterator[repair.Action]) -> bool:
        # The whole plan is made before the first step changes what it is made from.
        done = [do(action) for action in list(plan)]
        return any(done)

    for partition, path in target.partitions.items():
        findings: list[Finding] = []
        checked[partition] = _verify(disk, target, partition, path, findings.append, progress)
        for stage in range(2):
            if not findings:
                break
            if perform(
                repair.plan_files(disk, path, findings)
                if stage
                else repair.plan_batches(disk, path, findings, unique())
            ):
                changed = True
                findings = []
                checked[partition] = _verify(disk, target, partition, path, findings.append)
        left += findings
    if target.whole:
        findings = [*left, *verify.verify_directory(disk, target.root, checked)]
        changed = perform(repair.plan_directory(disk, target.root, findings, checked)) or changed
    if changed:
        repair.forget_clean_stop(disk, target.root)
        left = []
        verify_target(disk, target, left.append)
    elif target.whole:
        left = findings
    return left
