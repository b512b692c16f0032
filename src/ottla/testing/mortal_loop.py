"""A real asyncio loop on which whole processes live, and can be killed while the loop goes on.

As on virtual time (`lives.py`), everything a process does descends from where it began: each
callback and task inherits the context of whoever scheduled it. What of a dead process becomes
ready is not run, and its sockets are closed as the kernel closes those of a process that was
killed: whoever was connected sees it, and nobody gets in.
"""

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
H = TypeVar("H", bound=asyncio.Handle)
Ts = TypeVarTuple("Ts")

PROCESS: "ContextVar[MortalProcess | None]" = ContextVar("PROCESS", default=None)
"""Whose code runs now; None: nobody's who may die."""


class MortalProcess:
    """One process, from its start to its death; made by code that is no process's."""

    def __init__(self, loop: "MortalLoop") -> None:
        self.is_dead = False
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self.servers: list[asyncio.AbstractServer] = []
        self._loop = loop
        self._context = copy_context()
        self._context.run(PROCESS.set, self)

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Have the process do this."""
        return self._loop.create_task(work, context=self._context.copy())

    def call(self, work: Callable[[], T]) -> T:
        """Have the process do this now."""
        return self._context.copy().run(work)

    def kill(self) -> None:
        """Nothing of this process happens any more; its peers lose their connections."""
        self.is_dead = True
        for handle in self._loop.handles():
            _unless_dead(handle)
        for server in self.servers:
            server.close()
        for transport in list(self.transports):
            transport.set_protocol(asyncio.Protocol())  # it hears nothing of that
            self._loop.close_socket(transport)
        for task in list(self.tasks):
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                # Now, and not when memory is tidied up; whatever it does on its way out is undone.
                with suppress(BaseException):
                    self.call(task.get_coro().close)


class MortalLoop(asyncio.SelectorEventLoop):
    """Runs nothing of the dead."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(_remember)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return _unless_dead(super().call_soon(callback, *args, context=context))

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return _unless_dead(super().call_at(when, callback, *args, context=context))

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        server = await super().create_server(*arguments, **options)
        process = PROCESS.get()
        if process is not None:
            process.servers.append(server)
        return server

    def _make_socket_transport(self, *arguments: Any, **options: Any) -> Any:
        """Where asyncio makes every transport, of who connects and of who is accepted."""
        transport = super()._make_socket_transport(*arguments, **options)  # type: ignore[misc]
        process = PROCESS.get()
        if process is not None:
            process.transports.add(transport)
        return transport

    def close_socket(self, transport: Any) -> None:
        """Close what a dead process left open."""
        transport.abort()
        if transport._conn_lost and transport._sock is not None:
            # It may have been closing already: then abort does nothing, and who would have closed
            # the socket is dead. To close it twice does no harm.
            self.call_soon(self._end, transport)

    def _end(self, transport: Any) -> None:
        if transport._sock is not None:
            transport._call_connection_lost(None)

    def _asyncgen_finalizer_hook(self, generator: Any) -> None:
        """Of the dead, generators need not be run to their end."""
        process = PROCESS.get()
        if process is None or not process.is_dead:
            super()._asyncgen_finalizer_hook(generator)  # type: ignore[misc]

    def handles(self) -> list[Any]:
        """All that is ready, and all that will be."""
        return [*self._ready, *self._scheduled]  # type: ignore[attr-defined]


def _unless_dead(handle: H) -> H:
    process = _process_of(handle)
    if process is not None and process.is_dead:
        handle.cancel()
    return handle


def _process_of(handle: Any) -> MortalProcess | None:
    process: MortalProcess | None = handle._context.get(PROCESS)
    return process


def _remember(loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.tasks.add(task)
    return task
