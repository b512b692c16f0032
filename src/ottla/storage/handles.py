"""Open files: as many as there is traffic, within a bound, and never closed in use.

A `Handle` stands for one file for as long as its segment lives; the descriptor
behind it comes and goes. A worker that reads or syncs a file holds a *lease*: a
leased handle is not closed, since a descriptor number that is used again would
read another partition.

All of it happens on the loop, but for the calls a lease holder makes on `file`.
"""

import contextlib
import errno

from ottla.storage.disk import Disk, File

DEFAULT_LIMIT = 2048


class Handle:
    """A file that is open while it is used."""

    __slots__ = ("_handles", "file", "is_discarded", "leases", "path", "used")

    def __init__(self, path: str, handles: "Handles") -> None:
        self.path = path
        self.file: File | None = None
        """The open file, or None; `get` opens it."""
        self.leases = 0
        self.used = True
        self._handles = handles
        self.is_discarded = False
        """Its file is gone, or going."""

    def get(self, create: bool = False) -> File:
        """Return the open file; it may be closed by the next `get` of any handle.

        Raises:
            OSError: it cannot be opened.
        """
        self.used = True
        file = self.file
        if file is None:
            return self._handles.open(self, create)
        return file

    def lease(self) -> File:
        """Keep the file open until `release`; for a worker."""
        file = self.get()
        self.leases += 1
        return file

    def release(self) -> None:
        assert self.leases > 0, self.path
        self.leases -= 1
        if self.is_discarded and self.leases == 0:
            self._handles.close(self)

    def discard(self) -> None:
        """Close it now or with the last lease: its file is gone, or going."""
        self.is_discarded = True
        if self.leases == 0:
            self._handles.close(self)


class Handles:
    """The open ones, the least recently opened or spared first."""

    def __init__(self, disk: Disk, limit: int = DEFAULT_LIMIT) -> None:
        self.disk = disk
        self.limit = limit
        self._open: dict[Handle, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, handle: Handle, create: bool) -> File:
        if len(self._open) >= self.limit:
            self._make_room(1 + len(self._open) - self.limit)
        try:
            file = self.disk.open(handle.path, create=create, scattered=True)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._make_room(max(1, len(self._open) // 8))
            file = self.disk.open(handle.path, create=create, scattered=True)
        handle.file = file
        self._open[handle] = None
        return file

    def close(self, handle: Handle) -> None:
        assert handle.leases == 0, handle.path
        if handle.file is not None:
            file, handle.file = handle.file, None
            del self._open[handle]
            # What a close could report, a sync reports; nothing was promised here.
            with contextlib.suppress(OSError):
                file.close()

    def close_idle(self) -> int:
        """Close what was not used since the last call; return how many."""
        idle = [handle for handle in self._open if not handle.used and handle.leases == 0]
        for handle in idle:
            self.close(handle)
        for handle in self._open:
            handle.used = False
        return len(idle)

    def close_all(self) -> None:
        for handle in list(self._open):
            if handle.leases:
                handle.discard()
            else:
                self.close(handle)

    def _make_room(self, count: int) -> None:
        """Close `count` handles, those used lately last; leased ones stay."""
        for _ in range(2 * len(self._open)):
            if count == 0:
                return
            handle = next(iter(self._open))
            if handle.used or handle.leases:
                handle.used = False
                del self._open[handle]
                self._open[handle] = None
            else:
                self.close(handle)
                count -= 1
