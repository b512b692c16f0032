"""A log's producers and their `.snapshot` files: taking, removing, going back."""

from collections.abc import Callable

from ottla.model.ids import Offset
from ottla.storage import names, recovery
from ottla.storage.disk import Disk
from ottla.storage.producer_snapshot import encode_snapshot
from ottla.storage.producer_state import ProducerStates
from ottla.storage.segments import Segments


class ProducerHistory:
    """The state at the log's end, and the offsets at which it is on disk."""

    __slots__ = ("_disk", "_path", "offsets", "producers")

    def __init__(
        self, disk: Disk, path: str, producers: ProducerStates, offsets: list[Offset]
    ) -> None:
        self._disk = disk
        self._path = path
        self.producers = producers
        self.offsets = offsets
        """Of the snapshots, rising."""

    def take(self, offset: Offset) -> None:
        """Write the state as of `offset`, which is the log's end; not synced.

        Raises:
            OSError: it was not written.
        """
        if self.offsets and self.offsets[-1] >= offset:
            return
        path = f"{self._path}/{names.offset_file(offset, names.SNAPSHOT)}"
        self._disk.write(path, encode_snapshot(self.producers.entries()), sync=False)
        self.offsets.append(offset)

    def remove(self, unwanted: Callable[[Offset], bool]) -> None:
        """Raises OSError: a file cannot be removed."""
        for offset in [at for at in self.offsets if unwanted(at)]:
            path = f"{self._path}/{names.offset_file(offset, names.SNAPSHOT)}"
            if self._disk.exists(path):
                self._disk.remove(path)
            self.offsets.remove(offset)

    def go_back(self, segments: Segments, log_start_offset: Offset, log_end_offset: Offset) -> None:
        """Set the state back to the log's end, which was lowered. Raises OSError."""
        self.remove(lambda at: at > log_end_offset)
        recovery.load_producers(
            self.producers,
            self._disk,
            self._path,
            self.offsets,
            segments,
            log_start_offset,
            log_end_offset,
        )
