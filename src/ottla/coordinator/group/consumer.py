"""One consumer group (KIP-848): what the log says of it, and what follows from that.

The group's state is not stored; it follows from epochs:

    Empty         no members
    Assigning     the target is older than the group epoch
    Reconciling   a member has not reached its target
    Stable        everybody has

`consumer_requests` decides heartbeats, `consumer_member` the steps of a member.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group import consumer_records as records
from ottla.coordinator.group.assignors import ASSIGNORS, Assignment
from ottla.coordinator.group.consumer_member import UNREVOKED, ConsumerMember
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import CommitCheck, Kind, Out
from ottla.coordinator.group.matching import DONE_NAMES, Matching
from ottla.coordinator.group.modern import MemberState, ModernGroup
from ottla.coordinator.group.records import GroupRecord, ModernStored
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.group.topics_hash import topics_hash
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, Uuid
from ottla.wire.generated.records.consumer_group_current_member_assignment_key import (
    ConsumerGroupCurrentMemberAssignmentKey,
)
from ottla.wire.generated.records.consumer_group_current_member_assignment_value import (
    ConsumerGroupCurrentMemberAssignmentValue,
)
from ottla.wire.generated.records.consumer_group_member_metadata_key import (
    ConsumerGroupMemberMetadataKey,
)
from ottla.wire.generated.records.consumer_group_member_metadata_value import (
    ConsumerGroupMemberMetadataValue,
)
from ottla.wire.generated.records.consumer_group_metadata_value import ConsumerGroupMetadataValue
from ottla.wire.generated.records.consumer_group_regular_expression_key import (
    ConsumerGroupRegularExpressionKey,
)
from ottla.wire.generated.records.consumer_group_regular_expression_value import (
    ConsumerGroupRegularExpressionValue,
)
from ottla.wire.generated.records.consumer_group_target_assignment_member_key import (
    ConsumerGroupTargetAssignmentMemberKey,
)
from ottla.wire.generated.records.consumer_group_target_assignment_member_value import (
    ConsumerGroupTargetAssignmentMemberValue,
)
from ottla.wire.generated.records.consumer_group_target_assignment_metadata_value import (
    ConsumerGroupTargetAssignmentMetadataValue,
)

CONSUMER_VERSION = 9
"""The first version of OffsetCommit that carries member epochs."""


class ConsumerGroup(ModernGroup[ConsumerMember]):
    """See the module. Changed by `apply` alone."""

    kind = Kind.CONSUMER

    def __init__(self, group_id: str, surroundings: Surroundings, deadlines: Deadlines) -> None:
        super().__init__(group_id, surroundings, deadlines)
        self.targets: dict[str, Assignment] = {}
        self.regexes: dict[str, ConsumerGroupRegularExpressionValue] = {}
        """What expressions matched when they were last resolved."""
        self.looks_at_regexes = True
        """The next heartbeat has expressions resolved anew."""
        self._matching = Matching()
        self._holders: dict[tuple[Uuid, PartitionId], str] = {}
        self._names: Counter[str] = Counter()
        self._subscribed_regexes: Counter[str] = Counter()
        self._has_partition_metadata = False

    # What is known of the group

    @property
    def state_name(self) -> str:
        if not self.members:
            return "Empty"
        if self.epoch > self.target_epoch:
            return "Assigning"
        if all(member.is_at(self.target_epoch) for member in self.members.values()):
            return "Stable"
        return "Reconciling"

    @property
    def assignor_name(self) -> str | None:
        """What most members ask for; None when nobody asks."""
        return preferred_assignor(self.members.values())

    @property
    def regex_count(self) -> Mapping[str, int]:
        """How many members use each expression."""
        return self._subscribed_regexes

    def is_subscribed_to(self, topic: str) -> bool:
        return topic in self._names or any(
            topic in matched for matched in self._matching.written.values()
        )

    def topics_changed(self, topics: frozenset[str]) -> None:
        if not self.looks_at_topics and any(map(self.is_subscribed_to, topics)):
            self.looks_at_topics = True
        if self._subscribed_regexes or self.regexes:
            self.looks_at_regexes = True
            self._matching.topics_changed(topics)

    def names_of(self, member: ConsumerMember) -> frozenset[str]:
        """The topics a member reads, by name, its expression among them."""
        return frozenset(member.topics).union(self._matching.written.get(member.regex, ()))

    def all_topics(self, members: Mapping[str, ConsumerMember]) -> set[str]:
        names: set[str] = set()
        for member in members.values():
            names.update(member.topics)
        for regex in {member.regex for member in members.values()}:
            names |= self._matching.written.get(regex, frozenset())
        return names

    def holder(self, topic_id: Uuid, partition: PartitionId) -> str | None:
        """The member that has a partition, or has yet to give it up."""
        return self._holders.get((topic_id, partition))

    def is_behind(self, member: ConsumerMember) -> bool:
        """A classic member that must join again to go on."""
        if member.classic is None:
            return False
        if member.epoch < self.target_epoch or member.state is UNREVOKED:
            return True
        if member.state is not MemberState.UNRELEASED_PARTITIONS:
            return False
        target = self.targets.get(member.member_id, {})
        return all(
            self.holder(topic_id, partition) in (None, member.member_id)
            for topic_id, partitions in target.items()
            for partition in partitions
        )

    def static_member(self, instance_id: str) -> ConsumerMember | None:
        member_id = self.static_ids.get(instance_id)
        return None if member_id is None else self.members.get(member_id)

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
        if not transactional and member.classic is None and api_version < CONSUMER_VERSION:
            raise ApiError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"OffsetCommit version {CONSUMER_VERSION} or above must be used by members using "
                "the consumer group protocol",
            )
        if generation == member.epoch:
            return None
        stale = (
            ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION
        )
        if generation > member.epoch:
            raise ApiError(stale, f"{generation} is newer than the member epoch {member.epoch}.")
        return _since(member, generation, stale, self.surroundings)

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        if member_id is None and epoch < 0:
            return
        member = self.member(member_id or "")
        if epoch != member.epoch:
            code = (
                ErrorCode.STALE_MEMBER_EPOCH
                if member.classic is None
                else ErrorCode.ILLEGAL_GENERATION
            )
            raise ApiError(code, f"{epoch} is not the member epoch {member.epoch}.")

    # Replaying

    def apply(self, record: GroupRecord) -> None:
        assert isinstance(record, ModernStored)
        _APPLY[record.record_type](self, record.key, record.value)

    def _apply_group(self, key: object, value: ConsumerGroupMetadataValue | None) -> None:
        if value is None:
            self.is_gone = True
        else:
            self.begin_epoch(value.epoch, value.metadata_hash)

    def _apply_partition_metadata(self, key: object, value: object | None) -> None:
        """Kafka before 4.1 wrote down partition counts; the first new epoch deletes it."""
        self._has_partition_metadata = value is not None

    def _apply_member(
        self, key: ConsumerGroupMemberMetadataKey, value: ConsumerGroupMemberMetadataValue | None
    ) -> None:
        old = self.members.get(key.member_id)
        if old is not None:
            self._uncount(old)
        if value is None:
            if old is not None:
                self._release(old)
                self.drop_member(key.member_id)
                self.forget_deadlines(key.member_id)
            return
        member = (old or ConsumerMember(key.member_id)).with_subscription(value)
        self._names.update(member.topics)
        if member.regex:
            self._subscribed_regexes[member.regex] += 1
        self.put_member(member)

    def _apply_target_epoch(
        self, key: object, value: ConsumerGroupTargetAssignmentMetadataValue | None
    ) -> None:
        self.target_epoch = 0 if value is None else value.assignment_epoch
        self.target_timestamp_ms = 0 if value is None else value.assignment_timestamp

    def _apply_target(
        self,
        key: ConsumerGroupTargetAssignmentMemberKey,
        value: ConsumerGroupTargetAssignmentMemberValue | None,
    ) -> None:
        if value is None:
            self.targets.pop(key.member_id, None)
        else:
            self.targets[key.member_id] = {
                row.topic_id: tuple(row.partitions) for row in value.topic_partitions
            }

    def _apply_current(
        self,
        key: ConsumerGroupCurrentMemberAssignmentKey,
        value: ConsumerGroupCurrentMemberAssignmentValue | None,
    ) -> None:
        member = self.members.get(key.member_id)
        if member is None:
            if value is None:
                return
            member = ConsumerMember(key.member_id)
        self._release(member)
        member = member.without_assignment() if value is None else member.with_assignment(value)
        for owned in (member.assigned, member.revoking):
            for topic_id, partitions in owned.items():
                for partition in partitions:
                    self._holders[topic_id, partition] = member.member_id
        self.put_member(member)

    def _apply_regex(
        self,
        key: ConsumerGroupRegularExpressionKey,
        value: ConsumerGroupRegularExpressionValue | None,
    ) -> None:
        regex = key.regular_expression
        self._matching.write(regex, None if value is None else value.topics)
        if value is None:
            self.regexes.pop(regex, None)
        else:
            self.regexes[regex] = value

    def _release(self, member: ConsumerMember) -> None:
        for owned in (member.assigned, member.revoking):
            for topic_id, partitions in owned.items():
                for partition in partitions:
                    if self._holders.get((topic_id, partition)) == member.member_id:
                        del self._holders[topic_id, partition]

    def _uncount(self, member: ConsumerMember) -> None:
        for name in member.topics:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
        if member.regex:
            self._subscribed_regexes[member.regex] -= 1
            if not self._subscribed_regexes[member.regex]:
                del self._subscribed_regexes[member.regex]

    # Leaving

    def fence(self, gone: Iterable[ConsumerMember], now_ms: int) -> Out:
        """Remove members; the others are given what they had at their next heartbeats."""
        out = Out()
        ids = {member.member_id for member in gone}
        for member_id in ids:
            out.records += records.member_tombstones(self.group_id, member_id)
        left = {
            member_id: member for member_id, member in self.members.items() if member_id not in ids
        }
        used = {member.regex for member in left.values()}
        out.records += [
            records.regex_tombstone(self.group_id, regex)
            for regex in self.regexes
            if regex not in used
        ]
        new_hash = topics_hash(self.surroundings.image, self.all_topics(left))
        out.records += self.new_epoch(new_hash)
        self.look_for_classic(left.values(), now_ms)
        return out

    def look_for_classic(self, members: Iterable[ConsumerMember], now_ms: int) -> None:
        """With nobody left who speaks the newer protocol, it may be a classic group again."""
        classic = [member.classic is not None for member in members]
        if classic and all(classic):
            self.deadlines.set(("downgrade", self.group_id), now_ms)

    def new_epoch(self, new_hash: int) -> list[GroupRecord]:
        """The group epoch is raised; what an older Kafka kept of topics goes."""
        made = [records.epoch(self.group_id, self.epoch + 1, new_hash)]
        if self._has_partition_metadata:
            made.append(records.partition_metadata_tombstone(self.group_id))
        return made

    def tombstones(self) -> list[GroupRecord]:
        """Members first, and the group's own record last."""
        made: list[GroupRecord] = []
        for member_id in self.members:
            made += records.member_tombstones(self.group_id, member_id)
        made.append(records.target_epoch_tombstone(self.group_id))
        made += [records.regex_tombstone(self.group_id, regex) for regex in self.regexes]
        if self._has_partition_metadata:
            made.append(records.partition_metadata_tombstone(self.group_id))
        made.append(records.group_tombstone(self.group_id))
        return made

    # Deadlines

    def expect_heartbeat(self, member_id: str, now_ms: int) -> None:
        """A classic member has named its own session."""
        member = self.members.get(member_id)
        if member is None or member.classic is None:
            super().expect_heartbeat(member_id, now_ms)
        else:
            key = ("session", self.group_id, member_id)
            self.deadlines.set(key, now_ms + member.classic.session_timeout_ms)

    def wake(self, key: tuple[str, ...], now_ms: int) -> Out:
        """A session or the time to give partitions up is over, or expressions are to be resolved."""
        self.decide()
        if key[0] == "regex":
            return self.resolve_regexes(now_ms)
        if len(key) < 3:
            return Out()  # of the classic group it was
        member = self.members.get(key[2])
        if member is None:
            return Out()
        if key[0] == "session":
            return self.give_up_on(member, Why.SESSION_EXPIRED, now_ms)
        if key[0] == "rebalance" and (member.state is UNREVOKED or self.is_behind(member)):
            return self.give_up_on(member, Why.REBALANCE_EXPIRED, now_ms)
        return Out()

    def give_up_on(self, member: ConsumerMember, why: Why, now_ms: int) -> Out:
        self.note(why, now_ms, member)
        return self.fence([member], now_ms)

    def resolve_regexes(self, now_ms: int) -> Out:
        """Look which topics match each expression now; a new epoch when that changed.

        One slice of it; the rest is due at once.
        """
        image = self.surroundings.image
        out = Out()
        self._matching.begin(self._subscribed_regexes, image.topics)
        if not self._matching.work():
            self.deadlines.set(("regex", self.group_id), now_ms)
            out.goes_on = True
        changed = self._matching.done()
        if not changed or (out.goes_on and sum(map(len, changed.values())) < DONE_NAMES):
            return out
        names = self.all_topics(self.members)
        for regex, topics in changed.items():
            out.records.append(records.regex(self.group_id, regex, topics, image.revision, now_ms))
            names.update(topics)
            self.note(Why.TOPICS_CHANGED, now_ms, reason=f"topics matching {regex}")
        out.records += self.new_epoch(topics_hash(image, names))
        return out

    def loaded(self, now_ms: int) -> Out:
        """Sessions start anew; who must give partitions up gets the whole time for it again."""
        super().loaded(now_ms)
        self.look_for_classic(self.members.values(), now_ms)
        for member in self.members.values():
            if member.revoking and member.classic is None:
                self.expect_revocation(member, now_ms)
        return Out()

    def die(self) -> None:
        super().die()
        for what in ("regex", "downgrade"):
            self.deadlines.cancel((what, self.group_id))

    def expect_revocation(self, member: ConsumerMember, now_ms: int) -> None:
        """Whoever does not give partitions up within its rebalance timeout is removed."""
        key = ("rebalance", self.group_id, member.member_id)
        self.deadlines.set(key, now_ms + member.rebalance_timeout_ms)


