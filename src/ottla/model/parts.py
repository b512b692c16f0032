"""What an answer consists of: bytes, and bytes that stay in a file until they leave."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from ottla.model.workers import Workers

Buffer: TypeAlias = bytes | bytearray | memoryview


class StoredPart(Protocol):
    """Bytes of a file, read piece by piece when the peer takes them: until then they hold no memory."""

    def __len__(self) -> int: ...

    def read_into(self, target: memoryview, at: int, /) -> int:
        """Fill `target` with the bytes from `at` on; return how many, 0 where that would wait.

        Raises:
            ApiError, StorageError: they cannot be read, or are not there any more.
        """

    def warm(self, workers: Workers, at: int, size: int, done: Callable[[], None], /) -> None:
        """Have `size` bytes from `at` on brought into memory, then call `done`.

        What goes wrong is raised by the next `read_into`.
        """


Part: TypeAlias = Buffer | StoredPart
Parts: TypeAlias = list[Part]
