"""The copy of the metadata that every broker of a cluster keeps in its log directories.

It is written a moment after a change, by a worker; the more keys there are, the longer the moment.
Should etcd's data be lost, the metadata is rebuilt from the newest of the copies and the logs; and
an etcd that knows less than a copy, restored from a backup, is refused.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from ottla.handlers.slices import in_slices
from ottla.metadata.changes import lasting_keys, partition_name
from ottla.metadata.image import Image
from ottla.metadata.store import Store
from ottla.model.clock import Clock, Timer
from ottla.model.errors import StorageError
from ottla.model.holdings import MetadataCopy
from ottla.model.names import CLUSTER_METADATA
from ottla.model.steps import Steps
from ottla.storage import names
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Disk
from ottla.storage.logs import Logs
from ottla.storage.metadata_copy import FILE, copy_line, copy_text, read_copy
from ottla.storage.removals import FilesJob

DELAY_MS = 200
KEYS_PER_MS = 2
"""A thousand keys more let a change wait for half a second more."""

HELP = "`ottla cluster rebuild-metadata` (docs/rebuild-metadata.md)"

log = logging.getLogger("ottla.metadata")


class CopyKeeper:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        directories: Callable[[], Iterable[LogDirectory]],
        run_job: Callable[[FilesJob], None],
    ) -> None:
        """`clock` is the transport clock; `directories` are those that can be written to."""
        self._store = store
        self._clock = clock
        self._directories = directories
        self._run_job = run_job
        self._image = Image()
        self._written = Image()
        self._keys = 0
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def follow(self, image: Image) -> None:
        """Write it down a moment later, if something differs that outlives brokers."""
        self._image = image
        if self._timer is None and self._task is None and not _same(image, self._written):
            delay_ms = max(DELAY_MS, self._keys // KEYS_PER_MS)
            self._timer = self._clock.call_at(self._clock.now_ms() + delay_ms, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._write())
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.result()
            self.follow(self._image)

    async def _write(self) -> None:
        image = self._image
        lines = await in_slices(self._clock, _lines(image))
        self._keys = len(lines)
        head = MetadataCopy(
            image.cluster_id,
            image.generation,
            self._store.identity,
            image.revision,
            image.decisions,
            {},
            {},
        )
        text = copy_text(head, lines)
        for directory in self._directories():
            job = FilesJob(directory)
            job.writes.append((f"{directory.path}/{FILE}", text))
            self._run_job(job)
        self._written = image

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _lines(image: Image) -> Steps[list[bytes]]:
    revisions = {}
    for topic in image.topics.values():
        for number, state in enumerate(topic.partitions):
            revisions[partition_name(topic.topic_id, number)] = state.revision
        yield
    keys = yield from lasting_keys(image)
    lines = []
    for key, value in keys:
        lines.append(copy_line(key, value, revisions.get(key, 0)))
        yield
    return lines


def _same(image: Image, other: Image) -> bool:
    """Whether nothing that outlives brokers differs; what did not change is the same object."""
    return (
        image.topics is other.topics
        and image.configs is other.configs
        and image.known_brokers is other.known_brokers
        and image.deleting is other.deleting
        and image.features is other.features
        and image.next_producer_id == other.next_producer_id
        and (image.cluster_id, image.generation) == (other.cluster_id, other.generation)
    )


def refuse_another_past(logs: Logs, image: Image, identity: str) -> None:
    """The store must know what our directories know; call it between `Logs.start` and `Logs.load`.

    Raises:
        StorageError: it is empty, or older than a copy in a directory; the message says what to do.
    """
    newest, where = _newest(logs)
    if not image.cluster_id:
        found = sum(_partitions(logs.disk, directory) for directory in logs.online())
        if found or newest is not None:
            raise StorageError(
                f"the metadata store is empty, but {logs.online()[0].path} is of cluster "
                f"{logs.roots.cluster_id}, with {found} partitions. Is it the right etcd, with "
                "the right metadata.etcd.prefix? If etcd's data is lost, stop all brokers and "
                f"bring the metadata back from their directories: {HELP}"
            )
        return
    if newest is None or newest.cluster_id != image.cluster_id:
        return
    past = None
    if image.generation < newest.generation:
        past = "it is from before the metadata was rebuilt"
    elif image.generation == newest.generation:
        if newest.identity and identity and newest.identity != identity:
            past = f"it is another etcd: cluster id {identity}, not {newest.identity}"
        elif image.revision < newest.revision:
            past = f"its revision is {image.revision}, and was {newest.revision} already"
        elif image.decisions < newest.decisions:
            past = f"it has {image.decisions} decisions, and had {newest.decisions} already"
        elif (older := _older_partition(image, newest)) is not None:
            past = f"{older} is in an older state"
    if past is not None:
        raise StorageError(
            f"the metadata store is not the one that {where} knows: {past}. Was it restored from "
            "a backup? Stop all brokers and put what their directories know on top of it: "
            f"{HELP} with --merge"
        )


def _older_partition(image: Image, copy: MetadataCopy) -> str | None:
    """A partition whose state in the image is older than in the copy."""
    for name, topic in image.topics.items():
        for number, state in enumerate(topic.partitions):
            if state.revision < copy.revisions.get(partition_name(topic.topic_id, number), 0):
                return f"{name}-{number}"
    return None


def _partitions(disk: Disk, directory: LogDirectory) -> int:
    try:
        found = map(names.parse_partition_directory, disk.list(directory.path))
    except OSError:
        return 0  # the start goes on without it, and says so
    return sum(each is not None and each.topic != CLUSTER_METADATA for each in found)


def _newest(logs: Logs) -> tuple[MetadataCopy | None, str]:
    newest, where = None, ""
    for directory in logs.online():
        try:
            copy = read_copy(logs.disk, directory.path)
        except (CheckpointError, OSError) as error:
            log.warning("%s/%s is not used: %s", directory.path, FILE, error)
            continue
        if copy is not None and (newest is None or copy.rank > newest.rank):
            newest, where = copy, f"{directory.path}/{FILE}"
    return newest, where
