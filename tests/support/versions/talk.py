"""A conversation with one broker about one API in one version, and what was answered.

A scenario is an `async` function of a `Talk`, registered for its API and for a
*world*: a broker's settings and history. What it asks with `good`, `bad` and
`ask` is kept; what it does with the others only makes ready.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tests.support.raw_client import ConnectionClosedError, RawClient, framed, request_bytes
from tests.support.versions.build import build
from tests.support.versions.normal import Masks

from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.wire.apis import API, request_class, response_class
from ottla.wire.codec import decode
from ottla.wire.headers import read_response_header

CLOSED = "closed"
"""What is kept where the broker closed the connection instead of an answer."""

NEVER = "never"
"""What is kept where an answer should have come and did not."""

UNANSWERED = "no answer"
"""What is kept where there is none to come (acks=0) and the connection goes on."""

OLD_MS = 1_700_000_000_000
"""The time of every record that has one of its own."""

PATIENCE_S = 10.0
API_VERSIONS, PRODUCE = 18, 0

Scenario = Callable[["Talk"], Awaitable[None]]

SCENARIOS: dict[tuple[str, int], Scenario] = {}
"""(world, API key) -> what is asked."""

NOT_READY = frozenset({3, 5, 6, 14, 15, 16, 100})
"""Codes that a topic or a coordinator may give for a moment after it was created."""


def scenario(api_key: int, world: str = "default") -> Callable[[Scenario], Scenario]:
    """Register what is asked of an API."""

    def register(function: Scenario) -> Scenario:
        assert (world, api_key) not in SCENARIOS
        SCENARIOS[world, api_key] = function
        return function

    return register


class Sockets:
    """The one thing `RawClient` needs of a network."""

    async def connect(self, host: str, port: int, factory: Any) -> Any:
        return await asyncio.get_running_loop().create_connection(factory, host, port)


class Told:
    """One thing asked: what was expected to come of it, and what came, in plain values."""

    def __init__(self, case: str, kind: str, answer: Any) -> None:
        self.case = case
        self.kind = kind
        self.answer = answer


class Talk:
    def __init__(self, port: int, topics: dict[bytes, str], api_key: int, version: int) -> None:
        """`topics` are the names of all topic ids, and grows."""
        self.api_key = api_key
        self.version = version
        self.api = API[api_key].name
        self.prefix = f"{self.api.lower().replace('_', '-')}-{version}"
        self.masks = Masks(port, topics)
        self.told: list[Told] = []
        self.topics = topics
        self._port = port
        self._request_class = request_class(api_key)
        self._connections: dict[str, RawClient] = {}
        self._first: Any = None

    # Asking

    async def good(self, case: str, /, **fields: Any) -> Any:
        """Ask what must succeed: no error anywhere in the answer."""
        return await self.ask(case, "good", **fields)

    async def bad(self, case: str, /, **fields: Any) -> Any:
        """Ask what must fail: an error somewhere in the answer, or a closed connection."""
        return await self.ask(case, "bad", **fields)

    async def ask(
        self,
        case: str,
        kind: str = "",
        /,
        *,
        own: bool = False,
        patience_s: float = PATIENCE_S,
        **fields: Any,
    ) -> Any:
        """Send the request these fields make in our version; keep and return the answer.

        None where the connection was closed instead. With `own`, what belongs to
        other talks is left out of what is kept, and the rest sorted by name.
        """
        request = build(self._request_class, self.version, fields)
        if self._first is None:
            self._first = request
        connection = await self.connection()
        connection.send(request, self.version, client_id="c")
        answer = None
        try:
            async with asyncio.timeout(patience_s):
                answer = await connection.receive()
        except (ConnectionClosedError, TimeoutError) as error:
            self._connections.pop("c").close()
            self._keep(case, kind, NEVER if isinstance(error, TimeoutError) else CLOSED)
        else:
            self.note(case, kind, answer, self.version, own=own)
        return answer

    def note(self, case: str, kind: str, answer: Any, version: int, *, own: bool = False) -> None:
        """Keep an answer that somebody received."""
        self._learn(answer)
        kept = self.masks.normal(answer, version)
        self._keep(case, kind, only_own(kept, self.prefix) if own else kept)

    def _keep(self, case: str, kind: str, answer: Any) -> None:
        assert all(told.case != case for told in self.told), f"{case!r} was asked before"
        self.told.append(Told(case, kind, answer))

    async def unanswered(self, case: str, kind: str, /, **fields: Any) -> None:
        """Ask what gets no answer: is the connection closed, or does it go on?"""
        connection = await self.connection("c")
        request = build(self._request_class, self.version, fields)
        connection.write(framed(request_bytes(request, self.version, client_id="c")))
        connection.send(request_class(API_VERSIONS)(), 0)
        outcome = UNANSWERED
        try:
            async with asyncio.timeout(PATIENCE_S):
                await connection.receive()
        except ConnectionClosedError:
            outcome = CLOSED
            del self._connections["c"]
        self._keep(case, kind, outcome)

    async def noise(self) -> None:
        """Ask the first request again: cut short, with bytes behind it, and in other versions."""
        assert self._first is not None
        whole = request_bytes(self._first, self.version, client_id="c")
        await self.raw("one byte short", "bad", whole[:-1])
        await self.raw("bytes behind the request", "", whole + b"\1\2\3", self.version)
        info = API[self.api_key]
        if self.version == info.max_version:
            above = info.max_version + 1
            other = whole[:2] + above.to_bytes(2, "big") + whole[4:]
            # Only ApiVersions answers, and that in version 0.
            answered = 0 if self.api_key == API_VERSIONS else None
            await self.raw("a version above the last", "bad", other, answered)
        if self.version == info.min_version and info.min_version > 0:
            below = info.min_version - 1
            other = whole[:2] + below.to_bytes(2, "big") + whole[4:]
            await self.raw("a version below the first", "bad", other)

    async def raw(self, case: str, kind: str, payload: bytes, answered: int | None = None) -> None:
        """Send bytes that may be no request; an answer is expected in version `answered`."""
        connection = await RawClient.connect(Sockets(), "127.0.0.1", self._port)  # type: ignore[arg-type]
        try:
            connection.write(framed(payload))
            async with asyncio.timeout(PATIENCE_S):
                frame = await connection.frame()
            kept: Any = frame.hex()
            if answered is not None:
                _, position = read_response_header(frame, self.api_key, answered)
                cls: Any = response_class(self.api_key)
                answer, end = decode(cls, answered, frame, position)
                assert end == len(frame), f"{len(frame) - end} bytes after the response"
                self._learn(answer)
                kept = only_own(self.masks.normal(answer, answered), self.prefix)
        except ConnectionClosedError:
            kept = CLOSED
        except TimeoutError:
            kept = NEVER
        finally:
            connection.close()
        self._keep(case, kind, kept)

    async def connection(self, name: str = "c") -> RawClient:
        if name not in self._connections:
            self._connections[name] = await RawClient.connect(
                Sockets(),  # type: ignore[arg-type]
                "127.0.0.1",
                self._port,
            )
        return self._connections[name]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _learn(self, value: Any) -> None:
        """Remember the names of topic ids an answer tells."""
        topic_id, name = getattr(value, "topic_id", None), getattr(value, "name", None)
        if topic_id and any(topic_id) and name:
            self.topics[bytes(topic_id)] = name
        for field in getattr(value, "__slots__", ()):
            inner = getattr(value, field)
            if isinstance(inner, list):
                for item in inner:
                    self._learn(item)

    # Making ready

    def name(self, stem: str) -> str:
        """A name of topic or group that nobody else uses."""
        return f"{self.prefix}-{stem}"

    async def tell(self, api_key: int, version: int, /, **fields: Any) -> Any:
        """Send what is not kept."""
        connection = await self.connection("ready")
        request = build(request_class(api_key), version, fields)
        async with asyncio.timeout(PATIENCE_S):
            return await connection.call(request, version)

    async def topic(
        self,
        stem: str,
        partitions: int = 1,
        batches: Iterable[bytes] = (),
        whole_name: str | None = None,
        **configs: str,
    ) -> str:
        """Create a topic, wait until it is led, append to its partition 0; return its name.

        A `_` in a setting's name stands for a dot.
        """
        name = whole_name or self.name(stem)
        settings = {"retention.ms": "-1"} | {k.replace("_", "."): v for k, v in configs.items()}
        answer = await self.tell(
            19,
            7,
            topics=[
                {
                    "name": name,
                    "num_partitions": partitions,
                    "replication_factor": 1,
                    "configs": [{"name": k, "value": v} for k, v in settings.items()],
                }
            ],
        )
        (created,) = answer.topics
        assert created.error_code == 0, created
        self.topics[created.topic_id] = name
        for number in range(partitions):
            await self.led(name, number)
        for batch in batches:
            await self.append(name, batch)
        return name

    async def led(self, name: str, partition: int) -> None:
        """Come back when somebody leads the partition."""
        row = {"partition_index": partition, "timestamp": -1}
        topics = [{"name": name, "partitions": [row]}]
        while True:
            answer = await self.tell(2, 1, replica_id=-1, topics=topics)
            code = answer.topics[0].partitions[0].error_code
            if code not in NOT_READY:
                assert code == 0, code
                return
            await asyncio.sleep(0.01)

    async def appears(self, name: str) -> None:
        """Come back when a topic is there that somebody else creates."""
        while True:
            asked = {"topics": [{"name": name}], "allow_auto_topic_creation": False}
            answer = await self.tell(3, 12, **asked)
            if answer.topics[0].error_code == 0:
                self.topics[answer.topics[0].topic_id] = name
                return
            await asyncio.sleep(0.01)

    def topic_id(self, name: str) -> bytes:
        (topic_id,) = [key for key, value in self.topics.items() if value == name][-1:]
        return topic_id

    async def append(self, topic: str, batch: bytes, partition: int = 0) -> int:
        """Return the base offset."""
        answer = await self.tell(
            PRODUCE,
            9,
            acks=-1,
            timeout_ms=10_000,
            topic_data=[
                {"name": topic, "partition_data": [{"index": partition, "records": batch}]}
            ],
        )
        row = answer.responses[0].partition_responses[0]
        assert row.error_code == 0, row
        return int(row.base_offset)

    async def group_ready(self, group: str) -> None:
        """Come back when the group's coordinator is there."""
        while True:
            answer = await self.tell(15, 0, groups=[group])
            if answer.groups[0].error_code not in NOT_READY:
                return
            await self.tell(10, 0, key=group)
            await asyncio.sleep(0.01)


