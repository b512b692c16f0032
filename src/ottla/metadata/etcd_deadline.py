"""A deadline for a call to etcd, by the clock that is an argument."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ottla.model.clock import Clock
from ottla.model.errors import PeerError


class DeadlineError(PeerError):
    """No answer came in time; whether what was asked for happens is unknown."""


@asynccontextmanager
async def within(clock: Clock, timeout_ms: int, what: str) -> AsyncIterator[None]:
    """Cancel what is awaited inside once `timeout_ms` have passed, and raise DeadlineError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            timer = clock.call_at(
                clock.now_ms() + timeout_ms, lambda: limit.reschedule(loop.time())
            )
            try:
                yield
            finally:
                timer.cancel()
    except TimeoutError as error:
        if not limit.expired():  # the operating system gave up on a connection
            raise
        raise DeadlineError(f"{what} took more than {timeout_ms} ms") from error


async def pause(clock: Clock, pause_ms: int) -> None:
    """Wait for `pause_ms`."""
    passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(
        clock.now_ms() + pause_ms, lambda: None if passed.done() else passed.set_result(None)
    )
    try:
        await passed
    finally:
        timer.cancel()
