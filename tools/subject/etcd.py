"""etcd as a subject: one member, or several, each a process with a data folder."""

import http.client
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tools.subject.place import HERE, Place
from tools.subject.ports import free_port
from tools.subject.process import Process

from ottla.cli.etcd_binary import EtcdBinary, find_etcd

HEARTBEAT_MS = 50
ELECTION_MS = 500
"""Ten times faster than etcd's own settings would be slow for tests; the shortest lease is 1 s."""


class EtcdMember(Process):
    """One member. `extra` are arguments of etcd, such as those for TLS."""

    def __init__(
        self,
        binary: EtcdBinary,
        home: Path,
        name: str,
        *,
        scheme: str,
        extra: Sequence[str],
        place: Place = HERE,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        super().__init__(data=home / "data", log=home / "etcd.log", port=free_port())
        self.name = name
        self.binary = binary
        self.place = place
        self.url = f"{scheme}://{place.host}:{self.port}"
        self.peer_url = f"http://{place.host}:{free_port()}"
        self.metrics_port = free_port()
        self.members: str = f"{name}={self.peer_url}"
        self._extra = tuple(extra)

    def command(self) -> list[str]:
        """What to run."""
        return [
            *self.place.inside,
            self.binary.path,
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.members}",
            f"--listen-metrics-urls=http://{self.place.host}:{self.metrics_port}",
            f"--heartbeat-interval={HEARTBEAT_MS}",
            f"--election-timeout={ELECTION_MS}",
            "--log-level=warn",
            *self._extra,
        ]

    def await_ready(self, seconds: float = 30.0) -> None:
        """Come back when it answers that it is healthy, which needs a leader."""
        deadline = time.monotonic() + seconds
        while not self._is_healthy():
            if not self.running() or time.monotonic() > deadline:
                self.kill9()
                raise RuntimeError(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(0.01)

    def _is_healthy(self) -> bool:
        try:
            connection = http.client.HTTPConnection(self.place.host, self.metrics_port, timeout=2)
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            finally:
                connection.close()
        except OSError:
            return False


class Etcd:
    """A cluster of one member or more, on free ports, each in a place of its own if there are any.

    As a context manager it starts on entering and is killed on leaving.
    """

    def __init__(
        self,
        members: int = 1,
        *,
        home: Path | None = None,
        scheme: str = "http",
        extra: Sequence[str] = (),
        binary: EtcdBinary | None = None,
        places: Sequence[Place] = (),
    ) -> None:
        """Prepare it; raise EtcdNotFoundError if this machine has no etcd."""
        self.binary = binary or find_etcd()
        self._temporary = tempfile.TemporaryDirectory(prefix="etcd-") if home is None else None
        self.home = home or Path(self._temporary.name if self._temporary else "")
        self.members = [
            EtcdMember(
                self.binary,
                self.home / f"member{n}",
                f"member{n}",
                scheme=scheme,
                extra=extra,
                place=places[n] if places else HERE,
            )
            for n in range(members)
        ]
        initial = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.members = initial

    @property
    def endpoints(self) -> list[str]:
        return [member.url for member in self.members]

    def __enter__(self) -> "Etcd":
        try:
            for member in self.members:
                member.launch()
            for member in self.members:
                member.await_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if self._temporary is not None:
            self._temporary.cleanup()

    def kill(self) -> None:
        for member in self.members:
            member.kill9()

    def control(self, *arguments: str) -> str:
        """Run etcdctl against every member, and return what it prints."""
        return self._run("etcdctl", f"--endpoints={','.join(self.endpoints)}", *arguments)

    def leader(self) -> EtcdMember:
        """Return the member that leads now."""
        lines = self.control("endpoint", "status").splitlines()
        (leader,) = (n for n, line in enumerate(lines) if line.split(", ")[4] == "true")
        return self.members[leader]

    def leads(self, member: EtcdMember) -> bool:
        """Whether a member says that it leads; one that does not answer does not."""
        try:
            said = self._run("etcdctl", f"--endpoints={member.url}", "endpoint", "status")
        except RuntimeError:
            return False
        return said.strip().split(", ")[4] == "true"

    def restore(self, snapshot: Path) -> None:
        """Replace the data of a single stopped member by those of a snapshot."""
        (member,) = self.members
        assert not member.running(), "stop it first"
        member.data.rename(member.data.with_name(f"data-{time.monotonic_ns()}"))
        self._run(
            "etcdctl", "snapshot", "restore", str(snapshot),
            f"--name={member.name}",
            f"--data-dir={member.data}",
            f"--initial-cluster={member.members}",
            f"--initial-advertise-peer-urls={member.peer_url}",
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> str:
        path = Path(self.binary.path).with_name(program)
        done = subprocess.run(
            [str(path), *arguments],
            env={"ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout
