"""Processes on one loop that can die while the loop goes on.

Everything a process does descends from where it began: each callback and task
inherits the context of whoever scheduled it, and `LIFE` in it says whose it is.
What dies is what hangs on that life: its callbacks are cancelled, its tasks
never step again, and its disk refuses it. A death may come in the midst of a disk
operation: `DiedError` then goes up through code that can do no harm any more.

What is stopped (SIGSTOP) keeps all of that, and does it when it goes on: what fell due
meanwhile, in the order in which it did, at once. Time does not wait for it.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

from ottla.testing.loop import VirtualLoop


class DiedError(BaseException):
    """The process ends here. Not an Exception, so nothing handles it."""


class Life:
    """One process, from its start to its death."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.ended = False
        self.is_stopped = False
        self._held: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(LIFE.set, self)
        self._loop = loop

    def end(self) -> None:
        """Nothing of this life happens any more."""
        self.ended = True
        self.is_stopped = False
        self._held.clear()
        # What it waited for may come from others, who live.
        self._loop.holds = _hold
        self._bury()
        # Death came within a callback, which goes on to its end and may schedule more.
        self._loop.call_soon(self._bury, context=Context())

    def stop(self) -> None:
        """Nothing of this life happens until `go_on`."""
        if not self.ended:
            self.is_stopped = True
            self._loop.holds = _hold

    def go_on(self) -> None:
        self.is_stopped = False
        held, self._held = self._held, []
        for handle in held:
            self._loop.run_soon(handle)

    def hold(self, handle: asyncio.Handle) -> None:
        """Have this happen when the life goes on."""
        self._held.append(handle)

    def when_it_goes_on(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """As `hold`, of a call that is nobody's."""
        self.hold(asyncio.Handle(callback, arguments, self._loop, Context()))

    def _bury(self) -> None:
        for handle in self._loop.handles():
            context = handle._context
            if context is not None and context.get(LIFE) is self:
                handle.cancel()


LIFE: ContextVar[Life | None] = ContextVar("LIFE", default=None)
"""Whose process the code that runs now is part of; None: nobody's who may die."""


def check_alive() -> None:
    """Raise DiedError in a process that has died."""
    life = LIFE.get()
    if life is not None and life.ended:
        raise DiedError


def stopped_life(context: Context | None) -> Life | None:
    """Whose life a context is of, if that life is stopped now."""
    life = None if context is None else context.get(LIFE)
    return life if life is not None and life.is_stopped else None


def _hold(handle: Any) -> bool:
    context = handle._context
    life = None if context is None else context.get(LIFE)
    if life is None or not (life.ended or life.is_stopped):
        return False
    if life.is_stopped:
        life.hold(handle)
    return True
