"""The groups of one partition of `__consumer_offsets`: routes commands, applies records.

`_stored` and `offsets` are what survives a restart; `apply` alone changes
them. `_groups` has the working state of every classic group, made from
`_stored` when loading is over and moved on by decisions from then on. Groups of
newer protocols that a Kafka left in the log are known by their keys: their
offsets can be read, committed by administrators and deleted, and they turn
into classic groups when a classic member joins.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.classic import EMPTY, STABLE, ClassicGroup, join_error
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.offsets import Offsets
from ottla.coordinator.group.records import (
    NO_TIMESTAMP,
    CommittedOffset,
    GroupRecord,
    GroupStored,
    NewerProtocolStored,
    OffsetStored,
    decode,
    encode,
)
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.coordinator.outcome import Outcome, Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import ZERO_UUID, Offset, ProducerId, TopicName, Uuid
from ottla.model.randomness import Randomness
from ottla.wire.generated.delete_groups import DeletableGroupResult
from ottla.wire.generated.describe_groups import DescribedGroup, DescribedGroupMember
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import JoinGroupRequest
from ottla.wire.generated.leave_group import LeaveGroupRequest
from ottla.wire.generated.list_groups import ListedGroup
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.wire.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from ottla.wire.generated.records.group_metadata_value import GroupMetadataValue
from ottla.wire.generated.sync_group import SyncGroupRequest

Out = Outcome[GroupRecord]

GROUPS_PER_EXPIRY = 100
TOMBSTONES_PER_EXPIRY = 1_000
"""How much of a round of expiry is done at once."""

_EXPIRY = ("expiry",)


class GroupShard:
    """Implements `outcome.Shard` for group records."""

    def __init__(self, settings: GroupSettings, randomness: Randomness) -> None:
        self._settings = settings
        self._randomness = randomness
        self._deadlines = Deadlines()
        self._stored: dict[str, GroupMetadataValue] = {}
        self._groups: dict[str, ClassicGroup] = {}
        self._newer: dict[str, dict[bytes, int]] = {}
        self._expiring: Iterator[str] | None = None
        self.offsets = Offsets()

    # The replicated part

    def encode(self, record: GroupRecord) -> tuple[bytes, bytes | None]:
        return encode(record)

    def decode(self, key: bytes, value: bytes | None) -> GroupRecord | None:
        return decode(key, value)

    def apply(self, record: GroupRecord, offset: Offset, producer_id: ProducerId) -> None:
        """Replay one record, live or on loading."""
        group_id = record.group_id
        if isinstance(record, OffsetStored):
            self.offsets.apply(record, offset, producer_id)
            if record.committed is not None and group_id not in self._groups:
                self._simple_group(group_id)
        elif isinstance(record, GroupStored):
            if record.value is not None:
                self._stored[group_id] = record.value
                if group_id not in self._groups:
                    self._groups[group_id] = self._new_group(group_id, NO_TIMESTAMP)
            else:
                self._stored.pop(group_id, None)
                group = self._groups.pop(group_id, None)
                if group is not None:
                    group.die()
        else:
            self._apply_newer(record)

    def apply_marker(self, producer_id: ProducerId, committed: bool) -> None:
        """Replay the end of a transaction."""
        self.offsets.apply_marker(producer_id, committed)

    def _apply_newer(self, record: NewerProtocolStored) -> None:
        group_id = record.group_id
        if record.value is not None:
            self._newer.setdefault(group_id, {})[record.key] = record.record_type
            group = self._groups.get(group_id)
            if group is not None and group.is_simple and group_id not in self._stored:
                del self._groups[group_id]
            return
        keys = self._newer.get(group_id)
        if keys is not None:
            keys.pop(record.key, None)
            if not keys:
                del self._newer[group_id]
                if self.offsets.of_group(group_id):
                    self._simple_group(group_id)

    def _simple_group(self, group_id: str) -> None:
        """Offsets without a group: a simple one holds them."""
        if group_id not in self._groups and group_id not in self._newer:
            self._groups[group_id] = self._new_group(group_id, NO_TIMESTAMP)

    def _new_group(self, group_id: str, now_ms: int) -> ClassicGroup:
        return ClassicGroup(group_id, self._settings, self._deadlines, self._randomness, now_ms)

    # Loading, deadlines

    def loaded(self, now_ms: int) -> Out:
        """Make the working state from what is stored, and set deadlines."""
        together = Out()
        for group_id, value in self._stored.items():
            group = self._groups[group_id]
            group.restore(value)
            outcome = group.resume(now_ms)
            assert not outcome.answers
            together.records.extend(outcome.records)
        self._deadlines.set(_EXPIRY, now_ms + self._settings.offsets_retention_check_interval_ms)
        return together

    def unloaded(self) -> Sequence[Waiter]:
        return [waiter for group in self._groups.values() for waiter in group.waiters()]

    def next_deadline_ms(self) -> int | None:
        return self._deadlines.next_ms()

    def wake(self, now_ms: int) -> Out | None:
        """Decide the earliest deadline that has passed."""
        key = self._deadlines.pop_due(now_ms)
        if key is None:
            return None
        assert isinstance(key, tuple)
        if key == _EXPIRY:
            return self._expire(now_ms)
        group = self._groups.get(key[1])
        if group is None:
            return Out()
        if key[0] == "session":
            return group.session_expired(key[2], now_ms)
        if key[0] == "join":
            return group.join_expired(now_ms)
        return group.sync_expired(now_ms)

    def _expire(self, now_ms: int) -> Out:
        """Delete expired offsets, and empty groups that have none left: one slice of a round."""
        out = Out()
        retention_ms = self._settings.offsets_retention_minutes * 60_000
        if self._expiring is None:
            self._expiring = iter(list(self._groups))
        for _ in range(GROUPS_PER_EXPIRY):
            group_id = next(self._expiring, None)
            if group_id is None:
                self._expiring = None
                interval_ms = self._settings.offsets_retention_check_interval_ms
                self._deadlines.set(_EXPIRY, now_ms + interval_ms)
                return out
            group = self._groups.get(group_id)
            if group is None:
                continue
            tombstones, nothing_left = self.offsets.expired(group_id, group, now_ms, retention_ms)
            out.records.extend(tombstones)
            if nothing_left and group.state is EMPTY and not group.members.pending:
                out.records.append(GroupStored(group_id, None))
            if len(out.records) >= TOMBSTONES_PER_EXPIRY:
                break
        self._deadlines.set(_EXPIRY, now_ms)
        return out

    # Membership

    def join(self, request: JoinGroupRequest, caller: Caller, waiter: Waiter, now_ms: int) -> Out:
        """JoinGroup. A member without an id creates the group."""
        group_id = request.group_id
        group = self._groups.get(group_id)
        if group is not None:
            return group.join(request, caller, waiter, now_ms)
        if request.member_id:
            answer = join_error(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id)
            return Out(answers=[(waiter, answer)])
        newer = self._newer.get(group_id, {})
        if any(10 <= record_type <= 15 for record_type in newer.values()):
            answer = join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "")
            return Out(answers=[(waiter, answer)])
        return self._join_first(request, caller, waiter, now_ms)

    def _join_first(
        self, request: JoinGroupRequest, caller: Caller, waiter: Waiter, now_ms: int
    ) -> Out:
        """The first JoinGroup of a group: a record says that it exists now."""
        group_id = request.group_id
        group = self._new_group(group_id, now_ms)
        empty = GroupStored(group_id, group.stored())
        out = group.join(request, caller, waiter, now_ms)
        if not group.members and not group.members.pending:
            return out  # turned away: no group
        self._groups[group_id] = group
        assert not out.records
        out.records.extend(self._newer_tombstones(group_id))
        out.records.append(empty)

        def refused(code: ErrorCode) -> Out:
            del self._groups[group_id]
            group.die()
            if self.offsets.of_group(group_id):
                self._simple_group(group_id)
            return Out(answers=[(waiter, join_error(code, ""))])

        out.refused = refused
        return out

    def sync(self, request: SyncGroupRequest, waiter: Waiter, now_ms: int) -> Out:
        """SyncGroup. Raises ApiError."""
        return self._member_group(request.group_id).sync(request, waiter, now_ms)

    def heartbeat(self, request: HeartbeatRequest, waiter: Waiter, now_ms: int) -> Out:
        """Heartbeat. Raises ApiError."""
        response = self._member_group(request.group_id).heartbeat(request, now_ms)
        return Out(answers=[(waiter, response)])

    def leave(self, request: LeaveGroupRequest, waiter: Waiter, now_ms: int) -> Out:
        """LeaveGroup. Raises ApiError."""
        return self._member_group(request.group_id).leave(request, waiter, now_ms)

    def _member_group(self, group_id: str) -> ClassicGroup:
        group = self._groups.get(group_id)
        if group is None:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID, f"Group {group_id} not found.")
        return group

    # Offsets

    def commit(
        self, request: OffsetCommitRequest, caller: Caller, waiter: Waiter, now_ms: int
    ) -> Out:
        """OffsetCommit, for topics that are known to exist.

        A group that does not exist is made, a simple one, unless the caller
        says it is a member. Raises ApiError.
        """
        self._check_commit(request, caller, now_ms)
        out = Out()
        response = OffsetCommitResponse()
        retention_ms = request.retention_time_ms
        expires_ms = NO_TIMESTAMP if retention_ms == -1 else now_ms + retention_ms
        for topic in request.topics:
            answers: list[OffsetCommitResponsePartition] = []
            for partition in topic.partitions:
                index = partition.partition_index
                metadata = partition.committed_metadata or ""
                if len(metadata) > self._settings.offset_metadata_max_bytes:
                    code = ErrorCode.OFFSET_METADATA_TOO_LARGE
                else:
                    code = ErrorCode.NONE
                    committed = CommittedOffset(
                        partition.committed_offset,
                        partition.committed_leader_epoch,
                        metadata,
                        now_ms,
                        expires_ms,
                        topic.topic_id,
                    )
                    out.records.append(OffsetStored(request.group_id, topic.name, index, committed))
                answers.append(
                    OffsetCommitResponsePartition(partition_index=index, error_code=code)
                )
            response.topics.append(
                OffsetCommitResponseTopic(
                    name=topic.name, topic_id=topic.topic_id, partitions=answers
                )
            )
        out.answers.append((waiter, response))
        return out

    def _check_commit(self, request: OffsetCommitRequest, caller: Caller, now_ms: int) -> None:
        generation = request.generation_id_or_member_epoch
        group = self._groups.get(request.group_id)
        if group is not None:
            group.check_commit(request.member_id, request.group_instance_id, generation, now_ms)
        elif generation >= 0:
            if request.group_id in self._newer:
                raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
            if caller.api_version >= 9:
                raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {request.group_id} not found.")
            raise ApiError(ErrorCode.ILLEGAL_GENERATION)

    def fetch(
        self, request: OffsetFetchRequestGroup, require_stable: bool
    ) -> OffsetFetchResponseGroup:
        """OffsetFetch of one group; without topics, of everything it committed."""
        group_id = request.group_id
        response = OffsetFetchResponseGroup(group_id=group_id)
        topics = request.topics
        for asked in self.committed_topics(group_id) if topics is None else topics:
            response.topics.append(
                OffsetFetchResponseTopics(
                    name=asked.name,
                    topic_id=asked.topic_id,
                    partitions=[
                        self._fetched(group_id, asked.name, index, asked.topic_id, require_stable)
                        for index in asked.partition_indexes
                    ],
                )
            )
        return response

    def committed_topics(self, group_id: str) -> list[OffsetFetchRequestTopics]:
        """The topics and partitions a group has committed offsets for."""
        return [
            OffsetFetchRequestTopics(name=topic, partition_indexes=list(partitions))
            for topic, partitions in self.offsets.of_group(group_id).items()
        ]

    def _fetched(
        self, group_id: str, topic: TopicName, index: int, topic_id: Uuid, require_stable: bool
    ) -> OffsetFetchResponsePartitions:
        if require_stable and self.offsets.is_pending(group_id, topic, index):
            return OffsetFetchResponsePartitions(
                partition_index=index,
                committed_offset=-1,
                metadata="",
                error_code=ErrorCode.UNSTABLE_OFFSET_COMMIT,
            )
        committed = self.offsets.get(group_id, topic, index)
        if committed is None or _is_another_topic(committed.topic_id, topic_id):
            return OffsetFetchResponsePartitions(
                partition_index=index, committed_offset=-1, metadata=""
            )
        return OffsetFetchResponsePartitions(
            partition_index=index,
            committed_offset=committed.offset,
            committed_leader_epoch=committed.leader_epoch,
            metadata=committed.metadata,
        )

    def delete_offsets(self, request: OffsetDeleteRequest, waiter: Waiter) -> Out:
        """OffsetDelete (KIP-496): not for topics the group is subscribed to. Raises ApiError."""
        group_id = request.group_id
        group = self._groups.get(group_id)
        if group is None and group_id not in self._newer:
            raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
        if group is not None and group.state is not EMPTY and not group.uses_consumer_protocol:
            raise ApiError(ErrorCode.NON_EMPTY_GROUP)
        out = Out()
        response = OffsetDeleteResponse()
        for topic in request.topics:
            subscribed = group is not None and group.is_subscribed_to(topic.name)
            answers: list[OffsetDeleteResponsePartition] = []
            for partition in topic.partitions:
                index = partition.partition_index
                code = ErrorCode.NONE
                if subscribed:
                    code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
                elif self.offsets.exists(group_id, topic.name, index):
                    out.records.append(OffsetStored(group_id, topic.name, index, None))
                answers.append(
                    OffsetDeleteResponsePartition(partition_index=index, error_code=code)
                )
            response.topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=answers))
        out.answers.append((waiter, response))
        return out

    def delete_topics(self, topics: set[TopicName]) -> Out:
        """Topics were deleted: so are the offsets committed for them."""
        return Out(records=list(self.offsets.groups_with_topics(topics)))

    # Groups as administrators see them

    def delete_groups(self, group_ids: Sequence[str], waiter: Waiter) -> Out:
        """DeleteGroups: groups without members, with all their offsets."""
        out = Out()
        results = []
        for group_id in group_ids:
            result = DeletableGroupResult(group_id=group_id)
            results.append(result)
            group = self._groups.get(group_id)
            if group is None and group_id not in self._newer:
                result.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            elif group is not None and group.state is not EMPTY:
                result.error_code = ErrorCode.NON_EMPTY_GROUP
            else:
                out.records.extend(
                    OffsetStored(group_id, topic, partition, None)
                    for topic, partition in self.offsets.partitions(group_id)
                )
                out.records.extend(self._newer_tombstones(group_id))
                if group is not None:
                    out.records.append(GroupStored(group_id, None))
        out.answers.append((waiter, results))
        return out

    def _newer_tombstones(self, group_id: str) -> list[NewerProtocolStored]:
        return [
            NewerProtocolStored(group_id, record_type, key, None)
            for key, record_type in self._newer.get(group_id, {}).items()
        ]

    def describe_group(self, group_id: str, api_version: int) -> DescribedGroup:
        """DescribeGroups of one group; a group that does not exist is Dead."""
        group = self._groups.get(group_id)
        if group is None:
            described = DescribedGroup(group_id=group_id, group_state="Dead")
            if api_version >= 6:
                what = "is not a classic group" if group_id in self._newer else "not found"
                described.error_code = ErrorCode.GROUP_ID_NOT_FOUND
                described.error_message = f"Group {group_id} {what}."
            return described
        protocol = group.protocol_name if group.state is STABLE else None
        return DescribedGroup(
            group_id=group_id,
            group_state=group.state.value,
            protocol_type=group.protocol_type or "",
            protocol_data=protocol or "",
            members=[_described(member, protocol) for member in group.members],
        )

    def list_groups(self, wanted: Callable[[str, str], bool]) -> list[ListedGroup]:
        """ListGroups: those for whose state and type `wanted` says so."""
        listed = []
        for group_id, group in self._groups.items():
            if wanted(group.state.value, "classic"):
                listed.append(
                    ListedGroup(
                        group_id=group_id,
                        protocol_type=group.protocol_type or "",
                        group_state=group.state.value,
                        group_type="classic",
                    )
                )
        for group_id, keys in self._newer.items():
            if group_id in self._groups:
                continue
            kind = newer_type(keys.values())
            if wanted("Empty", kind):
                listed.append(
                    ListedGroup(
                        group_id=group_id,
                        protocol_type="consumer" if kind == "consumer" else kind,
                        group_state="Empty",
                        group_type=kind,
                    )
                )
        return listed

    def group(self, group_id: str) -> ClassicGroup | None:
        """The working state of a group, to look at."""
        return self._groups.get(group_id)


def newer_type(record_types: Iterable[int]) -> str:
    """The type of a group by those of its records."""
    for record_type in record_types:
        if 10 <= record_type <= 15:
            return "share"
        if record_type >= 17:
            return "streams"
    return "consumer"


def _described(member: Member, protocol: str | None) -> DescribedGroupMember:
    """Metadata is shown only of the protocol in use."""
    return DescribedGroupMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=b"" if protocol is None else member.protocols.get(protocol, b""),
        member_assignment=member.assignment,
    )


def _is_another_topic(committed: Uuid, asked: Uuid) -> bool:
    """The offset is of a deleted topic of the same name; unknown ids agree with any."""
    return committed not in (ZERO_UUID, asked) and asked != ZERO_UUID
