"""A broker process to be mistreated, and the oracle of every hostile-input test.

Whatever a client does: another client's connection goes on being served, the
log gets a line and no stack trace, the process lives. With INTEROP_AGAINST=kafka in
the environment the same tests run against the real Kafka, which is where their
expectations come from.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.support.raw_client import RawClient
from tests.support.witness import Witness
from tools.kafka.server import RealKafka
from tools.subject import Ottla
from tools.subject.process import Process

from ottla.broker.system import SocketNetwork

T = TypeVar("T")

DEADLINE_S = 60
"""How long a case may take before it counts as hung."""

HOST = "127.0.0.1"


class Site:
    """Where a case runs: clients to mistreat the broker with, and a witness."""

    def __init__(self, network: SocketNetwork, port: int, witness: Witness) -> None:
        self.witness = witness
        self.network = network
        self.port = port
        self._clients: list[RawClient] = []

    async def connect(self) -> RawClient:
        client = await RawClient.connect(self.network, HOST, self.port)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


Case = Callable[[Site], Awaitable[T]]


class Target:
    """The broker under attack."""

    def __init__(self, subject: Process) -> None:
        self.subject = subject
        self.is_kafka = isinstance(subject, RealKafka)

    def withstands(self, case: Case[T], *, log_lines: int = 1) -> T:
        """Run the case, and assert that nobody else noticed and the log is not flooded."""
        before = len(self.log())
        try:
            result = asyncio.run(self._run(case))
        except TimeoutError as error:
            raise AssertionError("hung; the log:\n" + "\n".join(self.log()[before:])) from error
        assert self.subject.running()
        if not self.is_kafka:
            lines = self.log()[before:]
            assert not [line for line in lines if "Traceback" in line], "\n".join(lines)
            assert len(lines) <= log_lines, "\n".join(lines)
        return result

    async def _run(self, case: Case[T]) -> T:
        network = SocketNetwork(asyncio.get_running_loop())
        async with asyncio.timeout(DEADLINE_S):
            witness = await Witness.open(network, HOST, self.subject.port, "witness")
            site = Site(network, self.subject.port, witness)
            try:
                result = await case(site)
                await witness.check()
                return result
            finally:
                site.close()
                witness.close()

    def log(self) -> list[str]:
        return self.subject.log.read_text(errors="replace").splitlines()

    def memory(self) -> int:
        """Resident bytes now."""
        return self._status("VmRSS")

    def reserved_memory(self) -> int:
        """Bytes of address space, touched or not."""
        return self._status("VmSize")

    def peak_memory(self) -> int:
        """Most resident bytes since `forget_peak_memory`, or since it started."""
        return self._status("VmHWM")

    def forget_peak_memory(self) -> None:
        Path(f"/proc/{self.subject.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        status = Path(f"/proc/{self.subject.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return 1024 * int(found[1])


@contextmanager
def running_target(folder: Path, **settings: str) -> Iterator[Target]:
    """A broker with these settings of Kafka's names."""
    subject: Process
    if os.environ.get("INTEROP_AGAINST") == "kafka":
        subject = RealKafka(extra=settings)
    else:
        subject = Ottla(folder / "data", log=folder / "broker.log", settings=settings)
    try:
        subject.start()
        yield Target(subject)
    finally:
        subject.kill9()
        if isinstance(subject, RealKafka):
            subject.discard()
