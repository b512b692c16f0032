"""Members of groups without a client library, so that a few thousand of them cost little.

`python -m benchmarks.group_load OPTIONS`: a process of its own. Every member has a connection of
its own, does what the Java client would, and has nothing to read. A classic member assigns as
`range` does and gives everything up before it joins again; one of the newer protocol acknowledges
what it is assigned at once, and else sends its heartbeats when it was told to.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable
from struct import Struct
from typing import Any

from ottla.client.range_assignor import assign
from ottla.model.errors import ErrorCode
from ottla.wire.apis import API
from ottla.wire.codec import decode, encode
from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitionsRequest,
)
from ottla.wire.generated.consumer_protocol_assignment import (
    ConsumerProtocolAssignment,
    TopicPartition,
)
from ottla.wire.generated.consumer_protocol_subscription import ConsumerProtocolSubscription
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from ottla.wire.generated.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from ottla.wire.generated.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from ottla.wire.headers import RequestHeader, read_response_header, request_header
from ottla.wire.prefixed import decode_versioned, encode_versioned

PATIENCE_S = 60.0
AGAIN_S = 0.05
SESSION_MS = 45_000
REBALANCE_MS = 300_000
LEAVE_EPOCH = -1
REST_S = 1.0
"""Between two changes of a group, since a group of the newer protocol is assigned once a second."""
SETTLED_S = 6.0
"""After this, members of the newer protocol send their heartbeats at the usual pace again."""

AT_ONCE = 200
"""Connections that are made at the same time."""

LOADING = frozenset(
    {
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)
MOVED_ON = frozenset({ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.ILLEGAL_GENERATION})

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_HEARTBEAT_ERROR_AT = 4 + 1 + 4
"""In the answer to a Heartbeat: behind correlation id, tags and throttle time."""


class Wire(asyncio.Protocol):
    """One connection with one request under way at most."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._take: Callable[[bytes], None] | None = None
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if len(received) >= 4 and len(received) >= (end := 4 + _INT32.unpack_from(received)[0]):
            frame = bytes(received[4:end])
            del received[:end]
            take, self._take = self._take, None
            assert take is not None
            try:
                take(frame)
            except Exception as error:
                self.failed(error)

    def failed(self, error: Exception) -> None:
        """An answer was not what it should be."""
        raise error

    def ask(self, request: Any, answer: Any, then: Callable[[Any], None]) -> None:
        """Send, and hand the decoded answer over."""
        version = API[request.API_KEY].max_version

        def take(frame: bytes) -> None:
            _, at = read_response_header(frame, request.API_KEY, version)
            then(decode(answer, version, frame[at:])[0])

        self.send(framed(request, version), take)

    def send(self, frame: bytes, take: Callable[[bytes], None]) -> None:
        assert self._take is None, "a request is under way"
        if not self.is_closed:
            self._take = take
            self._transport.write(frame)

    def close(self) -> None:
        self.is_closed = True
        self._transport.abort()


def framed(request: Any, version: int) -> bytes:
    """The request as it goes over the wire."""
    header = RequestHeader(request.API_KEY, version, 0, "group-load")
    body = request_header(header) + encode(request, version)
    return _INT32.pack(len(body)) + body


class Herd:
    """The members of one group, and who waits for them to agree."""

    def __init__(self, group: str, topic: str, partitions: int, heartbeat_s: float) -> None:
        self.group = group
        self.topic = topic
        self.partitions = partitions
        self.heartbeat_s = heartbeat_s
        self.members: list[Classic | Newer] = []
        self.heartbeats = 0
        self._settled: asyncio.Future[None] | None = None

    @property
    def is_settled(self) -> bool:
        """Everybody is in the same generation and has a fair share, and every partition an owner."""
        first = self.members[0]
        share = self.partitions // len(self.members)
        return (
            all(
                each.is_stable and each.generation == first.generation and each.owned >= share
                for each in self.members
            )
            and sum(each.owned for each in self.members) == self.partitions
        )

    def changed(self) -> None:
        if self._settled is not None and not self._settled.done() and self.is_settled:
            self._settled.set_result(None)

    def failed(self, error: Exception) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_exception(error)

    async def until_settled(self) -> None:
        """Raises TimeoutError."""
        if not self.is_settled:
            self._settled = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(PATIENCE_S):
                await self._settled


