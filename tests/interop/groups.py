"""Group members as the tests see them: processes that tell what they own."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from tests.interop.java_clients import program

DEADLINE_S = 45.0

Place = tuple[str, int]
Event = dict[str, Any]


class Member:
    """One running `member.py`. The strategy "server uniform" is of a consumer group (KIP-848)."""

    def __init__(
        self,
        client: str,
        bootstrap: str,
        group: str,
        topics: list[str],
        *,
        instance: str | None = None,
        strategy: str = "range",
        session_timeout_ms: int = 10_000,
    ) -> None:
        options = {
            "client": client,
            "bootstrap": bootstrap,
            "group": group,
            "topics": topics,
            "instance": instance,
            "strategy": strategy,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": min(500, session_timeout_ms // 3),
        }
        self.process = subprocess.Popen(
            _command(options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(stderr := tempfile.TemporaryFile()),  # noqa: SIM115 - closed by _done
        )
        self._stderr = stderr
        self.owned: frozenset[Place] = frozenset()
        self.took: list[tuple[str, int, int]] = []
        self.revoked: list[frozenset[Place]] = []
        self.assignments = 0
        self.error = ""
        self._events: queue.Queue[Event] = queue.Queue()
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, said: IO[bytes]) -> None:
        for line in said:
            self._events.put(json.loads(line))
        self._events.put({"event": "ended"})

    def hear(self, seconds: float) -> None:
        """Take in what it says within `seconds`, at least one event if one comes."""
        try:
            self._apply(self._events.get(timeout=seconds))
            while True:
                self._apply(self._events.get_nowait())
        except queue.Empty:
            return

    def _apply(self, event: Event) -> None:
        match event["event"]:
            case "assigned":
                self.owned = frozenset((t, p) for t, p in event["partitions"])
                self.assignments += 1
            case "revoked":
                self.revoked.append(frozenset((t, p) for t, p in event["partitions"]))
            case "took":
                self.took.extend((t, p, o) for t, p, o in event["records"])
            case "error":
                self.error = event["text"]
            case "left" | "ended":
                self.owned = frozenset()

    def leave(self) -> None:
        """Tell it to go, and wait until it has."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"leave\n")
        self.process.stdin.flush()
        self.process.wait(DEADLINE_S)
        self._done()

    def kill(self) -> None:
        """SIGKILL: the broker hears nothing."""
        self.process.kill()
        self.process.wait()
        self._done()

    def _done(self) -> None:
        self._reader.join()
        self.hear(0)
        for pipe in (self.process.stdin, self.process.stdout, self._stderr):
            assert pipe is not None
            pipe.close()

    def complaint(self) -> str:
        """What it wrote to stderr."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-3000:]


def _command(options: dict[str, Any]) -> list[str]:
    if options["client"] != "java":
        return [sys.executable, str(Path(__file__).with_name("member.py")), json.dumps(options)]
    (topic,) = options["topics"]
    return program(
        "Member",
        options["bootstrap"],
        options["group"],
        topic,
        options["instance"] or "",
        options["strategy"],
        str(options["session_timeout_ms"]),
        str(options["heartbeat_interval_ms"]),
    )


class Members:
    """Those of one test; whoever still runs at its end is killed."""

    def __init__(self, client: str, bootstrap: str) -> None:
        self._client = client
        self._bootstrap = bootstrap
        self._all: list[Member] = []

    def join(self, group: str, topics: list[str], **options: Any) -> Member:
        """Start one more."""
        member = Member(self._client, self._bootstrap, group, topics, **options)
        self._all.append(member)
        return member

    def close(self) -> None:
        """Kill those that still run."""
        for member in self._all:
            if member.process.stdin is not None and not member.process.stdin.closed:
                member.kill()


def settle(members: Iterable[Member], partitions: Iterable[Place], each: int) -> None:
    """Wait until the members own exactly `partitions`, nobody two's, `each` or more apiece.

    Raises:
        TimeoutError: they do not; the message is who owns what.
    """
    members = list(members)
    wanted = sorted(partitions)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        for member in members:
            member.hear(0.05)
        if sorted(place for member in members for place in member.owned) == wanted and all(
            len(member.owned) >= each for member in members
        ):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"not settled: {[sorted(member.owned) for member in members]}\n"
                + "".join(member.complaint() for member in members)
            )


def await_taken(members: Iterable[Member], count: int) -> list[tuple[str, int, int]]:
    """Wait until the members together took `count` records, and return those."""
    members = list(members)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        for member in members:
            member.hear(0.05)
        taken = sorted(record for member in members for record in member.took)
        if len(taken) >= count:
            return taken
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(taken)} of {count} records taken")
