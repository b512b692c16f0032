"""What is done for one key is done by one at a time, whoever waits meanwhile; for many, together."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from ottla.model.errors import ApiError


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


async def together(asked: Iterable[Coroutine[Any, Any, None]]) -> list[ApiError | None]:
    """Ask for all, which may then travel together; how each failed, in this order."""

    async def outcome(one: Coroutine[Any, Any, None]) -> ApiError | None:
        try:
            await one
        except ApiError as error:
            return error
        return None

    return await asyncio.gather(*(outcome(one) for one in asked))