class Classic(Wire):
    """JoinGroup, SyncGroup, Heartbeat."""

    def __init__(self, herd: Herd) -> None:
        super().__init__()
        self._herd = herd
        self._loop = asyncio.get_running_loop()
        self._heartbeat = b""
        self._again: asyncio.TimerHandle | None = None
        self.member_id = ""
        self.generation = -1
        self.owned = 0
        self.is_stable = False
        self.failed = herd.failed  # type: ignore[method-assign]
        self._subscription = encode_versioned(ConsumerProtocolSubscription(topics=[herd.topic]), 1)

    def join(self) -> None:
        """Join, or join again."""
        self.is_stable = False
        self.owned = 0
        request = JoinGroupRequest(
            group_id=self._herd.group,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self.member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=self._subscription)],
        )
        self.ask(request, JoinGroupResponse, self._joined)

    def _joined(self, answer: JoinGroupResponse) -> None:
        code = answer.error_code
        if code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            self.join()
            return
        if code:
            self._start_over(code)
            return
        self.member_id = answer.member_id
        self.generation = answer.generation_id
        assignments = []
        if answer.leader == self.member_id:
            topic = self._herd.topic
            plan = assign(
                {each.member_id: [topic] for each in answer.members},
                {topic: self._herd.partitions},
            )
            for member_id, mine in plan.items():
                numbers = [number for _, number in mine]
                row = TopicPartition(topic=topic, partitions=numbers)
                blob = encode_versioned(ConsumerProtocolAssignment(assigned_partitions=[row]), 1)
                assignments.append(SyncGroupRequestAssignment(member_id=member_id, assignment=blob))
        request = SyncGroupRequest(
            group_id=self._herd.group,
            generation_id=self.generation,
            member_id=self.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=assignments,
        )
        self.ask(request, SyncGroupResponse, self._synced)

    def _synced(self, answer: SyncGroupResponse) -> None:
        if answer.error_code:
            self._start_over(answer.error_code)
            return
        given = decode_versioned(ConsumerProtocolAssignment, answer.assignment)
        self.owned = sum(len(row.partitions) for row in given.assigned_partitions)
        self.is_stable = True
        self._heartbeat = framed(
            HeartbeatRequest(
                group_id=self._herd.group,
                generation_id=self.generation,
                member_id=self.member_id,
            ),
            HeartbeatRequest.MAX_VERSION,
        )
        self._again = self._loop.call_later(self._herd.heartbeat_s, self._beat)
        self._herd.changed()

    def _beat(self) -> None:
        self._again = None
        self.send(self._heartbeat, self._beaten)

    def _beaten(self, frame: bytes) -> None:
        self._herd.heartbeats += 1
        (code,) = _INT16.unpack_from(frame, _HEARTBEAT_ERROR_AT)
        if code:
            self._start_over(code)
        else:
            self._again = self._loop.call_later(self._herd.heartbeat_s, self._beat)

    def _start_over(self, code: int) -> None:
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            self.member_id = ""
        elif code in LOADING:
            self._loop.call_later(AGAIN_S, self.join)
            return
        elif code not in MOVED_ON:
            raise RuntimeError(f"a member is told {ErrorCode(code).name}")
        self.join()

    def leave(self) -> None:
        """Leave the group, and close."""
        if self._again is not None:
            self._again.cancel()
        request = LeaveGroupRequest(
            group_id=self._herd.group, members=[MemberIdentity(member_id=self.member_id)]
        )
        self.ask(request, LeaveGroupResponse, lambda answer: self.close())

    @property
    def is_idle(self) -> bool:
        """Nothing is under way but the next heartbeat."""
        return self._again is not None


class Newer(Wire):
    """ConsumerGroupHeartbeat."""

    def __init__(self, herd: Herd) -> None:
        super().__init__()
        self._herd = herd
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._has: dict[bytes, list[int]] = {}
        self.member_id = str(uuid.uuid4())
        self.generation = 0
        self.owned = 0
        self.is_stable = False
        self.failed = herd.failed  # type: ignore[method-assign]

    def join(self) -> None:
        """The first heartbeat says everything."""
        self._beat(
            rebalance_timeout_ms=REBALANCE_MS,
            subscribed_topic_names=[self._herd.topic],
            topic_partitions=[],
        )

    def _beat(self, **said: Any) -> None:
        self._again = None
        request = ConsumerGroupHeartbeatRequest(
            group_id=self._herd.group,
            member_id=self.member_id,
            member_epoch=self.generation,
            **said,
        )
        self.ask(request, ConsumerGroupHeartbeatResponse, self._beaten)

    def _beaten(self, answer: ConsumerGroupHeartbeatResponse) -> None:
        self._herd.heartbeats += 1
        if answer.error_code in LOADING:
            self._loop.call_later(AGAIN_S, self.join)
            return
        if answer.error_code:
            raise RuntimeError(f"{ErrorCode(answer.error_code).name}: {answer.error_message}")
        self.generation = answer.member_epoch
        self.is_stable = True
        given = answer.assignment
        if given is not None:
            has = {row.topic_id: list(row.partitions) for row in given.topic_partitions}
            self.owned = sum(map(len, has.values()))
            if has != self._has:
                self._has = has
                self._beat(
                    topic_partitions=[
                        TopicPartitionsRequest(topic_id=topic_id, partitions=numbers)
                        for topic_id, numbers in has.items()
                    ]
                )
                return
        interval_s = answer.heartbeat_interval_ms / 1000
        self._again = self._loop.call_later(interval_s, self._beat)
        self._herd.changed()

    def leave(self) -> None:
        """Leave the group, and close."""
        if self._again is not None:
            self._again.cancel()
        request = ConsumerGroupHeartbeatRequest(
            group_id=self._herd.group, member_id=self.member_id, member_epoch=LEAVE_EPOCH
        )
        self.ask(request, ConsumerGroupHeartbeatResponse, lambda answer: self.close())

    @property
    def is_idle(self) -> bool:
        """Nothing is under way but the next heartbeat."""
        return self._again is not None


