"""Make the real world raise: whoever opens a file or a socket, starts a thread or reads a clock.

Importing goes on: the import system has file functions of its own. So does
logging, whose records get a time that stands still.
"""

import builtins
import io
import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (socket, "socket"),
    (socket, "socketpair"),
    (socket, "create_connection"),
    (socket, "getaddrinfo"),
    (threading.Thread, "start"),
    (builtins, "open"),
    (io, "open"),
    (os, "open"),
    (os, "stat"),
    (os, "listdir"),
    (os, "scandir"),
    (os, "mkdir"),
    (os, "rename"),
    (os, "replace"),
    (os, "unlink"),
    (os, "fsync"),
    (os, "urandom"),
    (os, "fork"),
    (time, "time"),
    (time, "time_ns"),
    (time, "monotonic"),
    (time, "monotonic_ns"),
    (time, "perf_counter"),
    (time, "perf_counter_ns"),
    (time, "sleep"),
    (random, "random"),
    (random, "randrange"),
    (random, "randint"),
    (random, "choice"),
    (random, "shuffle"),
    (random, "getrandbits"),
)


ALLOWED = ("linecache", "tokenize")
"""They read source lines for the traceback of an unexpected exception."""

_STILL = SimpleNamespace(
    time=lambda: 0.0, gmtime=time.gmtime, localtime=time.gmtime, strftime=time.strftime
)


class RealWorldError(BaseException):
    """Not an Exception: the broker must not be able to handle it."""


@contextmanager
def no_real_world() -> Iterator[None]:
    """Within, what is FORBIDDEN raises RealWorldError."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "time", _STILL)
        for owner, name in FORBIDDEN:
            patch.setattr(owner, name, _raiser(f"{owner.__name__}.{name}", getattr(owner, name)))
        yield


def _raiser(name: str, real: Any) -> Any:
    def raise_it(*arguments: Any, **keywords: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") in ALLOWED:
            return real(*arguments, **keywords)
        raise RealWorldError(f"{name} was called")

    return raise_it
