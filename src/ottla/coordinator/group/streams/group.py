"""One streams group (KIP-1071): what the log says of it, and what follows from that.

The group's state is not stored; it follows from epochs:

    Empty         no members
    NotReady      topics that the topology needs are missing, or do not fit
    Assigning     the target is older than the group epoch
    Reconciling   a member has not reached its target
    Stable        everybody has

`heartbeat` decides heartbeats, `member` the steps of a member. Not in the log,
as in Kafka, are the topology over the topics of now (`configured`), which
follows from both; who asked for the application to be shut down; and the epoch
of what is told about endpoints.

Deadlines: those of `modern`, and ("initial", group): until then the first
members of the group are given nothing, since more may come.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import CommitCheck, Kind, Out
from ottla.coordinator.group.modern import ModernGroup
from ottla.coordinator.group.records import GroupRecord, ModernStored
from ottla.coordinator.group.streams import records
from ottla.coordinator.group.streams.assignor import Work, Worker, assign
from ottla.coordinator.group.streams.configured import Configured
from ottla.coordinator.group.streams.member import UNREVOKED, Free, StreamsMember
from ottla.coordinator.group.streams.tasks import NOTHING_WANTED, Held, Task, Wanted, each
from ottla.coordinator.group.streams.topology import Topology
from ottla.coordinator.group.surroundings import Surroundings
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, TopicName, Uuid
from ottla.wire.generated.records.streams_group_current_member_assignment_key import (
    StreamsGroupCurrentMemberAssignmentKey,
)
from ottla.wire.generated.records.streams_group_current_member_assignment_value import (
    StreamsGroupCurrentMemberAssignmentValue,
)
from ottla.wire.generated.records.streams_group_member_metadata_key import (
    StreamsGroupMemberMetadataKey,
)
from ottla.wire.generated.records.streams_group_member_metadata_value import (
    StreamsGroupMemberMetadataValue,
)
from ottla.wire.generated.records.streams_group_metadata_value import StreamsGroupMetadataValue
from ottla.wire.generated.records.streams_group_target_assignment_member_key import (
    StreamsGroupTargetAssignmentMemberKey,
)
from ottla.wire.generated.records.streams_group_target_assignment_member_value import (
    StreamsGroupTargetAssignmentMemberValue,
)
from ottla.wire.generated.records.streams_group_target_assignment_metadata_value import (
    StreamsGroupTargetAssignmentMetadataValue,
)
from ottla.wire.generated.records.streams_group_topology_value import StreamsGroupTopologyValue

MEMBER_VERSION = 9
"""The first version of OffsetCommit that carries member epochs."""

STANDBYS = "num.standby.replicas"


class StreamsGroup(ModernGroup[StreamsMember]):
    """See the module."""

    kind = Kind.STREAMS

    def __init__(self, group_id: str, surroundings: Surroundings, deadlines: Deadlines) -> None:
        super().__init__(group_id, surroundings, deadlines)
        self.target_epoch = 1  # so a member that waits for the first target has an epoch
        self.targets: dict[str, Wanted] = {}
        self.topology: Topology | None = None
        self.validated_epoch = -1
        """The epoch of the topology if it was ready when the group epoch was raised, else -1."""
        self.assignment_configs: dict[str, str] = {}
        """The settings the group epoch was raised with, which assignments depend on."""
        self.configured: Configured | None = None
        self.shutdown_asked_by: str | None = None
        self.endpoint_epoch = 0
        self._active: dict[Task, str] = {}  # which process has it
        self._copies: Counter[tuple[Task, str]] = Counter()  # standby and warmup, by process

    # What is known of the group

    @property
    def state_name(self) -> str:
        if not self.members:
            return "Empty"
        if self.topology is None or self.topology.epoch != self.validated_epoch:
            return "NotReady"
        if self.epoch > self.target_epoch:
            return "Assigning"
        if all(member.is_at(self.target_epoch) for member in self.members.values()):
            return "Stable"
        return "Reconciling"

    @property
    def has_its_topics(self) -> bool:
        """Nothing the topology needs was missing, and no topic has changed since."""
        return self.configured is not None and self.configured.is_ready and not self.looks_at_topics

    @property
    def waits_for_more(self) -> bool:
        """The first members were there only lately."""
        return self.deadlines.get(("initial", self.group_id)) is not None

    def configs(self) -> dict[str, str]:
        """The settings of now that assignments depend on."""
        return {STANDBYS: str(self.number(STANDBYS))}

    def is_subscribed_to(self, topic: str) -> bool:
        return (
            bool(self.members)
            and self.topology is not None
            and self.topology.reader_of(topic) is not None
        )

    def topics_changed(self, topics: frozenset[str]) -> None:
        if self.topology is not None and not topics.isdisjoint(self.topology.required_topics):
            self.looks_at_topics = True

    def free_for(self, process_id: str) -> Free:
        """What a member of this process may take."""

        def has_copy(task: Task) -> bool:
            return self._copies[task, process_id] > 0

        return Free(
            active=lambda task: task not in self._active and not has_copy(task),
            copy=lambda task: self._active.get(task) != process_id and not has_copy(task),
        )

    def compute_target(
        self,
        members: Mapping[str, StreamsMember],
        configured: Configured,
        configs: Mapping[str, str],
    ) -> dict[str, Wanted]:
        """What each member is to have; nothing while topics are missing."""
        if not configured.is_ready:
            return dict.fromkeys(members, NOTHING_WANTED)
        workers = {
            member_id: Worker(member.process_id, self.targets.get(member_id, NOTHING_WANTED))
            for member_id, member in members.items()
        }
        work = {
            name: Work(subtopology.task_count, subtopology.is_stateful)
            for name, subtopology in configured.subtopologies.items()
        }
        return assign(workers, work, int(configs.get(STANDBYS, "0")))

    def new_targets(
        self, computed: Mapping[str, Wanted], epoch: int, now_ms: int
    ) -> list[GroupRecord]:
        """The records of a target computed for `epoch`."""
        made = [
            records.target(self.group_id, member_id, wanted)
            for member_id, wanted in computed.items()
            if self.targets.get(member_id) != wanted
        ]
        made.append(records.target_epoch(self.group_id, epoch, now_ms))
        return made

    # Offsets

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        now_ms: int,
        transactional: bool = False,
        api_version: int = 0,
    ) -> CommitCheck | None:
        """Raises ApiError; what it returns looks at each partition."""
        if generation < 0 and not self.members:
            return None
        if transactional and generation == -1 and not member_id and instance_id is None:
            return None
        member = self.member(member_id)
        if not transactional and api_version < MEMBER_VERSION:
            raise ApiError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"OffsetCommit version {MEMBER_VERSION} or above must be used by members using "
                "the streams group protocol",
            )
        if generation == member.epoch:
            return None
        if generation > member.epoch:
            raise _stale(f"{generation} is newer than the member epoch {member.epoch}.")
        return self._since(member, generation)

    def _since(self, member: StreamsMember, generation: int) -> CommitCheck:
        """Late commits count for tasks that were the member's then and are still."""
        topology = self.topology
        if topology is None:
            raise _stale("The group has no topology.")

        def check(topic: TopicName, topic_id: Uuid, partition: PartitionId) -> None:
            reader = topology.reader_of(topic)
            since = None if reader is None else member.active_since(reader, partition)
            if since is None or generation < since:
                raise _stale(f"Partition {topic}-{partition} is not of epoch {generation}.")

        return check

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        if member_id is None and epoch < 0:
            return
        member = self.member(member_id or "")
        if epoch != member.epoch:
            raise _stale(f"{epoch} is not the member epoch {member.epoch}.")

    # Replaying

    def apply(self, record: GroupRecord) -> None:
        assert isinstance(record, ModernStored)
        _APPLY[record.record_type](self, record.key, record.value)

    def _apply_group(self, key: object, value: StreamsGroupMetadataValue | None) -> None:
        if value is None:
            self.is_gone = True
            return
        self.validated_epoch = value.validated_topology_epoch
        self.assignment_configs = records.configs_of(value)
        self.begin_epoch(value.epoch, value.metadata_hash)

    def _apply_topology(self, key: object, value: StreamsGroupTopologyValue | None) -> None:
        self.topology = None if value is None else Topology(value)

    def _apply_member(
        self, key: StreamsGroupMemberMetadataKey, value: StreamsGroupMemberMetadataValue | None
    ) -> None:
        old = self.members.get(key.member_id)
        if value is not None:
            self._put(old, records.with_metadata(old or StreamsMember(key.member_id), value))
        elif old is not None:
            self._release(old)
            self.drop_member(key.member_id)
            self.forget_deadlines(key.member_id)
            if not self.members:
                self.shutdown_asked_by = None

    def _apply_target_epoch(
        self, key: object, value: StreamsGroupTargetAssignmentMetadataValue | None
    ) -> None:
        self.target_epoch = -1 if value is None else value.assignment_epoch
        self.target_timestamp_ms = 0 if value is None else value.assignment_timestamp

    def _apply_target(
        self,
        key: StreamsGroupTargetAssignmentMemberKey,
        value: StreamsGroupTargetAssignmentMemberValue | None,
    ) -> None:
        if value is None:
            self.targets.pop(key.member_id, None)
        else:
            self.targets[key.member_id] = records.wanted_of(value)

    def _apply_current(
        self,
        key: StreamsGroupCurrentMemberAssignmentKey,
        value: StreamsGroupCurrentMemberAssignmentValue | None,
    ) -> None:
        old = self.members.get(key.member_id)
        if value is not None:
            self._put(old, records.with_assignment(old or StreamsMember(key.member_id), value))
        elif old is not None:
            self._put(old, old.without_assignment())

    def _put(self, old: StreamsMember | None, member: StreamsMember) -> None:
        if old is not None:
            self._release(old)
        for task, is_active in _held(member):
            if is_active:
                self._active[task] = member.process_id
            else:
                self._copies[task, member.process_id] += 1
        self.put_member(member)

    def _release(self, member: StreamsMember) -> None:
        process_id = member.process_id
        for task, is_active in _held(member):
            if not is_active:
                self._copies[task, process_id] -= 1
                if self._copies[task, process_id] <= 0:
                    del self._copies[task, process_id]
            elif self._active.get(task) == process_id:
                del self._active[task]

    # Leaving

    def fence(self, member: StreamsMember) -> Out:
        """Remove a member; the others are given what it had at their next heartbeats."""
        made = records.member_tombstones(self.group_id, member.member_id)
        made.append(
            records.epoch(
                self.group_id,
                self.epoch + 1,
                self.metadata_hash,
                self.validated_epoch,
                self.assignment_configs,
            )
        )
        return Out(made)

    def tombstones(self) -> list[GroupRecord]:
        made: list[GroupRecord] = []
        for member_id in self.members:
            made += records.member_tombstones(self.group_id, member_id)
        return made + records.group_tombstones(self.group_id)

    # Deadlines

    def wake(self, key: tuple[str, ...], now_ms: int) -> Out:
        """A session, the time to give tasks up, or the wait for more members is over."""
        self.decide()
        if key[0] == "initial":
            return self._first_target(now_ms)
        if len(key) < 3:
            return Out()  # of the group whose place this one took
        member = self.members.get(key[2])
        if member is None:
            return Out()
        if key[0] == "session":
            return self.give_up_on(member, Why.SESSION_EXPIRED, now_ms)
        if key[0] == "rebalance" and member.state is UNREVOKED:
            return self.give_up_on(member, Why.REBALANCE_EXPIRED, now_ms)
        return Out()

    def give_up_on(self, member: StreamsMember, why: Why, now_ms: int) -> Out:
        self.note(why, now_ms, member)
        return self.fence(member)

    def _first_target(self, now_ms: int) -> Out:
        """Whoever came by now shares the tasks. Where topics changed, the next heartbeat decides."""
        configured = self.configured
        if not self.members or configured is None or self.looks_at_topics:
            return Out()
        if not configured.is_ready or self.epoch <= self.target_epoch:
            return Out()
        computed = self.compute_target(self.members, configured, self.assignment_configs)
        return Out(self.new_targets(computed, self.epoch, now_ms))

    def loaded(self, now_ms: int) -> Out:
        """Sessions start anew; who must give tasks up gets the whole time for it again."""
        super().loaded(now_ms)
        for member in self.members.values():
            if member.state is UNREVOKED:
                self.expect_revocation(member, now_ms)
        return Out()

    def expect_revocation(self, member: StreamsMember, now_ms: int) -> None:
        """Whoever does not give tasks up within its rebalance timeout is removed."""
        key = ("rebalance", self.group_id, member.member_id)
        self.deadlines.set(key, now_ms + member.rebalance_timeout_ms)

    def die(self) -> None:
        super().die()
        self.deadlines.cancel(("initial", self.group_id))


def _held(member: StreamsMember) -> Iterable[tuple[Task, bool]]:
    """Every task a member has or has yet to give up, and whether it is active."""
    for held in (member.assigned, member.revoking):
        yield from _roles(held)


def _roles(held: Held) -> Iterable[tuple[Task, bool]]:
    for task in each(held.active):
        yield task, True
    for tasks in (held.standby, held.warmup):
        for task in each(tasks):
            yield task, False


def _stale(why: str) -> ApiError:
    return ApiError(ErrorCode.STALE_MEMBER_EPOCH, why)


_APPLY: dict[int, Callable[..., None]] = {
    17: StreamsGroup._apply_group,
    19: StreamsGroup._apply_member,
    20: StreamsGroup._apply_target_epoch,
    21: StreamsGroup._apply_target,
    22: StreamsGroup._apply_current,
    23: StreamsGroup._apply_topology,
}
