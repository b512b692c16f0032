"""Send every shape of `produce_shapes` to the real Kafka and keep what it answered and stored.

`python -m tools.probes.produce [--port N]` starts Kafka (or asks the one that
listens on that port of this machine) and rewrites
`tests/goldens/record/produce_outcomes.json`.
"""

import argparse
import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.kafka.server import RealKafka
from tools.probes.produce_shapes import Shape, shapes

GOLDEN = Path(__file__).parents[2] / "tests/goldens/record/produce_outcomes.json"

PRODUCE, FETCH, CREATE_TOPICS = 0, 1, 19


class Broker:
    """A connection that speaks three requests in versions without tagged fields."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def call(self, key: int, version: int, body: bytes) -> "Reader":
        """Send one request and return a reader behind its response's correlation id."""
        frame = struct.pack(">hhi", key, version, 7) + text("probe") + body
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)
        (size,) = struct.unpack(">i", self._exactly(4))
        return Reader(self._exactly(size)[4:])

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("Kafka closed the connection")
            data += more
        return data

    def close(self) -> None:
        self._socket.close()


class Reader:
    """Fixed-width fields and strings, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from(">" + form, self._data, self._position)
        self._position += struct.calcsize(">" + form)
        return value

    def bytes(self, size: int) -> bytes:
        self._position += size
        return self._data[self._position - size : self._position]

    def text(self) -> str | None:
        size = self.take("h")
        return None if size < 0 else self.bytes(size).decode()


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def create(broker: Broker, topic: str, configs: dict[str, str]) -> None:
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">ihi", 1, 1, 0)
    body += struct.pack(">i", len(configs))
    for name, value in configs.items():
        body += text(name) + text(value)
    answer = broker.call(CREATE_TOPICS, 4, body + struct.pack(">ib", 30_000, 0))
    answer.take("i"), answer.take("i"), answer.text()
    if (error := answer.take("h")) not in (0, 36):
        raise RuntimeError(f"creating {topic}: error {error} {answer.text()}")


def produce(broker: Broker, topic: str, version: int, records: bytes | None) -> dict[str, Any]:
    """Return the answer for the one partition; `acks` is all."""
    body = struct.pack(">hhi", -1, -1, 30_000) + struct.pack(">i", 1) + text(topic)
    body += struct.pack(">ii", 1, 0)
    body += struct.pack(">i", -1) if records is None else struct.pack(">i", len(records)) + records
    answer = broker.call(PRODUCE, version, body)
    answer.take("i"), answer.text(), answer.take("i"), answer.take("i")
    outcome: dict[str, Any] = {"error_code": answer.take("h"), "base_offset": answer.take("q")}
    outcome["has_append_time"] = answer.take("q") != -1
    if version >= 5:
        answer.take("q")
    if version >= 8:
        errors = [(answer.take("i"), answer.text()) for _ in range(answer.take("i"))]
        outcome["record_errors"] = errors
        outcome["error_message"] = answer.text()
    return outcome


def stored(broker: Broker, topic: str) -> bytes:
    """What the partition holds."""
    body = struct.pack(">iiiibii", -1, 0, 0, 50 << 20, 0, 0, -1) + struct.pack(">i", 1)
    body += text(topic) + struct.pack(">i", 1)
    body += struct.pack(">iiqqi", 0, -1, 0, -1, 50 << 20) + struct.pack(">i", 0) + text("")
    answer = broker.call(FETCH, 11, body)
    answer.take("i"), answer.take("h"), answer.take("i"), answer.take("i"), answer.text()
    answer.take("i"), answer.take("i")
    if error := answer.take("h"):
        raise RuntimeError(f"fetching {topic}: error {error}")
    answer.take("q"), answer.take("q"), answer.take("q"), answer.take("i"), answer.take("i")
    return answer.bytes(answer.take("i"))


def normal(message: str | None, topic: str) -> str | None:
    """A message without what differs from run to run."""
    if message is None:
        return None
    message = message.replace(topic, "TOPIC").replace(repr(None), "null")
    message = re.sub(r"within \[-?\d+, -?\d+\]", "within [FROM, TO]", message)
    return re.sub(r"@[0-9a-f]{5,8}\b", "@HASH", message)


def ask(broker: Broker, topic: str, shape: Shape, now_ms: int) -> dict[str, Any]:
    """Create the shape's topic, send it, and return what came of it."""
    create(broker, topic, shape.configs)
    records = shape.build(now_ms)
    for _ in range(100):
        outcome = produce(broker, topic, shape.version, records)
        if outcome["error_code"] not in (3, 5, 6):
            break
        time.sleep(0.02)
    if "error_message" in outcome:
        outcome["error_message"] = normal(outcome["error_message"], topic)
        outcome["record_errors"] = [[i, normal(m, topic)] for i, m in outcome["record_errors"]]
    if outcome["error_code"] == 0:
        kept = stored(broker, topic)
        sent = records or b""
        # Mostly it kept what was sent but for its own two fields: then say only that.
        same = len(kept) <= len(sent) and kept[16:] == sent[16 : len(kept)]
        outcome["stored"] = "as sent" if same else kept.hex()
        outcome["bytes_left_out"] = len(sent) - len(kept) if same else 0
    return outcome


@contextlib.contextmanager
def kafka(port: int) -> Iterator[int]:
    if port:
        yield port
        return
    with RealKafka() as broker:
        yield broker.port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of a Kafka that runs already")
    parser.add_argument("--only", default="", help="only shapes with this in their name; printed")
    parser.add_argument("--output", type=Path, default=GOLDEN, help="where the outcomes go")
    arguments = parser.parse_args()
    now_ms = int(time.time() * 1000)
    outcomes: dict[str, Any] = {}
    with kafka(arguments.port) as port:
        for number, (name, shape) in enumerate(shapes().items()):
            if arguments.only not in name:
                continue
            broker = Broker(port)
            topic = f"probe-{now_ms}-{number}"
            try:
                outcomes[name] = ask(broker, topic, shape, now_ms)
            except ConnectionError:
                outcomes[name] = {"closed": True}
            except TimeoutError:
                outcomes[name] = {"unanswered": True}
            finally:
                broker.close()
            if arguments.only:
                print(name, outcomes[name])
    if not arguments.only:
        lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(o)}" for n, o in outcomes.items())
        arguments.output.write_text(f'{{"now_ms": {now_ms}, "outcomes": {{\n{lines}\n}}}}\n')
        print(f"{len(outcomes)} outcomes written to {arguments.output}")


if __name__ == "__main__":
    main()
