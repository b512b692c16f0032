"""Small files whose contents are made on the loop and written there or by a worker."""

import threading
from collections.abc import Sequence

from ottla.storage.disk import Disk


class Newest:
    """Lets one write at a time happen, and none of older contents after newer ones.

    Contents are numbered when they are made. Whoever writes waits for the one
    before: two at once would share a temporary file.
    """

    __slots__ = ("_lock", "_made", "_written")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made = 0
        self._written: dict[str, int] = {}
        """Path -> the number of what is there."""

    def number(self) -> int:
        """Return the number of contents made now; on the loop."""
        self._made += 1
        return self._made

    def write(self, disk: Disk, writes: Sequence[tuple[str, bytes]], number: int) -> None:
        """Replace each file durably, unless something newer is there. Raises OSError."""
        with self._lock:
            for path, data in writes:
                if self._written.get(path, 0) <= number:
                    disk.write(path, data, sync=True)
                    self._written[path] = number