async def a_member(herd: Herd, options: dict[str, Any]) -> Classic | Newer:
    """A connection more; it has not joined."""
    kind = Newer if options["protocol"] == "consumer" else Classic
    host, _, port = options["bootstrap"].partition(":")
    _, member = await asyncio.get_running_loop().create_connection(
        lambda: kind(herd), host, int(port)
    )
    return member


async def herds_of(options: dict[str, Any]) -> list[Herd]:
    """All groups with all their members connected."""
    herds = [
        Herd(f"{options['group']}-{n}", options["topic"], options["partitions"], heartbeat_s)
        for heartbeat_s in [options.get("heartbeat_ms", 3_000) / 1000]
        for n in range(options["groups"])
    ]
    waiting = [herd for herd in herds for _ in range(options["members"])]
    for first in range(0, len(waiting), AT_ONCE):
        some = waiting[first : first + AT_ONCE]
        made = await asyncio.gather(*(a_member(herd, options) for herd in some))
        for herd, member in zip(some, made, strict=True):
            herd.members.append(member)
    return herds


async def find_coordinator(options: dict[str, Any]) -> None:
    """Some broker makes the topic of offsets only when it is asked for."""
    probe = Wire()
    host, _, port = options["bootstrap"].partition(":")
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: probe, host, int(port))
    while True:
        found: asyncio.Future[FindCoordinatorResponse] = loop.create_future()
        request = FindCoordinatorRequest(coordinator_keys=[options["group"]])
        probe.ask(request, FindCoordinatorResponse, found.set_result)
        if not (await found).coordinators[0].error_code:
            break
        await asyncio.sleep(AGAIN_S)
    probe.close()


async def rebalance(options: dict[str, Any]) -> dict[str, float]:
    """One group: from nothing to all members stable; then one joins, then one leaves."""
    await find_coordinator(options)
    # A group of one has the coordinator loaded before the clock starts.
    (first,) = await herds_of({**options, "group": f"{options['group']}-first", "members": 1})
    first.members[0].join()
    await first.until_settled()
    (herd,) = await herds_of(options)
    figures = {}

    began = time.perf_counter()
    for member in herd.members:
        member.join()
    await herd.until_settled()
    figures["start_s"] = time.perf_counter() - began
    await asyncio.sleep(REST_S)
    late = await a_member(herd, options)
    began = time.perf_counter()
    herd.members.append(late)
    late.join()
    await herd.until_settled()
    figures["join_s"] = time.perf_counter() - began
    await asyncio.sleep(REST_S)
    while not late.is_idle:
        await asyncio.sleep(0.01)
    began = time.perf_counter()
    herd.members.pop().leave()
    await herd.until_settled()
    figures["leave_s"] = time.perf_counter() - began
    return figures


async def hold(options: dict[str, Any]) -> dict[str, float]:
    """Many groups: say `held` once all are stable, go on until a line comes, and count heartbeats."""
    await find_coordinator(options)
    herds = await herds_of(options)
    for herd in herds:
        for member in herd.members:
            member.join()
        # One group after the other: their heartbeats come spread out, as in life.
        await asyncio.sleep(options.get("spread_ms", 3_000) / 1000 / len(herds))
    await asyncio.gather(*(herd.until_settled() for herd in herds))
    if options["protocol"] == "consumer":
        await asyncio.sleep(SETTLED_S)
    loop = asyncio.get_running_loop()
    before = sum(herd.heartbeats for herd in herds)
    began = time.perf_counter()
    print("held", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    seconds = time.perf_counter() - began
    heartbeats = sum(herd.heartbeats for herd in herds) - before
    lost = sum(1 for herd in herds if not herd.is_settled)
    if lost:
        raise RuntimeError(f"{lost} groups did not stay stable")
    return {"seconds": seconds, "heartbeats_per_s": heartbeats / seconds}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    work = {"rebalance": rebalance, "hold": hold}[asked.pop("work")]
    print(json.dumps(asyncio.run(work(asked))), flush=True)
