"""The disk of a simulated machine: it fails as it is told, and a death may come within an operation."""

import errno
import os
import random
from collections.abc import Callable

from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.lives import LIFE, DiedError, check_alive

WRITES = frozenset({"pwrite", "write", "create", "make_directory", "rename"})


class SimulatedDisk(MemoryDisk):
    """Faults are for processes; the world itself reads and damages freely."""

    tracks_durability = True

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.torn = errno.ENOSPC
        self.full = False
        self.failing: str | None = None
        """The next such operation fails with EIO, once."""
        self.dies: tuple[int, frozenset[str], Callable[[], None]] | None = None
        """After so many of these operations the process (or the machine) dies in the next."""
        self.cold = 0.0
        """How likely a read finds its pages not in memory."""
        self._chance = chance

    def __deepcopy__(self, memo: object) -> "SimulatedDisk":
        raise TypeError("the disk is shared by the lives of one world")

    def cached(self, path: str, position: int, size: int) -> bool:
        return not self.cold or self._chance.random() >= self.cold

    def fault(self, operation: str, path: str, size: int) -> int | None:
        check_alive()
        if LIFE.get() is None:
            return None
        if self.dies is not None and operation in self.dies[1]:
            left, operations, kill = self.dies
            self.dies = (left - 1, operations, kill) if left else None
            if not left:
                kill()
                if operation == "pwrite" and size > 1:
                    return self._chance.randrange(size)  # torn, and what follows finds itself dead
                raise DiedError
        if self.failing == operation:
            self.failing = None
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        if self.full and operation in WRITES:
            if operation == "pwrite" and size > 1 and self._chance.random() < 0.5:
                return self._chance.randrange(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return None
