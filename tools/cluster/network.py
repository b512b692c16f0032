"""Machines on a network of their own: namespaces that a bridge joins, cut and slowed at will.

    this process (.254) ─┐
    broker 1 (.1) ───────┤ a bridge, in a namespace of its own
    broker 2 (.2) ───────┘

Each namespace is held by a keeper, a process that waits for its standard input to end. Nothing has
a name that outlives it: when this process is gone, however it went, the kernel takes keepers,
namespaces, bridge, links and mounts away. The one link in the namespace of this process, `ottlaPID`,
goes with the other end of it.

What is cut is lost without a word, as between real machines: who connects waits until he gives up.
The bridge drops it, by a few instructions on the port of the sender.
"""

import contextlib
import os
import shutil
import subprocess
from ipaddress import IPv4Address
from typing import IO

from tools.subject.place import Place

US = "us"
"""The name of this process among the machines."""

OUR_NUMBER = 254
DROP = "8,40 0 0 12,21 0 5 2048,32 0 0 26,21 0 3 {source},32 0 0 30,21 0 1 {target},6 0 0 2,6 0 0 4294967295"
"""Of an Ethernet frame with IPv4 in it, compare both addresses; 2 drops it, -1 asks the next."""

BURST_BYTES = 16_384


class NoNetworkError(Exception):
    """Namespaces cannot be made here; the message says why."""


class Namespace:
    """A network and mount namespace, for as long as its keeper runs."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "-n", "-m", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"ready\n":
            assert self._keeper.stderr is not None
            why = self._keeper.stderr.read().decode(errors="replace").strip()
            self.close()
            raise NoNetworkError(
                f"network namespaces cannot be made here ({why}): that takes root, or "
                "`unshare -rn` before the command"
            )

    @property
    def pid(self) -> int:
        return self._keeper.pid

    @property
    def inside(self) -> tuple[str, ...]:
        """Put before a command, it runs here, and ends when the thread that started it does."""
        enter = ("nsenter", "-t", str(self.pid), "-n", "-m", "--wd=/")
        dying = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        return (*enter, *dying)

    def run(self, *command: str) -> None:
        """Run a command here that takes no time."""
        run_now("nsenter", "-t", str(self.pid), "-n", "-m", *command)

    def close(self) -> None:
        """Let it go, with all links and mounts in it."""
        pipes: list[IO[bytes] | None] = [
            self._keeper.stdin,
            self._keeper.stdout,
            self._keeper.stderr,
        ]
        for pipe in pipes:
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._keeper.wait()


class Network:
    """Machines by name, each with an address; this process is the machine `us`.

    As a context manager it is taken away on leaving.
    """

    def __init__(self, names: list[str]) -> None:
        """Make it.

        Raises:
            NoNetworkError: this machine, or this user, has no namespaces.
        """
        for program in ("ip", "tc", "unshare", "nsenter"):
            if shutil.which(program) is None:
                raise NoNetworkError(f"namespaces cannot be made here: there is no `{program}`")
        self._machines: dict[str, Namespace] = {}
        self._ours = f"ottla{os.getpid()}"
        self._switch = Namespace()
        try:
            self._numbers = {name: number for number, name in enumerate(names, 1)}
            self._base = _free_base()
            self._join(names)
        except BaseException:
            self.close()
            raise
        self._drops = 0
        self._down: set[str] = set()
        self._slow: set[str] = set()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take everything away; processes inside are the caller's to end before."""
        with contextlib.suppress(NoNetworkError):  # It goes by itself, only later.
            run_now("ip", "link", "delete", self._ours)
        for machine in (*self._machines.values(), self._switch):
            machine.close()

    def address(self, name: str) -> str:
        number = OUR_NUMBER if name == US else self._numbers[name]
        return str(self._base + number)

    def place(self, name: str) -> Place:
        """Where to start a process that runs on that machine."""
        return Place(self.address(name), self._machines[name].inside)

    def mount_small_disk(self, name: str, path: str, size_bytes: int) -> str:
        """Mount a file system of that size on a machine; return where its files are for us."""
        machine = self._machines[name]
        machine.run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path)
        return f"/proc/{machine.pid}/root{path}"

    def mount_file(self, name: str, path: str, over: str) -> None:
        """Let a machine see a file in the place of another."""
        self._machines[name].run("mount", "--bind", path, over)

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two, either way."""
        self.cut_one_way(one, other)
        self.cut_one_way(other, one)

    def cut_one_way(self, source: str, target: str) -> None:
        """Let nothing that `source` sends reach `target`."""
        self._drops += 1
        code = DROP.format(
            source=int(IPv4Address(self.address(source))),
            target=int(IPv4Address(self.address(target))),
        )
        self._tc(
            *("filter", "add", "dev", source, "ingress", "pref", str(self._drops)),
            *("protocol", "all", "bpf", "da", "bytecode", code),
        )

    def unplug(self, name: str) -> None:
        """Take a machine's link down."""
        self._switch.run("ip", "link", "set", name, "down")
        self._down.add(name)

    def slow(self, name: str, kbit_per_s: int) -> None:
        """Let a machine be sent no more than that."""
        rate = ("rate", f"{kbit_per_s}kbit", "burst", str(BURST_BYTES), "latency", "2s")
        self._tc("qdisc", "replace", "dev", name, "root", "tbf", *rate)
        self._slow.add(name)

    def heal(self) -> None:
        """Undo all of it."""
        if self._drops:
            for name in (*self._numbers, US):
                self._tc("filter", "del", "dev", name, "ingress")
            self._drops = 0
        for name in sorted(self._slow):
            self._tc("qdisc", "del", "dev", name, "root")
        for name in sorted(self._down):
            self._switch.run("ip", "link", "set", name, "up")
        self._slow.clear()
        self._down.clear()

    def _tc(self, *arguments: str) -> None:
        self._switch.run("tc", *arguments)

    def _join(self, names: list[str]) -> None:
        switch = self._switch
        switch.run("ip", "link", "add", "bridge", "type", "bridge")
        switch.run("ip", "link", "set", "bridge", "up")
        for name in names:
            machine = self._machines[name] = Namespace()
            self._plug(name, "eth0", machine.pid)
            machine.run("ip", "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            machine.run("ip", "link", "set", "eth0", "up")
        self._plug(US, self._ours, os.getpid())
        run_now("ip", "address", "add", f"{self.address(US)}/24", "dev", self._ours)
        run_now("ip", "link", "set", self._ours, "up")

    def _plug(self, port: str, far_end: str, pid: int) -> None:
        self._switch.run(
            *("ip", "link", "add", port, "type", "veth"),
            *("peer", "name", far_end, "netns", str(pid)),
        )
        self._switch.run("ip", "link", "set", port, "master", "bridge", "up")
        self._tc("qdisc", "add", "dev", port, "clsact")


def _free_base() -> IPv4Address:
    """A /24 that this machine has no route of its own to, after the process id."""
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    for attempt in range(64):
        number = (os.getpid() + attempt * 257) % (64 * 256)
        base = IPv4Address(f"10.{128 + number // 256}.{number % 256}.0")
        if str(base) not in routes:
            return base
    raise NoNetworkError("every network of 10.128.0.0/10 that was tried is routed already")


def run_now(*command: str) -> None:
    """Run a command that takes no time.

    Raises:
        NoNetworkError: it failed; the message has what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise NoNetworkError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
