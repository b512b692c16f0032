"""A group shard with its log, its clock and its clients, driven by lines of text.

What the runtime does around a shard, done here at once: decide, append, apply,
answer. Member ids are shown as `client#1`, the first id given to that client.
A command is a verb, names, and options `key=value`; what follows from it is a
list of lines. See `tests/transcripts/group/`.
"""

from collections.abc import Callable
from typing import Any

from ottla.coordinator.group import administration, classic_requests, commits
from ottla.coordinator.group.classic_join import java_uuid
from ottla.coordinator.group.records import GroupStored, OffsetStored
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.outcome import Outcome, Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.wire.generated.leave_group import LeaveGroupRequest, MemberIdentity
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
from ottla.wire.generated.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment


class CountingRandomness:
    """Uuids 1, 2, 3 and so on."""

    def __init__(self) -> None:
        self.count = 0

    def uuid(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(16, "big")

    def below(self, bound: int) -> int:
        return 0


class NamedWaiter(Waiter):
    def __init__(self, name: str) -> None:
        self.name = name


def subscription(*topics: str) -> bytes:
    """A consumer's metadata, version 0."""
    data = b"\0\0" + len(topics).to_bytes(4, "big")
    for topic in topics:
        data += len(topic).to_bytes(2, "big") + topic.encode()
    return data + b"\xff\xff\xff\xff"


class GroupWorld:
    """`run(line)` returns what a command led to, as lines."""

    def __init__(self, **settings: int) -> None:
        self.settings = GroupSettings(**settings)
        self.now_ms = 0
        self.log: list[tuple[bytes, bytes | None]] = []
        self.refuse: ErrorCode | None = None
        self.randomness = CountingRandomness()
        self.surroundings = Surroundings(self.settings, self.randomness)
        self.shard = self._new_shard()
        self.parked: dict[int, NamedWaiter] = {}
        self.lines: list[str] = []
        self.member_ids: dict[str, str] = {}
        self.generations: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        self._alias_counts: dict[str, int] = {}
        self.carry_out(self.shard.loaded(self.now_ms))

    def _new_shard(self) -> GroupShard:
        return GroupShard(self.surroundings)

    # The runtime's part

    def carry_out(self, outcome: Outcome[Any]) -> None:
        if outcome.records and self.refuse is not None:
            code, self.refuse = self.refuse, None
            if outcome.refused is not None:
                outcome = outcome.refused(code)
                assert not outcome.records
            else:
                answers: list[Any] = [(waiter, ApiError(code)) for waiter, _ in outcome.answers]
                outcome = Outcome(answers=answers)
        for record in outcome.records:
            encoded = self.shard.encode(record)
            self.shard.apply(record, len(self.log), -1)
            self.log.append(encoded)
            self.lines.append(f"log: {self._record(record)}")
        for waiter, response in outcome.answers:
            assert isinstance(waiter, NamedWaiter)
            self.parked.pop(id(waiter), None)
            self.lines.append(f"{waiter.name} <- {self.show(response, waiter.name)}")

    def decide(self, name: str, decide: Callable[[Waiter], Outcome[Any]]) -> None:
        waiter = NamedWaiter(name)
        self.parked[id(waiter)] = waiter
        try:
            outcome = decide(waiter)
        except ApiError as error:
            outcome = Outcome(answers=[(waiter, error)])
        self.carry_out(outcome)
        if id(waiter) in self.parked:
            self.lines.append(f"{name} waits")

    def advance(self, by_ms: int) -> None:
        """Let time pass, deadline by deadline."""
        end_ms = self.now_ms + by_ms
        while True:
            when_ms = self.shard.next_deadline_ms()
            if when_ms is None or when_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, when_ms)
            outcome = self.shard.wake(self.now_ms)
            if outcome is not None:
                self.carry_out(outcome)
        self.now_ms = end_ms

    def replay(self) -> GroupShard:
        """A fresh shard with the whole log applied."""
        shard = self._new_shard()
        for offset, (key, value) in enumerate(self.log):
            record = shard.decode(key, value)
            assert record is not None
            shard.apply(record, offset, -1)
        outcome = shard.loaded(self.now_ms)
        assert not outcome.records
        assert not outcome.answers
        return shard

    # Commands

    def run(self, line: str) -> list[str]:
        self.lines = []
        verb, *words = line.split()
        names = [word for word in words if "=" not in word]
        options = dict(word.split("=", 1) for word in words if "=" in word)
        getattr(self, "_" + verb.replace("-", "_"))(names, options)
        return self.lines

    def _set(self, names: list[str], options: dict[str, str]) -> None:
        for name, value in options.items():
            setattr(self.settings, name.replace(".", "_"), int(value))

    def _refuse(self, names: list[str], options: dict[str, str]) -> None:
        self.refuse = ErrorCode[names[0]]

    def _advance(self, names: list[str], options: dict[str, str]) -> None:
        self.advance(int(names[0]))

    def _restart(self, names: list[str], options: dict[str, str]) -> None:
        for waiter in self.shard.unloaded():
            assert isinstance(waiter, NamedWaiter)
            del self.parked[id(waiter)]
            self.lines.append(f"{waiter.name} <- NOT_COORDINATOR")
        self.shard = self.replay()

    def _join(self, names: list[str], options: dict[str, str]) -> None:
        (name,) = names
        protocols = []
        for item in options.get("protocols", "range:t").split(","):
            protocol, _, topics = item.partition(":")
            metadata = subscription(*topics.split("+")) if topics else b""
            if protocol:
                protocols.append(JoinGroupRequestProtocol(name=protocol, metadata=metadata))
        member_id = options.get("id", self.member_ids.get(name, ""))
        request = JoinGroupRequest(
            group_id=options.get("group", "g"),
            member_id="" if member_id == "none" else self.real(member_id),
            group_instance_id=options.get("instance"),
            session_timeout_ms=int(options.get("session", 10_000)),
            rebalance_timeout_ms=int(options.get("rebalance", 60_000)),
            protocol_type=options.get("type", "consumer"),
            protocols=protocols,
            reason=options.get("reason"),
        )
        caller = Caller(name, "/host", int(options.get("v", 9)))
        self.decide(
            name,
            lambda waiter: classic_requests.join(self.shard, request, caller, waiter, self.now_ms),
        )

    def _sync(self, names: list[str], options: dict[str, str]) -> None:
        (name,) = names
        assignments = []
        for item in options.get("assign", "").split(","):
            if item:
                member, _, value = item.partition(":")
                assignments.append(
                    SyncGroupRequestAssignment(
                        member_id=self._id_of(member), assignment=value.encode()
                    )
                )
        request = SyncGroupRequest(
            group_id=options.get("group", "g"),
            generation_id=int(options.get("generation", self.generations.get(name, -1))),
            member_id=self._id_of(name, options),
            group_instance_id=options.get("instance"),
            protocol_type=options.get("type", "consumer"),
            protocol_name=options.get("protocol"),
            assignments=assignments,
        )
        self.decide(
            name, lambda waiter: classic_requests.sync(self.shard, request, waiter, self.now_ms)
        )

    def _heartbeat(self, names: list[str], options: dict[str, str]) -> None:
        for name in names:
            request = HeartbeatRequest(
                group_id=options.get("group", "g"),
                generation_id=int(options.get("generation", self.generations.get(name, -1))),
                member_id=self._id_of(name, options),
                group_instance_id=options.get("instance"),
            )
            self.decide(
                name,
                lambda waiter, request=request: classic_requests.heartbeat(
                    self.shard, request, waiter, self.now_ms
                ),
            )

    def _leave(self, names: list[str], options: dict[str, str]) -> None:
        members = [
            MemberIdentity(member_id=self._id_of(name, options), reason=options.get("reason"))
            for name in names
        ]
        for instance in options.get("instances", "").split(","):
            if instance:
                members.append(MemberIdentity(member_id="", group_instance_id=instance))
        request = LeaveGroupRequest(group_id=options.get("group", "g"), members=members)
        self.decide(
            names[0] if names else "admin",
            lambda waiter: classic_requests.leave(self.shard, request, waiter, self.now_ms),
        )

    def _commit(self, names: list[str], options: dict[str, str]) -> None:
        name = names[0]
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for word in names[1:]:
            where, _, offset = word.partition("@")
            topic, _, partition = where.rpartition("-")
            topics.setdefault(topic, OffsetCommitRequestTopic(name=topic)).partitions.append(
                OffsetCommitRequestPartition(
                    partition_index=int(partition),
                    committed_offset=int(offset),
                    committed_metadata=options.get("metadata"),
                )
            )
        request = OffsetCommitRequest(
            group_id=options.get("group", "g"),
            generation_id_or_member_epoch=int(
                options.get("generation", self.generations.get(name, -1))
            ),
            member_id=self._id_of(name, options),
            group_instance_id=options.get("instance"),
            retention_time_ms=int(options.get("retention", -1)),
            topics=list(topics.values()),
        )
        caller = Caller(name, "/host", int(options.get("v", 9)))
        self.decide(
            name, lambda waiter: commits.commit(self.shard, request, caller, waiter, self.now_ms)
        )

    def _fetch(self, names: list[str], options: dict[str, str]) -> None:
        topics = None
        if names:
            topics = []
            for word in names:
                topic, _, partition = word.rpartition("-")
                topics.append(
                    OffsetFetchRequestTopics(name=topic, partition_indexes=[int(partition)])
                )
        request = OffsetFetchRequestGroup(group_id=options.get("group", "g"), topics=topics)
        found = commits.fetch(self.shard, request, "stable" in options)
        for answered in found.topics:
            for part in answered.partitions:
                error = f" {ErrorCode(part.error_code).name}" if part.error_code else ""
                metadata = f" {part.metadata!r}" if part.metadata else ""
                self.lines.append(
                    f"{answered.name}-{part.partition_index}@{part.committed_offset}{metadata}{error}"
                )

    def _delete_offsets(self, names: list[str], options: dict[str, str]) -> None:
        topics: dict[str, OffsetDeleteRequestTopic] = {}
        for word in names:
            topic, _, partition = word.rpartition("-")
            topics.setdefault(topic, OffsetDeleteRequestTopic(name=topic)).partitions.append(
                OffsetDeleteRequestPartition(partition_index=int(partition))
            )
        request = OffsetDeleteRequest(
            group_id=options.get("group", "g"), topics=list(topics.values())
        )
        self.decide("admin", lambda waiter: commits.delete_offsets(self.shard, request, waiter))

    def _delete_topic(self, names: list[str], options: dict[str, str]) -> None:
        self.carry_out(self.shard.delete_topics(set(names)))

    def _delete_group(self, names: list[str], options: dict[str, str]) -> None:
        self.decide(
            "admin", lambda waiter: administration.delete_groups(self.shard, names or ["g"], waiter)
        )

    def _describe(self, names: list[str], options: dict[str, str]) -> None:
        for group_id in names or ["g"]:
            group = administration.describe_group(self.shard, group_id, int(options.get("v", 6)))
            error = f" {ErrorCode(group.error_code).name}" if group.error_code else ""
            message = f" ({group.error_message})" if group.error_message else ""
            self.lines.append(
                f"{group_id}: {group.group_state} {group.protocol_type}/{group.protocol_data}"
                f"{error}{message}"
            )
            for member in group.members:
                instance = f" [{member.group_instance_id}]" if member.group_instance_id else ""
                self.lines.append(
                    f"  {self.alias(member.member_id)}{instance}: "
                    f"{member.member_assignment.decode() or '-'}"
                )

    def _list(self, names: list[str], options: dict[str, str]) -> None:
        states = set(names)
        for group in administration.list_groups(
            self.shard, lambda state, kind: not states or state in states
        ):
            self.lines.append(
                f"{group.group_id}: {group.group_state} {group.group_type} "
                f"{group.protocol_type or '-'}"
            )

    def _history(self, names: list[str], options: dict[str, str]) -> None:
        group = self.shard.groups.get(names[0] if names else "g")
        for rebalance in group.history.rebalances if group is not None else ():
            causes = ", ".join(
                f"{self.alias(cause.member_id)} {cause.why.value}"
                + (f" ({cause.reason})" if cause.reason else "")
                for cause in rebalance.causes
            )
            more = f" and {rebalance.more_causes} more" if rebalance.more_causes else ""
            self.lines.append(
                f"{rebalance.from_generation} -> {rebalance.generation}: {causes}{more}"
            )

    # Names

    def _id_of(self, name: str, options: dict[str, str] | None = None) -> str:
        given = (options or {}).get("id", self.member_ids.get(name, name))
        return "" if given == "none" else self.real(given)

    def real(self, alias: str) -> str:
        for member_id, known in self._aliases.items():
            if known == alias:
                return member_id
        return alias

    def alias(self, member_id: str) -> str:
        """`client#n` for an id that was handed out."""
        if member_id in self._aliases or len(member_id) <= 36:
            return self._aliases.get(member_id, member_id or "nobody")
        prefix = member_id[:-37]
        count = self._alias_counts[prefix] = self._alias_counts.get(prefix, 0) + 1
        alias = self._aliases[member_id] = f"{prefix}#{count}"
        return alias

    def show(self, response: Any, name: str) -> str:
        if isinstance(response, ApiError):
            return response.code.name
        if isinstance(response, list):
            return ", ".join(f"{row.group_id} {ErrorCode(row.error_code).name}" for row in response)
        kind = type(response).__name__
        if kind == "JoinGroupResponse":
            return self._show_join(response, name)
        if kind == "SyncGroupResponse":
            if response.error_code:
                return ErrorCode(response.error_code).name
            return f"assigned {response.assignment.decode() or '-'}"
        if kind == "LeaveGroupResponse":
            return ", ".join(
                f"{self.alias(row.member_id) if row.member_id else row.group_instance_id} "
                f"{ErrorCode(row.error_code).name}"
                for row in response.members
            )
        if kind in ("OffsetCommitResponse", "OffsetDeleteResponse"):
            return ", ".join(
                f"{topic.name}-{part.partition_index} {ErrorCode(part.error_code).name}"
                for topic in response.topics
                for part in topic.partitions
            )
        return ErrorCode(response.error_code).name

    def _show_join(self, response: Any, name: str) -> str:
        who = self.alias(response.member_id)
        if response.member_id:
            self.member_ids[name] = response.member_id
        if response.error_code:
            return f"{ErrorCode(response.error_code).name} {who}"
        self.generations[name] = response.generation_id
        leads = ""
        if response.members:
            roster = " ".join(self.alias(member.member_id) for member in response.members)
            leads = f", assigns to {roster}"
        skips = ", keeps the assignment" if response.skip_assignment else ""
        return (
            f"joined {who} generation {response.generation_id} {response.protocol_name}, "
            f"leader {self.alias(response.leader)}{leads}{skips}"
        )

    def _record(self, record: Any) -> str:
        if isinstance(record, OffsetStored):
            offset = "deleted" if record.committed is None else record.committed.offset
            return f"{record.group_id} {record.topic}-{record.partition} {offset}"
        if isinstance(record, GroupStored):
            if record.value is None:
                return f"{record.group_id} deleted"
            value = record.value
            members = " ".join(self.alias(member.member_id) for member in value.members)
            return f"{record.group_id} generation {value.generation}: {members or 'nobody'}"
        return f"{record.group_id} type {record.record_type}"


def uuid_member(name: str, number: int) -> str:
    """The id that the `number`th uuid gives to a client."""
    return f"{name}-{java_uuid(number.to_bytes(16, 'big'))}"
