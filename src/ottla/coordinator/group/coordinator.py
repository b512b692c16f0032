"""The group coordinator as handlers see it: requests in, answers out.

It finds the partition of a group, asks its shard through the runtime, and puts
what went wrong where each API wants it. Topics and permissions are the
handlers' matter: what arrives here names topics that exist.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from ottla.coordinator.group import administration, classic_requests, commits, consumer_requests
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.classic_rebalance import join_error
from ottla.coordinator.group.classic_state import GroupState
from ottla.coordinator.group.consumer import assignor_names
from ottla.coordinator.group.history import Rebalance
from ottla.coordinator.group.kinds import Group
from ottla.coordinator.group.lookups import Lookups
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.outcome import LogPort, Outcome, Waiter
from ottla.coordinator.routing import partition_for
from ottla.coordinator.runtime import CoordinatorRuntime
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    LeaderEpoch,
    Offset,
    PartitionId,
    ProducerEpoch,
    ProducerId,
    TopicName,
)
from ottla.model.isolation import CompressionType
from ottla.model.names import CONSUMER_OFFSETS
from ottla.model.randomness import Randomness
from ottla.wire.generated import consumer_group_describe
from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from ottla.wire.generated.delete_groups import DeletableGroupResult
from ottla.wire.generated.describe_groups import DescribedGroup
from ottla.wire.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.generated.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberResponse,
)
from ottla.wire.generated.list_groups import ListedGroup, ListGroupsResponse
from ottla.wire.generated.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from ottla.wire.generated.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
)
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupResponse

T = TypeVar("T")

GATHER_QUIET_MS = 75
GATHER_AT_MOST_MS = 500
"""See `GroupCoordinator._gather`."""


class GroupCoordinator:
    """All groups whose partitions of `__consumer_offsets` this broker leads."""

    def __init__(
        self,
        settings: GroupSettings,
        clock: Clock,
        transport_clock: Clock,
        randomness: Randomness,
        *,
        partition_count: int = 50,
        gather_quiet_ms: int = GATHER_QUIET_MS,
    ) -> None:
        self.settings = settings
        self.surroundings = Surroundings(settings, randomness)
        self._gather_quiet_ms = gather_quiet_ms
        self._transport_clock = transport_clock
        self.before_delete: Callable[[str], Awaitable[ApiError | None]] = _nothing_else
        """Deletes what is stored elsewhere of a group that is about to go; or says why it could
        not, and the group stays."""
        self._lookups = Lookups()
        self._connections: dict[tuple[str, str], int] = {}
        """The connection that a (group, member) came by last, where that is asked for."""
        self._runtime: CoordinatorRuntime[GroupShard] = CoordinatorRuntime(
            CONSUMER_OFFSETS,
            lambda partition: GroupShard(self.surroundings),
            clock,
            transport_clock,
            partition_count=partition_count,
            commit_timeout_ms=settings.offsets_commit_timeout_ms,
            compression=CompressionType(settings.offsets_topic_compression_codec),
        )

    # Partitions

    def partition_for(self, group_id: str) -> PartitionId:
        """The partition of `__consumer_offsets` whose leader coordinates the group."""
        return partition_for(group_id, self._runtime.partition_count)

    def set_partition_count(self, count: int) -> None:
        """How many partitions `__consumer_offsets` really has; before any is loaded."""
        self._runtime.partition_count = count

    def load(self, partition: PartitionId, port: LogPort) -> None:
        """This broker leads the partition now, in `port.leader_epoch`."""
        self._runtime.load(partition, port)

    def unload(self, partition: PartitionId, leader_epoch: LeaderEpoch | None = None) -> None:
        """It leads it no more; `leader_epoch` is the epoch it ended with, if known."""
        self._runtime.unload(partition, leader_epoch)

    def topics_deleted(self, topics: Iterable[TopicName]) -> None:
        """Drop the offsets committed for topics that are gone."""
        names = set(topics)
        self._runtime.tell_all(lambda shard, now_ms: shard.delete_topics(names))

    def topics_changed(self, topics: Iterable[TopicName]) -> None:
        """Topics were made, deleted or got partitions; `surroundings.image` has them already."""
        names = frozenset(topics)
        self._runtime.tell_all(lambda shard, now_ms: shard.topics_changed(names))

    def close(self) -> None:
        self._runtime.close()

    # Membership

    async def join_group(self, request: JoinGroupRequest, caller: Caller) -> JoinGroupResponse:
        """Answer when the generation begins, or at once with MEMBER_ID_REQUIRED or an error."""
        settings = self.settings
        if not request.group_id:
            return join_error(ErrorCode.INVALID_GROUP_ID, request.member_id)
        if not (
            settings.group_min_session_timeout_ms
            <= request.session_timeout_ms
            <= settings.group_max_session_timeout_ms
        ):
            return join_error(ErrorCode.INVALID_SESSION_TIMEOUT, request.member_id)
        try:
            await self._gather(request, caller)
            response: JoinGroupResponse = await self._write(
                request.group_id,
                lambda shard, waiter, now_ms: classic_requests.join(
                    shard, request, caller, waiter, now_ms
                ),
            )
        except ApiError as error:
            return join_error(error.code, "")
        return response

    async def _gather(self, request: JoinGroupRequest, caller: Caller) -> None:
        """Let the first members of a group begin together, even with no initial delay.

        Members started at once arrive within 50 ms of each other. Were the
        first of them given a generation of its own, it would hear of the others
        only with its next heartbeat, three seconds later, and they would wait.
        So where several clients looked for the coordinator, members are held
        back here until for a moment nobody came or looked; the group itself
        knows nothing of it. A member that is alone does not wait.
        """
        group_id = request.group_id
        if self.settings.group_initial_rebalance_delay_ms or not self._gather_quiet_ms:
            return
        if not request.member_id and request.group_instance_id is None and caller.api_version >= 4:
            return  # it is only handed its id
        group = self.peek(group_id)
        if group is not None and group.state is not GroupState.EMPTY:
            return
        if self._lookups.several(group_id, self._transport_clock.now_ms()):
            await self._runtime.gather(group_id, self._gather_quiet_ms, GATHER_AT_MOST_MS)

    def looked_for(self, group_id: str, connection_id: int) -> None:
        """Somebody asked where the group's coordinator is, perhaps to join."""
        self._lookups.add(group_id, connection_id, self._transport_clock.now_ms())
        self._runtime.stir(group_id)

    async def sync_group(self, request: SyncGroupRequest) -> SyncGroupResponse:
        """Answer when the leader has sent the assignment."""
        if not request.group_id:
            return SyncGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        try:
            response: SyncGroupResponse = await self._write(
                request.group_id,
                lambda shard, waiter, now_ms: classic_requests.sync(shard, request, waiter, now_ms),
            )
        except ApiError as error:
            return SyncGroupResponse(error_code=error.code)
        return response

    async def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Keep a member alive. While the group is loading, nothing is wrong."""
        if not request.group_id:
            return HeartbeatResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        try:
            response: HeartbeatResponse = await self._write(
                request.group_id,
                lambda shard, waiter, now_ms: classic_requests.heartbeat(
                    shard, request, waiter, now_ms
                ),
            )
        except ApiError as error:
            if error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                return HeartbeatResponse()
            return HeartbeatResponse(error_code=error.code)
        return response

    async def leave_group(self, request: LeaveGroupRequest) -> LeaveGroupResponse:
        """Remove members; of a group that does not exist, each is unknown."""
        if not request.group_id:
            return LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        try:
            response: LeaveGroupResponse = await self._write(
                request.group_id,
                lambda shard, waiter, now_ms: classic_requests.leave(
                    shard, request, waiter, now_ms
                ),
            )
        except ApiError as error:
            if error.code is not ErrorCode.UNKNOWN_MEMBER_ID:
                return LeaveGroupResponse(error_code=error.code)
            return LeaveGroupResponse(
                members=[
                    MemberResponse(
                        member_id=member.member_id,
                        group_instance_id=member.group_instance_id,
                        error_code=error.code,
                    )
                    for member in request.members
                ]
            )
        return response

    def came_by(self, group_id: str, member_id: str, connection_id: int) -> None:
        """A member is to be removed once this connection is gone: see `disconnected`."""
        self._connections[group_id, member_id] = connection_id

    def disconnected(self, group_id: str, member_id: str, connection_id: int) -> None:
        """A connection is gone: the member is removed, unless it came by another since."""
        if self._connections.get((group_id, member_id)) != connection_id:
            return
        del self._connections[group_id, member_id]
        self._runtime.tell(
            self.partition_for(group_id),
            lambda shard, now_ms: shard.drop_member(group_id, member_id, now_ms),
        )

    async def consumer_group_heartbeat(
        self, request: ConsumerGroupHeartbeatRequest, caller: Caller
    ) -> ConsumerGroupHeartbeatResponse:
        """Join, keep alive, move on, leave (KIP-848). Never waits."""
        try:
            values = self.surroundings.config.values
            offered, protocols = (
                values["group.consumer.assignors"],
                values["group.coordinator.rebalance.protocols"],
            )
            assert isinstance(offered, tuple)
            assert isinstance(protocols, tuple)
            if "consumer" not in protocols:
                raise ApiError(ErrorCode.UNSUPPORTED_VERSION)
            consumer_requests.check_request(request, caller.api_version, assignor_names(offered))
            response: ConsumerGroupHeartbeatResponse = await self._write(
                request.group_id,
                lambda shard, waiter, now_ms: consumer_requests.heartbeat(
                    shard, request, caller, waiter, now_ms
                ),
            )
        except ApiError as error:
            return ConsumerGroupHeartbeatResponse(
                error_code=error.code, error_message=error.message
            )
        return response

    # Offsets

    async def commit_offsets(
        self, request: OffsetCommitRequest, caller: Caller
    ) -> OffsetCommitResponse:
        """Commit for topics that exist. Raises ApiError, which is every partition's then."""
        response: OffsetCommitResponse = await self._write(
            request.group_id,
            lambda shard, waiter, now_ms: commits.commit(shard, request, caller, waiter, now_ms),
        )
        return response

    async def commit_in_transaction(
        self,
        request: OffsetCommitRequest,
        caller: Caller,
        producer: tuple[ProducerId, ProducerEpoch],
        check: Callable[[], None],
    ) -> OffsetCommitResponse:
        """Commit in a producer's transaction, which `check` says is open still. Raises ApiError."""

        def decide(shard: GroupShard, waiter: Waiter, now_ms: int) -> Outcome[Any]:
            check()
            return commits.commit(shard, request, caller, waiter, now_ms, producer)

        response: OffsetCommitResponse = await self._write(request.group_id, decide)
        return response

    def marked(
        self, partition: PartitionId, producer_id: ProducerId, committed: bool, end: Offset
    ) -> None:
        """A producer's transaction ended in a partition of ours, which ends at `end` now."""
        self._runtime.marked(partition, producer_id, committed, end)

    async def committed_topics(self, group_id: str) -> list[OffsetFetchRequestTopics]:
        """What a group has committed offsets for, as a question. Raises ApiError as `fetch_offsets`."""
        return await self._read_offsets(
            group_id, lambda shard: commits.committed_topics(shard, group_id)
        )

    async def fetch_offsets(
        self, request: OffsetFetchRequestGroup, require_stable: bool
    ) -> OffsetFetchResponseGroup:
        """What one group committed. Raises ApiError, which is the group's then."""
        return await self._read_offsets(
            request.group_id, lambda shard: commits.fetch(shard, request, require_stable)
        )

    async def _read_offsets(self, group_id: str, look: Callable[[GroupShard], T]) -> T:
        try:
            return await self._runtime.read(self.partition_for(group_id), look)
        except ApiError as error:
            if error.code is ErrorCode.COORDINATOR_NOT_AVAILABLE:
                # Consumers before 3.9 do not know it here; this one makes them look again.
                raise ApiError(ErrorCode.NOT_COORDINATOR) from error
            raise

    async def delete_offsets(self, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
        """Delete offsets of topics that exist. Raises ApiError, which is the whole answer's."""
        if not request.group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID)
        response: OffsetDeleteResponse = await self._write(
            request.group_id,
            lambda shard, waiter, now_ms: commits.delete_offsets(shard, request, waiter),
        )
        return response

    # Administration

    async def describe_groups(
        self, group_ids: Sequence[str], api_version: int
    ) -> list[DescribedGroup]:
        """One description for each id, in this order."""
        described = []
        for group_id in group_ids:
            try:
                described.append(
                    await self._runtime.read(
                        self.partition_for(group_id),
                        lambda shard, group_id=group_id: administration.describe_group(
                            shard,  # type: ignore[misc]
                            group_id,
                            api_version,
                        ),
                    )
                )
            except ApiError as error:
                described.append(DescribedGroup(group_id=group_id, error_code=error.code))
        return described

    async def describe_consumer_groups(
        self, group_ids: Sequence[str]
    ) -> list[consumer_group_describe.DescribedGroup]:
        """One description for each id, in this order; `authorized_operations` is left open."""
        described = []
        for group_id in group_ids:
            try:
                if not group_id:
                    raise ApiError(ErrorCode.INVALID_GROUP_ID)
                described.append(
                    await self._runtime.read(
                        self.partition_for(group_id),
                        lambda shard, group_id=group_id: (  # type: ignore[misc]
                            administration.describe_consumer_group(shard, group_id)
                        ),
                    )
                )
            except ApiError as error:
                described.append(
                    consumer_group_describe.DescribedGroup(
                        group_id=group_id, error_code=error.code, error_message=error.message
                    )
                )
        return described

    async def list_groups(
        self, states: Sequence[str] = (), types: Sequence[str] = ()
    ) -> ListGroupsResponse:
        """All groups here whose state and type are among those asked for, in any case."""
        wanted_states = {state.strip().lower() for state in states}
        wanted_types = {kind.strip().lower() for kind in types}

        def wanted(state: str, kind: str) -> bool:
            return (not wanted_states or state.lower() in wanted_states) and (
                not wanted_types or kind in wanted_types
            )

        groups: list[ListedGroup] = []
        for partition in self._runtime.partitions():
            try:
                groups += await self._runtime.read(
                    partition, lambda shard: administration.list_groups(shard, wanted)
                )
            except ApiError as error:
                if error.code is not ErrorCode.NOT_COORDINATOR:
                    return ListGroupsResponse(error_code=error.code)
        return ListGroupsResponse(groups=groups)

    async def delete_groups(self, group_ids: Sequence[str]) -> list[DeletableGroupResult]:
        """Delete groups without members; one result for each id."""
        results: list[DeletableGroupResult] = []
        by_partition: dict[PartitionId, list[str]] = {}
        for group_id in dict.fromkeys(group_ids):
            kept = await self.before_delete(group_id)
            if kept is not None:
                results.append(DeletableGroupResult(group_id=group_id, error_code=kept.code))
            else:
                by_partition.setdefault(self.partition_for(group_id), []).append(group_id)
        for partition, ids in by_partition.items():
            try:
                results += await self._runtime.write(
                    partition,
                    lambda shard, waiter, now_ms, ids=ids: administration.delete_groups(
                        shard,  # type: ignore[misc]
                        ids,
                        waiter,
                    ),
                )
            except ApiError as error:
                results += [
                    DeletableGroupResult(group_id=group_id, error_code=error.code)
                    for group_id in ids
                ]
        return results

    def rebalances(self, group_id: str) -> list[Rebalance]:
        """The last rebalances of a group, oldest first; empty if it is not known here."""
        shard = self._runtime.peek(self.partition_for(group_id))
        group = None if shard is None else shard.groups.get(group_id)
        return [] if group is None else list(group.history.rebalances)

    async def describe_rebalances(self, group_id: str) -> list[Rebalance]:
        """The last rebalances of a group, oldest first. Raises ApiError: it is not known."""
        return await self._runtime.read(
            self.partition_for(group_id), lambda shard: administration.rebalances(shard, group_id)
        )

    def peek(self, group_id: str) -> ClassicGroup | None:
        """A classic group as it is now, for the console and for tests."""
        shard = self._runtime.peek(self.partition_for(group_id))
        return None if shard is None else shard.classic(group_id)

    # For the kinds of groups with modules of their own

    def peek_any(self, group_id: str) -> Group | None:
        """A group of any kind as it is now, without waiting for anything."""
        shard = self._runtime.peek(self.partition_for(group_id))
        return None if shard is None else shard.groups.get(group_id)

    async def decide(
        self, group_id: str, decide: Callable[[GroupShard, Waiter, int], Outcome[Any]]
    ) -> Any:
        """Let the shard of a group decide. Raises ApiError."""
        return await self._write(group_id, decide)

    async def look(self, group_id: str, look: Callable[[GroupShard], T]) -> T:
        """What the shard of a group shows, once it is committed. Raises ApiError."""
        return await self._runtime.read(self.partition_for(group_id), look)

    async def _write(
        self, group_id: str, decide: Callable[[GroupShard, Waiter, int], Outcome[Any]]
    ) -> Any:
        return await self._runtime.write(self.partition_for(group_id), decide)


async def _nothing_else(group_id: str) -> None:
    """Most groups are all in their shard."""
