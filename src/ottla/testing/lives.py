"""Processes on one loop that can die while the loop goes on.

Everything a process does descends from where it began: each callback and task
inherits the context of whoever scheduled it, and `LIFE` in it says whose it is.
What dies is what hangs on that life: its callbacks are cancelled, its tasks
never step again, and its disk refuses it. A death may come in the midst of a disk
operation: `DiedError` then goes up through code that can do no harm any more.
"""

from contextvars import Context, ContextVar, copy_context

from ottla.testing.loop import VirtualLoop


class DiedError(BaseException):
    """The process ends here. Not an Exception, so nothing handles it."""


class Life:
    """One process, from its start to its death."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.ended = False
        self.context = copy_context()
        self.context.run(LIFE.set, self)
        self._loop = loop

    def end(self) -> None:
        """Nothing of this life happens any more."""
        self.ended = True
        self._bury()
        # Death came within a callback, which goes on to its end and may schedule more.
        self._loop.call_soon(self._bury, context=Context())

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
