"""Kafka's own Java clients in the shape of `clients.Client`, all in one JVM (java/Clients.java)."""

import atexit
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from tests.interop.clients import Client, Record, Sender, Taker
from tools.kafka import java
from tools.kafka.tools import compiled

FOLDER = Path(__file__).parent / "java"
HEAP = "-Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

OPEN_PRODUCER, SEND, OPEN_CONSUMER, TAKE, CLOSE = range(1, 6)


@cache
def class_path(name: str) -> str:
    """Compile one of the Java programs once; a class path that has it and Kafka's jars."""
    folder = tempfile.mkdtemp(prefix="java-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    compiled(FOLDER / f"{name}.java", Path(folder))
    return folder


def program(name: str, *arguments: str) -> list[str]:
    """The command line that runs one of them."""
    command = java(name, *arguments, heap=HEAP, level="OFF")
    place = command.index("-cp") + 1
    command[place] = f"{class_path(name)}:{command[place]}"
    return command


class Jvm:
    """The JVM in which producers and consumers live."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            program("Clients"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self.close)

    def ask(self, operation: int, *fields: bytes) -> None:
        """Send a request; its answer, read with `take_*`, follows.

        Raises:
            RuntimeError: what the Java client threw.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(bytes([operation]) + b"".join(fields))
        self._process.stdin.flush()
        if self.read(1) != b"\0":
            raise RuntimeError(self.string())

    def read(self, size: int) -> bytes:
        """The next bytes of the answer."""
        assert self._process.stdout is not None
        came = self._process.stdout.read(size)
        if len(came) != size:
            raise RuntimeError("the JVM of the Java clients ended")
        return came

    def number(self, code: str) -> int:
        """The next number, by its `struct` code."""
        (value,) = struct.unpack(f">{code}", self.read(struct.calcsize(f">{code}")))
        return int(value)

    def string(self) -> str:
        """The next string."""
        return self.read(self.number("H")).decode()

    def buffer(self) -> bytes | None:
        """The next bytes or null."""
        size = self.number("i")
        return None if size < 0 else self.read(size)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@cache
def jvm() -> Jvm:
    """The one of this session, started when first needed."""
    return Jvm()


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def _buffer(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


class JavaSender(ExitStack):
    """KafkaProducer."""

    def __init__(self, bootstrap: str, compression: str, idempotent: bool) -> None:
        super().__init__()
        jvm().ask(
            OPEN_PRODUCER, _string(bootstrap), _string(compression), struct.pack(">?", idempotent)
        )
        self._handle = jvm().number("i")
        self.callback(lambda: jvm().ask(CLOSE, struct.pack(">i", self._handle)))

    def send(self, topic: str, records: Iterable[Record], partition: int = 0) -> list[int]:
        """Send and wait."""
        written = [
            _buffer(record.key)
            + _buffer(record.value)
            + struct.pack(">i", len(record.headers))
            + b"".join(_string(name) + _buffer(value) for name, value in record.headers)
            + struct.pack(">q", record.timestamp)
            for record in records
        ]
        place = struct.pack(">ii", partition, len(written))
        jvm().ask(SEND, struct.pack(">i", self._handle), _string(topic), place, *written)
        return [jvm().number("q") for _ in written]


class JavaTaker(ExitStack):
    """KafkaConsumer, assigned one partition."""

    def __init__(self, bootstrap: str, topic: str, partition: int, offset: int) -> None:
        super().__init__()
        place = struct.pack(">iq", partition, offset)
        jvm().ask(OPEN_CONSUMER, _string(bootstrap), _string(topic), place)
        self._handle = jvm().number("i")
        self.callback(lambda: jvm().ask(CLOSE, struct.pack(">i", self._handle)))

    def take(self, count: int) -> list[tuple[int, Record]]:
        """The next records."""
        java_side = jvm()
        java_side.ask(TAKE, struct.pack(">ii", self._handle, count))
        taken = []
        for _ in range(count):
            offset, timestamp = java_side.number("q"), java_side.number("q")
            key, value = java_side.buffer(), java_side.buffer()
            headers = tuple(
                (java_side.string(), java_side.buffer() or b"")
                for _ in range(java_side.number("i"))
            )
            taken.append((offset, Record(key, value, headers, timestamp)))
        return taken


class Java(Client):
    """Kafka's own clients."""

    name = "java"

    def sender(self, bootstrap: str, compression: str = "none", idempotent: bool = False) -> Sender:
        """Open a producer."""
        return JavaSender(bootstrap, compression, idempotent)

    def taker(self, bootstrap: str, topic: str, partition: int = 0, offset: int = 0) -> Taker:
        """Open a consumer."""
        return JavaTaker(bootstrap, topic, partition, offset)
