"""The log directories themselves: held, told whose they are, refused where they are not ours."""

from collections.abc import Sequence

from ottla.model.ids import uuid_from_text
from ottla.model.randomness import Randomness
from ottla.storage import checkpoints, names
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Disk, Lock

BOOT_ID = "ottla-boot-id"
"""The boot of the kernel under which this directory is in use."""


class LogsError(Exception):
    """A log directory cannot be used; the message is for the user."""


class Roots:
    """Every directory of `log.dirs`, those that are offline too."""

    def __init__(
        self, disk: Disk, directories: Sequence[LogDirectory], randomness: Randomness
    ) -> None:
        self.directories = list(directories)
        self.cluster_id: str | None = None
        """Of `meta.properties`, until `identify` has given one."""
        self.node_id: int | None = None
        self._disk = disk
        self._randomness = randomness
        self._locks: dict[LogDirectory, Lock] = {}

    def online(self) -> list[LogDirectory]:
        """Return those that have not failed."""
        return [directory for directory in self.directories if directory.is_online]

    def hold(self) -> None:
        """Create and lock the directories, read `meta.properties`.

        Raises:
            LogsError: one is held by another process, or is of another cluster
                or node than the rest, or none can be used.
        """
        for directory in self.directories:
            try:
                self._make_root(directory.path)
                self._locks[directory] = self._disk.lock(f"{directory.path}/{checkpoints.LOCK}")
                self._read_meta(directory)
            except BlockingIOError:
                self.release()
                raise LogsError(
                    f"log directory {directory.path} is in use by another process"
                ) from None
            except OSError as error:
                directory.go_offline(str(error))
            except LogsError:
                self.release()
                raise
        if not any(directory.is_online for directory in self.directories):
            self.release()
            raise LogsError(
                "no log directory can be used: "
                + "; ".join(f"{d.path}: {d.offline_reason}" for d in self.directories)
            )

    def _make_root(self, path: str) -> None:
        """Make a log directory and its parents; the names of new ones are durable."""
        parent = names.parent(path)
        if not self._disk.exists(path) and parent != path:
            self._make_root(parent)
            self._disk.make_directories(path)
            self._disk.sync_directory(parent)

    def _read_meta(self, directory: LogDirectory) -> None:
        path = f"{directory.path}/{checkpoints.META_PROPERTIES}"
        try:
            properties = checkpoints.parse_properties(self._disk.read(path))
        except FileNotFoundError:
            return
        except CheckpointError as error:
            raise LogsError(f"{path}: {error}") from None
        try:
            cluster_id = properties["cluster.id"]
            node_id = int(properties["node.id"])
            if "directory.id" in properties:
                directory.directory_id = uuid_from_text(properties["directory.id"])
        except (KeyError, ValueError) as error:
            raise LogsError(f"{path} lacks a usable {error}") from None
        for ours, theirs, what in (
            (self.cluster_id, cluster_id, "cluster.id"),
            (self.node_id, node_id, "node.id"),
        ):
            if ours is not None and ours != theirs:
                raise LogsError(f"{path} has {what} {theirs}, another log directory has {ours}")
        self.cluster_id, self.node_id = cluster_id, node_id

    def metadata_directory(self) -> str:
        """Return the path of the directory that has the metadata: the first of `log.dirs`.

        Raises:
            LogsError: it is offline. What another has says nothing of the topics.
        """
        first = self.directories[0]
        if not first.is_online:
            raise LogsError(
                f"the first log directory has the metadata, and cannot be used: {first.path}: "
                f"{first.offline_reason}"
            )
        return first.path

    def refuse_without_metadata(self) -> None:
        """There is no metadata: that may be so only where no broker of ours had any.

        Raises:
            LogsError: a directory has partitions that a broker of ours has served.
        """
        for directory in self.online():
            if not self._disk.exists(f"{directory.path}/{BOOT_ID}"):
                continue
            if any(map(names.parse_partition_directory, self._disk.list(directory.path))):
                raise LogsError(
                    f"{directory.path} has partitions, and {self.directories[0].path} no metadata "
                    "about them: is it the same first directory of log.dirs as before, and is it "
                    "mounted? To have their topics taken over without their settings, remove "
                    f"{directory.path}/{BOOT_ID}"
                )

    def identify(self, cluster_id: str, node_id: int) -> None:
        """Say whose directories these are; written where it is not yet.

        Raises:
            LogsError: they belong to another cluster or node.
        """
        for ours, given, what in (
            (self.cluster_id, cluster_id, "cluster.id"),
            (self.node_id, node_id, "node.id"),
        ):
            if ours is not None and ours != given:
                raise LogsError(f"the log directories have {what} {ours}, not {given}")
        self.cluster_id, self.node_id = cluster_id, node_id
        for directory in self.online():
            path = f"{directory.path}/{checkpoints.META_PROPERTIES}"
            if directory.directory_id == bytes(16) or not self._disk.exists(path):
                directory.directory_id = self._randomness.uuid()
                text = checkpoints.meta_properties_text(
                    cluster_id=cluster_id, node_id=node_id, directory_id=directory.directory_id
                )
                try:
                    self._disk.write(path, text, sync=True)
                except OSError as error:
                    directory.go_offline(f"{path}: {error}")

    def sync_file_system(self, directory: LogDirectory) -> bool:
        """Make all that was written there durable in one call, where that can be trusted."""
        return self._locks[directory].sync_file_system()

    def release(self) -> None:
        """Give the locks back."""
        while self._locks:
            self._locks.popitem()[1].release()
