"""Kafka's own message classes, in one JVM (java/WireOracle.java)."""

import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

from tools.kafka import java

SOURCE = Path(__file__).parent / "java" / "WireOracle.java"


class Answer(NamedTuple):
    """A message as Kafka encodes it, and as it describes its fields (`tests.messages.describe`)."""

    data: bytes
    text: str


class OracleError(Exception):
    """Kafka's class threw; the message is its stack trace."""


class WireOracle:
    """A context manager; asks are answered one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            java(str(SOURCE)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def there_and_back(self, name: str, version: int, data: bytes) -> Answer:
        """Let Kafka decode `data` as the class `name` and encode it again."""
        return self._ask(b"T", name, version, data)

    def generate(self, name: str, version: int, seed: int, *, small: bool = False) -> Answer:
        """Return a random message, the same for the same seed."""
        return self._ask(b"G", name, version, struct.pack(">q?", seed, small))

    def _ask(self, command: bytes, name: str, version: int, rest: bytes) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        encoded = name.encode()
        frame = command + struct.pack(f">h{len(encoded)}sh", len(encoded), encoded, version) + rest
        self._process.stdin.write(struct.pack(">i", len(frame)) + frame)
        self._process.stdin.flush()
        size = self._process.stdout.read(4)
        if len(size) < 4:
            raise OracleError(f"the JVM ended with status {self._process.wait()}")
        answer = self._process.stdout.read(struct.unpack(">i", size)[0])
        if answer[0] != 0:
            raise OracleError(f"{name} version {version}: {answer[1:].decode()}")
        length = struct.unpack_from(">i", answer, 1)[0]
        return Answer(answer[5 : 5 + length], answer[5 + length :].decode())

    def __enter__(self) -> "WireOracle":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
