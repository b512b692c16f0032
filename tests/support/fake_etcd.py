"""An etcd played by the test, on a network in memory: it answers what it is told to."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from ottla.net.network import Network

CLUSTER_ID = 7

Answer = dict[str, Any] | bytes | None
"""An object, a whole HTTP answer, or nothing at all."""


class Stream:
    """An answer that has no end, in chunks."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def send(self, **result: Any) -> None:
        self.send_bytes(json.dumps({"result": {"header": header(0), **result}}).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def close(self) -> None:
        self._writer.close()


class FakeEtcd:
    """`answer(path, body)` decides; what was asked and the watches made are in order."""

    def __init__(self, answer: Callable[[str, Any], Answer]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.streams: asyncio.Queue[tuple[Any, Stream]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def listen(self, network: Network, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            self._writers.append(writer)
            task = loop.create_task(self._serve(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def protocol() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(loop=loop)
            return asyncio.StreamReaderProtocol(reader, connected, loop=loop)

        await network.listen(host, port, protocol)

    def end(self) -> None:
        """Leave every connection."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                path = first.split()[1].removeprefix("/v3/")
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.asked.append((path, body))
                self.headers.append(headers)
                if path == "watch":
                    self.streams.put_nowait((body["create_request"], Stream(writer)))
                    return
                answer = self.answer(path, body)
                if isinstance(answer, bytes):
                    writer.write(answer)
                elif answer is not None:
                    writer.write(ok(answer))
        except (EOFError, OSError):
            writer.close()


def header(revision: int, cluster_id: int = CLUSTER_ID) -> dict[str, str]:
    return {"cluster_id": str(cluster_id), "revision": str(revision)}


def ok(answer: dict[str, Any]) -> bytes:
    return http(200, answer)


def http(status: int, answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def refusal(code: int, message: str) -> bytes:
    return http(500, {"error": message, "message": message, "code": code})


def text(value: bytes) -> str:
    return b64encode(value).decode()


def put_event(key: str, revision: int, value: bytes = b"") -> dict[str, Any]:
    return {
        "kv": {
            "key": text(key.encode()),
            "value": text(value),
            "create_revision": str(revision),
            "mod_revision": str(revision),
        }
    }


def key_of(body: Any) -> str:
    return b64decode(body["key"]).decode()