def preferred_assignor(members: Iterable[ConsumerMember]) -> str | None:
    """The assignor most members ask for, the first by name among equals; None: nobody asks."""
    votes = Counter(member.assignor for member in members if member.assignor)
    if not votes:
        return None
    return min(votes, key=lambda name: (-votes[name], name))


def default_assignor(surroundings: Surroundings) -> str:
    """The broker's first; Kafka's settings name assignors by class, too."""
    offered = surroundings.config.values["group.consumer.assignors"]
    assert isinstance(offered, tuple)
    return assignor_names(offered)[0]


def assignor_names(offered: Iterable[str]) -> list[str]:
    """The short names of what is offered."""
    names = []
    for name in offered:
        short = name.rpartition(".")[2].removesuffix("Assignor").lower()
        names.append(short if short in ASSIGNORS else name)
    return names


def _since(
    member: ConsumerMember, generation: int, stale: ErrorCode, surroundings: Surroundings
) -> CommitCheck:
    """Late commits count for partitions that were the member's then and are still (KIP-1251)."""

    def check(topic: str, topic_id: Uuid, partition: PartitionId) -> None:
        if topic_id == bytes(16):
            image = surroundings.image.topics.get(topic)
            topic_id = topic_id if image is None else image.topic_id
        since = member.owns(topic_id, partition)
        if since is None or generation < since:
            raise ApiError(stale, f"Partition {topic}-{partition} is not of epoch {generation}.")

    return check


_APPLY: dict[int, Callable[..., None]] = {
    3: ConsumerGroup._apply_group,
    4: ConsumerGroup._apply_partition_metadata,
    5: ConsumerGroup._apply_member,
    6: ConsumerGroup._apply_target_epoch,
    7: ConsumerGroup._apply_target,
    8: ConsumerGroup._apply_current,
    16: ConsumerGroup._apply_regex,
}
