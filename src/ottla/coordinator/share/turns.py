"""What is done for one key is done by one at a time, whoever waits meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Keeps nothing of keys that nobody is at."""

    def __init__(self) -> None:
        self._ends: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait until nobody else is at it, and be the one."""
        while (other := self._ends.get(key)) is not None:
            await asyncio.wait((other,))
        mine = self._ends[key] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._ends[key]
            mine.set_result(None)
