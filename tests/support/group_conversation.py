"""A conversation about groups that any broker can have, and what it answered.

The same requests go to the real Kafka (`tests/interop/group_goldens.py`, which
writes `tests/goldens/groups/`) and to our handlers. An answer is one line: the
fields that are not the default, with member ids and topic ids by name.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tests.support.group_world import subscription

from ottla.wire.generated.delete_groups import DeleteGroupsRequest
from ottla.wire.generated.describe_groups import DescribeGroupsRequest
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.wire.generated.leave_group import LeaveGroupRequest, MemberIdentity
from ottla.wire.generated.list_groups import ListGroupsRequest
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from ottla.wire.message import Message, Struct

TOPICS = {"t": 2, "u": 1}
"""The topics that exist, and their partitions."""

Send = Callable[[str, Message, int], Awaitable[Message]]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Conversation:
    """Sends requests and keeps the answers as lines."""

    def __init__(self, send: Send, topic_ids: dict[str, bytes]) -> None:
        self._send = send
        self.topic_ids = topic_ids
        self._uuids: dict[str, int] = {}
        self.lines: list[str] = []

    async def ask(self, request: Message, version: int, client: str = "c") -> Any:
        place = len(self.lines)
        api = type(request).__name__.removesuffix("Request")
        self.lines.append(f"{client} {api} v{version}: ")
        response = await self._send(client, request, version)
        self.lines[place] += _UUID.sub(self._number, self._show(response))
        return response

    async def tell(self, request: Message, version: int, client: str = "c") -> None:
        """Ask without keeping the answer."""
        await self._send(client, request, version)

    def say(self, title: str) -> None:
        self.lines.append(f"# {title}")

    def _number(self, match: re.Match[str]) -> str:
        return str(self._uuids.setdefault(match[0], len(self._uuids) + 1))

    def _show(self, value: Any) -> str:
        if isinstance(value, Message | Struct):
            default = type(value)()
            fields = [
                f"{name}={self._show(getattr(value, name))}"
                for name in value.__slots__
                if getattr(value, name) != getattr(default, name) and name != "throttle_time_ms"
            ]
            return f"({' '.join(fields)})"
        if isinstance(value, list):
            shown = [self._show(item) for item in value]
            if value and (hasattr(value[0], "group_id") or hasattr(value[0], "client_host")):
                shown.sort()  # groups, and members of one, have no order
            return "[" + " ".join(shown) + "]"
        for name, topic_id in self.topic_ids.items():
            if value == topic_id:
                return f"<id of {name}>"
        return repr(int(value)) if isinstance(value, int) else repr(value)


def join(group: str, member: str = "", **options: Any) -> JoinGroupRequest:
    protocols = options.pop("protocols", {"range": subscription("t")})
    return JoinGroupRequest(
        group_id=group,
        member_id=member,
        session_timeout_ms=options.pop("session_timeout_ms", 30_000),
        rebalance_timeout_ms=options.pop("rebalance_timeout_ms", 30_000),
        protocol_type=options.pop("protocol_type", "consumer"),
        protocols=[
            JoinGroupRequestProtocol(name=name, metadata=metadata)
            for name, metadata in protocols.items()
        ],
        **options,
    )


def sync(group: str, member: str, generation: int, **options: Any) -> SyncGroupRequest:
    assignments = options.pop("assignments", {})
    return SyncGroupRequest(
        group_id=group,
        member_id=member,
        generation_id=generation,
        protocol_type=options.pop("protocol_type", "consumer"),
        protocol_name=options.pop("protocol_name", "range"),
        assignments=[
            SyncGroupRequestAssignment(member_id=name, assignment=value)
            for name, value in assignments.items()
        ],
        **options,
    )


def beat(group: str, member: str, generation: int, **options: Any) -> HeartbeatRequest:
    return HeartbeatRequest(group_id=group, member_id=member, generation_id=generation, **options)


def leave(group: str, *members: tuple[str, str | None]) -> LeaveGroupRequest:
    return LeaveGroupRequest(
        group_id=group,
        members=[
            MemberIdentity(member_id=member, group_instance_id=instance)
            for member, instance in members
        ],
    )


def commit(
    group: str,
    offsets: dict[str | bytes, dict[int, int]],
    member: str = "",
    generation: int = -1,
    metadata: str | None = None,
    **options: Any,
) -> OffsetCommitRequest:
    """`offsets` are by topic name, or by topic id from version 10 on."""
    return OffsetCommitRequest(
        group_id=group,
        member_id=member,
        generation_id_or_member_epoch=generation,
        topics=[
            OffsetCommitRequestTopic(
                **_topic(topic),
                partitions=[
                    OffsetCommitRequestPartition(
                        partition_index=index, committed_offset=offset, committed_metadata=metadata
                    )
                    for index, offset in partitions.items()
                ],
            )
            for topic, partitions in offsets.items()
        ],
        **options,
    )


def _topic(topic: str | bytes) -> dict[str, Any]:
    return {"name": topic} if isinstance(topic, str) else {"topic_id": topic}


def fetch(
    group: str, topics: dict[str, list[int]] | None, require_stable: bool = False
) -> OffsetFetchRequest:
    """Up to version 7."""
    return OffsetFetchRequest(
        group_id=group,
        require_stable=require_stable,
        topics=None
        if topics is None
        else [
            OffsetFetchRequestTopic(name=name, partition_indexes=indexes)
            for name, indexes in topics.items()
        ],
    )


def fetch_groups(
    groups: dict[str, dict[str | bytes, list[int]] | None], require_stable: bool = False
) -> OffsetFetchRequest:
    """From version 8 on."""
    return OffsetFetchRequest(
        require_stable=require_stable,
        groups=[
            OffsetFetchRequestGroup(
                group_id=group,
                topics=None
                if topics is None
                else [
                    OffsetFetchRequestTopics(**_topic(topic), partition_indexes=indexes)
                    for topic, indexes in topics.items()
                ],
            )
            for group, topics in groups.items()
        ],
    )


def delete_offsets(group: str, topics: dict[str, list[int]]) -> OffsetDeleteRequest:
    return OffsetDeleteRequest(
        group_id=group,
        topics=[
            OffsetDeleteRequestTopic(
                name=name,
                partitions=[OffsetDeleteRequestPartition(partition_index=i) for i in indexes],
            )
            for name, indexes in topics.items()
        ],
    )


async def unknown_groups(talk: Conversation) -> None:
    """Everything about a group that does not exist, or has no name."""
    for group in ("nobody", ""):
        talk.say(f"group {group!r}")
        for version in (0, 3, 4, 9):
            await talk.ask(join(group, "m"), version)
        await talk.ask(join(group, session_timeout_ms=1), 9)
        await talk.ask(join(group, session_timeout_ms=1_800_001), 9)
        for version in (0, 3, 5):
            await talk.ask(sync(group, "m", 1), version)
        await talk.ask(sync(group, "m", 1, protocol_type=None), 5)
        await talk.ask(sync(group, "m", 1, protocol_name=None), 5)
        for version in (0, 3, 4):
            await talk.ask(beat(group, "m", 1), version)
        for version in (0, 2):
            await talk.ask(LeaveGroupRequest(group_id=group, member_id="m"), version)
        for version in (3, 5):
            await talk.ask(leave(group, ("m", None), ("", "i")), version)
        for version in (2, 5, 8, 9):
            await talk.ask(commit(group, {"t": {0: 1}}, "m", 1), version)
        await talk.ask(commit(group, {talk.topic_ids["t"]: {0: 1}}, "m", 1), 10)
        for version in (1, 2, 5, 7):
            await talk.ask(fetch(group, {"t": [0, 7], "nowhere": [0]}), version)
        await talk.ask(fetch(group, None), 7)
        for version in (8, 9):
            await talk.ask(fetch_groups({group: {"t": [0], "nowhere": [0]}}), version)
        await talk.ask(fetch_groups({group: None}), 9)
        await talk.ask(fetch_groups({group: {talk.topic_ids["t"]: [0], b"?" * 16: [0]}}), 10)
        await talk.ask(delete_offsets(group, {"t": [0]}), 0)
        await talk.ask(delete_offsets(group, {"nowhere": [0]}), 0)
        for version in (0, 4, 5, 6):
            await talk.ask(DescribeGroupsRequest(groups=[group]), version)
        await talk.ask(DescribeGroupsRequest(groups=[group], include_authorized_operations=True), 6)
        for version in (0, 2):
            await talk.ask(DeleteGroupsRequest(groups_names=[group, group]), version)
    await talk.ask(ListGroupsRequest(), 5)


async def bad_joins(talk: Conversation) -> None:
    talk.say("no protocols, no type")
    await talk.ask(join("bad", protocols={}), 9)
    await talk.ask(join("bad", protocol_type=""), 9)
    await talk.ask(join("bad", session_timeout_ms=5_999), 9)
    await talk.ask(join("bad", group_instance_id="i", protocols={}), 9)
    # Kafka made an empty group of it; we do not.
    await talk.tell(DeleteGroupsRequest(groups_names=["bad"]), 2)


async def one_member(talk: Conversation) -> None:
    """A group of one, at each of its stages, asked rightly and wrongly."""
    group = "one"
    talk.say("a member id is handed out")
    member = (await talk.ask(join(group), 9)).member_id
    await talk.ask(ListGroupsRequest(), 5)
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    await talk.ask(beat(group, member, 0), 4)
    await talk.ask(sync(group, member, 0), 5)
    talk.say("joined: CompletingRebalance")
    joined = await talk.ask(join(group, member), 9)
    generation = joined.generation_id
    await talk.ask(join(group, member), 9)
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    await talk.ask(beat(group, member, generation), 4)
    await talk.ask(beat(group, member, generation + 1), 4)
    await talk.ask(beat(group, "other", generation), 4)
    await talk.ask(beat(group, member, generation, group_instance_id="i"), 4)
    await talk.ask(commit(group, {"t": {0: 1}}, member, generation), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, member, generation - 1), 9)
    await talk.ask(commit(group, {"t": {0: 1}}), 9)
    await talk.ask(sync(group, member, generation - 1), 5)
    await talk.ask(sync(group, "other", generation), 5)
    await talk.ask(sync(group, member, generation, protocol_type="connect"), 5)
    await talk.ask(sync(group, member, generation, protocol_name="roundrobin"), 5)
    await talk.ask(sync(group, member, generation, group_instance_id="i"), 5)
    await talk.ask(delete_offsets(group, {"t": [0], "u": [0]}), 0)
    await talk.ask(DeleteGroupsRequest(groups_names=[group]), 2)
    talk.say("synced: Stable")
    await talk.ask(sync(group, member, generation, assignments={member: b"mine", "z": b"?"}), 5)
    await talk.ask(sync(group, member, generation), 4)
    await talk.ask(sync(group, member, generation), 0)
    for version in (0, 3, 4):
        await talk.ask(beat(group, member, generation), version)
    for version in (0, 5, 6):
        await talk.ask(DescribeGroupsRequest(groups=[group, "nobody"]), version)
    await talk.ask(DescribeGroupsRequest(groups=[group], include_authorized_operations=True), 6)
    for version in (0, 3, 4, 5):
        await talk.ask(ListGroupsRequest(), version)
    for states, types in (
        (["stable"], []),
        ([" STABLE "], []),
        (["Empty"], []),
        (["nonsense"], []),
        ([], ["Classic"]),
        ([], ["consumer"]),
        ([], ["nonsense"]),
        (["stable"], ["classic", "share"]),
    ):
        await talk.ask(ListGroupsRequest(states_filter=states, types_filter=types), 5)
    await talk.ask(DeleteGroupsRequest(groups_names=[group]), 2)
    talk.say("joins that do not fit")
    await talk.ask(join(group, protocol_type="connect"), 9)
    await talk.ask(join(group, protocols={"roundrobin": b""}), 9)
    await talk.ask(join(group, "other"), 9)
    await talk.ask(join(group, member, group_instance_id="i"), 9)
    talk.say("commits")
    offsets: dict[str | bytes, dict[int, int]]
    offsets = {"t": {0: 5, 1: 6, 2: 7, -1: 8}, "nowhere": {0: 1}, "u": {0: 9}}
    for version in (2, 5, 6, 7, 8, 9):
        await talk.ask(commit(group, offsets, member, generation, "m"), version)
    ids = talk.topic_ids
    by_id: dict[str | bytes, dict[int, int]]
    by_id = {ids["t"]: {0: 15, 9: 1}, b"?" * 16: {0: 1}, bytes(16): {0: 1}}
    await talk.ask(commit(group, by_id, member, generation), 10)
    await talk.ask(commit(group, {}, member, generation), 9)
    await talk.ask(commit(group, {"t": {0: -5}}, member, generation), 9)
    await talk.ask(commit(group, {"t": {1: 1}}, member, generation, "x" * 4096), 9)
    await talk.ask(commit(group, {"t": {1: 2}}, member, generation, "x" * 4097), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, "other", generation), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, member, generation + 1), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, member, -1), 9)
    await talk.ask(commit(group, {"t": {0: 1}}), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, member, generation, group_instance_id="i"), 9)
    talk.say("fetches")
    for version in (1, 2, 5, 6, 7):
        await talk.ask(fetch(group, {"t": [0, 5], "u": [], "nowhere": [0]}), version)
    await talk.ask(fetch(group, {"u": [0]}, require_stable=True), 7)
    await talk.ask(fetch_groups({group: {"u": [0]}, "nobody": {"u": [0]}}), 8)
    await talk.ask(fetch_groups({group: {"u": [0]}, "nobody": None}), 9)
    await talk.ask(fetch_groups({group: {ids["u"]: [0], b"?" * 16: [0, 1]}}), 10)
    await talk.ask(fetch_groups({}), 9)
    talk.say("deleting offsets")
    await talk.ask(delete_offsets(group, {"t": [0], "u": [0, 4], "nowhere": [0]}), 0)
    await talk.ask(delete_offsets(group, {}), 0)
    await talk.ask(fetch_groups({group: {"u": [0]}}), 9)
    talk.say("leaving")
    await talk.ask(leave(group, ("other", None), ("", None), ("", "i"), (member, "i")), 5)
    await talk.ask(leave(group), 5)
    await talk.ask(leave(group, (member, None), (member, None)), 5)
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    await talk.ask(beat(group, member, generation), 4)
    await talk.ask(join(group, member), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, member, generation), 9)
    await talk.ask(commit(group, {"t": {0: 77}}), 9)
    await talk.ask(commit(group, {"t": {0: 78}}, "anyone", -1), 9)
    await talk.ask(delete_offsets(group, {"t": [1]}), 0)
    await talk.ask(ListGroupsRequest(states_filter=["Empty"]), 5)
    await talk.ask(DeleteGroupsRequest(groups_names=["nobody", group]), 2)
    await talk.ask(fetch_groups({group: {"t": [0]}}), 9)
    await talk.ask(ListGroupsRequest(), 5)


async def old_clients(talk: Conversation) -> None:
    """Before version 4 nobody is asked for its id."""
    group = "old"
    for version in (0, 1, 3):
        joined = await talk.ask(join(f"{group}{version}"), version)
        member, generation = joined.member_id, joined.generation_id
        name = f"{group}{version}"
        assignments = {"assignments": {member: b"a"}}
        await talk.ask(sync(name, member, generation, **assignments), min(version, 3))
        await talk.ask(LeaveGroupRequest(group_id=name, member_id=member), min(version, 2))
        await talk.ask(LeaveGroupRequest(group_id=name, member_id=member), min(version, 2))


async def static_member(talk: Conversation) -> None:
    group = "static"
    first = await talk.ask(join(group, group_instance_id="i"), 9)
    old, generation = first.member_id, first.generation_id
    await talk.ask(
        sync(group, old, generation, group_instance_id="i", assignments={old: b"mine"}), 5
    )
    talk.say("it comes back without its id")
    new = (await talk.ask(join(group, group_instance_id="i"), 9)).member_id
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    await talk.ask(beat(group, old, generation, group_instance_id="i"), 4)
    await talk.ask(beat(group, old, generation), 4)
    await talk.ask(sync(group, old, generation, group_instance_id="i"), 5)
    await talk.ask(join(group, old, group_instance_id="i"), 9)
    await talk.ask(commit(group, {"t": {0: 1}}, old, generation, group_instance_id="i"), 9)
    await talk.ask(leave(group, (old, "i")), 5)
    await talk.ask(leave(group, (old, None)), 5)
    await talk.ask(sync(group, new, generation, group_instance_id="i"), 5)
    talk.say("and again, as an older client")
    newer = (await talk.ask(join(group, group_instance_id="i"), 8)).member_id
    await talk.ask(beat(group, newer, generation, group_instance_id="j"), 4)
    await talk.ask(beat(group, newer, generation), 4)
    talk.say("with another protocol: a rebalance")
    protocols = {"roundrobin": subscription("t")}
    last = await talk.ask(join(group, group_instance_id="i", protocols=protocols), 9)
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    talk.say("an administrator removes it")
    await talk.ask(leave(group, ("", "i"), ("", "j")), 3)
    await talk.ask(beat(group, last.member_id, last.generation_id), 4)
    await talk.ask(DeleteGroupsRequest(groups_names=[group]), 0)


async def not_consumers(talk: Conversation) -> None:
    """A group of another protocol type, whose metadata nobody here can read."""
    group = "connect"
    options: dict[str, Any] = {"protocol_type": "connect", "protocols": {"v1": b"opaque"}}
    member = (await talk.ask(join(group, **options), 9)).member_id
    joined = await talk.ask(join(group, member, **options), 9)
    generation = joined.generation_id
    await talk.ask(sync(group, member, generation, protocol_type="connect", protocol_name="v1"), 5)
    await talk.ask(commit(group, {"t": {0: 1}}, member, generation), 9)
    await talk.ask(delete_offsets(group, {"t": [0]}), 0)
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    await talk.ask(ListGroupsRequest(), 5)
    await talk.ask(leave(group, (member, None)), 5)
    await talk.ask(delete_offsets(group, {"t": [0]}), 0)
    await talk.ask(DeleteGroupsRequest(groups_names=[group]), 2)


async def simple_group(talk: Conversation) -> None:
    """Offsets without members; the group without a name is one of these."""
    for group in ("simple", ""):
        talk.say(f"group {group!r}")
        await talk.ask(commit(group, {"t": {0: 3}}, metadata="hello"), 9)
        await talk.ask(fetch_groups({group: None}), 9)
        await talk.ask(fetch_groups({group: None}), 10)
        await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
        await talk.ask(ListGroupsRequest(), 5)
        await talk.ask(beat(group, "m", 1), 4)
        await talk.ask(sync(group, "m", 1), 5)
        await talk.ask(join(group, "m"), 9)
        await talk.ask(commit(group, {"t": {0: 4}}, "m", 1), 9)
        await talk.ask(commit(group, {"t": {0: 5}}, "m", 0), 9)
        await talk.ask(delete_offsets(group, {"t": [0, 1]}), 0)
        await talk.ask(fetch_groups({group: None}), 9)
        await talk.ask(DeleteGroupsRequest(groups_names=[group]), 2)


async def two_members(talk: Conversation, begin: Callable[..., Any]) -> None:
    """The second member's join waits until the first has joined again."""
    group = "two"
    a = (await talk.ask(join(group), 9, "a")).member_id
    generation = (await talk.ask(join(group, a), 9, "a")).generation_id
    await talk.ask(sync(group, a, generation, assignments={a: b"x"}), 5, "a")
    b = (await talk.ask(join(group), 9, "b")).member_id
    waiting = await begin(join(group, b), 9, "b")
    await talk.ask(DescribeGroupsRequest(groups=[group]), 6)
    await talk.ask(beat(group, a, generation), 4, "a")
    await talk.ask(sync(group, a, generation), 5, "a")
    await talk.ask(commit(group, {"t": {0: 1}}, a, generation), 9, "a")
    await talk.ask(beat(group, b, generation), 4)
    await talk.ask(delete_offsets(group, {"t": [0]}), 0)
    await talk.ask(DeleteGroupsRequest(groups_names=[group]), 2)
    await talk.ask(join(group, a), 9, "a")
    generation = (await waiting).generation_id
    waiting = await begin(sync(group, b, generation), 5, "b")
    await talk.ask(sync(group, a, generation, assignments={a: b"x", b: b"y"}), 5, "a")
    await waiting
    await talk.ask(leave(group, (b, None)), 5, "b")
    await talk.ask(beat(group, a, generation), 4, "a")
    await talk.ask(join(group, a), 9, "a")
    await talk.ask(leave(group, (a, None)), 5, "a")
    await talk.ask(DeleteGroupsRequest(groups_names=[group]), 2)


async def converse(
    talk: Conversation, begin: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
) -> None:
    """All of the above. `begin` starts a request that will wait, and lets it arrive."""

    async def begin_asking(request: Message, version: int, client: str) -> Any:
        return await begin(talk.ask(request, version, client))

    for part in (unknown_groups, bad_joins, one_member, old_clients, static_member):
        talk.say(f"--- {part.__name__}")
        await part(talk)
    for part in (not_consumers, simple_group):
        talk.say(f"--- {part.__name__}")
        await part(talk)
    talk.say("--- two_members")
    await two_members(talk, begin_asking)