_PROBE = re.compile(r"[a-z-]+-\d+-")


def only_own(kept: Any, prefix: str) -> Any:
    """A kept answer without the topics and groups of other talks, and internal ones."""
    if isinstance(kept, dict):
        return {name: only_own(value, prefix) for name, value in kept.items()}
    if isinstance(kept, list) and kept and isinstance(kept[0], dict):
        names = [_name_of(item) for item in kept]
        if names[0] is None:
            return [only_own(item, prefix) for item in kept]
        return sorted(
            (item for item, name in zip(kept, names) if _is_own(name or "", prefix)),
            key=lambda item: str(_name_of(item)),
        )
    return kept


def _is_own(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}-") or not (_PROBE.match(name) or name.startswith("__"))


def _name_of(item: dict[str, Any]) -> str | None:
    for key in "name", "topic", "group_id", "resource_name":
        if isinstance(item.get(key), str):
            return str(item[key])
    return None


def batch(*values: str | None, key: bytes | None = b"k", at: int = OLD_MS, **options: Any) -> bytes:
    """One batch with these values, a millisecond apart."""
    records = [
        Record(timestamp=at + i, key=key, value=None if value is None else value.encode())
        for i, value in enumerate(values)
    ]
    return build_batch(records, **options)


async def hold(talk: Talk, world: str) -> list[Told]:
    """Have one conversation; return what was told."""
    try:
        await SCENARIOS[world, talk.api_key](talk)
        if world == "default":
            await talk.noise()
    finally:
        talk.close()
    return talk.told
