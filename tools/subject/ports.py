"""Ports for the servers that tests and benchmarks start, which nobody else is given meanwhile."""

import atexit
import contextlib
import functools
import os
import random
import socket
from collections.abc import Sequence

#: Below what Linux (32768) and macOS (49152) give to outgoing connections, and
#: what `ottla cluster up` draws from (25000).
SERVER_PORTS = range(15_000, 25_000)

#: How many of them a process has to itself.
BLOCK = 500


class OwnPorts:
    """One of `blocks`, claimed from the other processes of this machine and given out in turns.

    Its first port stays bound as the claim, which ends with the process however
    that ends. All others are given once before any is given again: a server that
    is drawn for and not yet started, or killed and away, keeps its port.
    """

    def __init__(self, blocks: Sequence[range]) -> None:
        """Claim one.

        Raises:
            RuntimeError: each is claimed already.
        """
        for block in random.sample(blocks, len(blocks)):
            claim = socket.socket()
            try:
                claim.bind(("127.0.0.1", block[0]))
            except OSError:
                claim.close()
                continue
            self._claim = claim
            self._ports = block[1:]
            self._given = 0
            return
        raise RuntimeError(
            f"ports {blocks[0][0]} to {blocks[-1][-1]} are claimed by {len(blocks)} other processes"
        )

    def take(self) -> int:
        """The next that nobody listens on now.

        Raises:
            RuntimeError: there is none.
        """
        for _ in self._ports:
            port = self._ports[self._given % len(self._ports)]
            self._given += 1
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                return port
        raise RuntimeError(f"every port from {self._ports[0]} to {self._ports[-1]} is taken")

    def close(self) -> None:
        """Leave the block to others."""
        self._claim.close()


def free_port() -> int:
    """A port nobody listens on now, and that nobody else is given.

    A port of the kernel's choosing would be one that it also gives to clients:
    between our asking and the server's start, or while a killed server is away,
    anybody's connection could take it.
    """
    return _own(os.getpid()).take()


@functools.cache
def _own(_pid: int) -> OwnPorts:
    """Those of this process: a forked child claims its own."""
    first, end = SERVER_PORTS.start, SERVER_PORTS.stop
    own = OwnPorts([range(at, at + BLOCK) for at in range(first, end, BLOCK)])
    atexit.register(own.close)
    return own
