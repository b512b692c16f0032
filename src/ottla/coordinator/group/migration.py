"""Groups that change their kind while members are there (KIP-848, `group.consumer.migration.policy`).

*Upgrade*: the first member of the newer protocol turns a classic group into a
consumer group. The others keep their ids, their generation, which becomes the
epoch, and what they were assigned; they go on with the classic protocol, which
`classic_members` translates. *Downgrade*: when the last member of the newer
protocol is gone, the rest become a classic group of the same generation, and
rebalance.
"""

from typing import TYPE_CHECKING

from ottla.coordinator.group import consumer_records as records
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.consumer_member import ConsumerMember
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.records import GroupRecord, GroupStored
from ottla.coordinator.group.topics_hash import topics_hash
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode, ProtocolError
from ottla.model.ids import PartitionId, Uuid
from ottla.wire.generated.consumer_protocol_assignment import (
    ConsumerProtocolAssignment,
    TopicPartition,
)
from ottla.wire.generated.consumer_protocol_subscription import ConsumerProtocolSubscription
from ottla.wire.generated.records.consumer_group_member_metadata_value import (
    ClassicMemberMetadata,
    ClassicProtocol,
)
from ottla.wire.generated.records.group_metadata_value import GroupMetadataValue, MemberMetadata
from ottla.wire.prefixed import decode_versioned, encode_versioned, read_prefix

if TYPE_CHECKING:
    from ottla.coordinator.group.shard import GroupShard


def policy_allows(shard: "GroupShard", what: str) -> bool:
    """`what` is "upgrade" or "downgrade"."""
    policy = str(shard.surroundings.config.values["group.consumer.migration.policy"]).lower()
    return policy in ("bidirectional", what)


# Up


def upgrade(shard: "GroupShard", old: ClassicGroup, made: list[GroupRecord]) -> ConsumerGroup:
    """Return the consumer group `old` becomes, with the records that say so.

    Raises:
        ApiError: GROUP_ID_NOT_FOUND, in Kafka's words: it may not or cannot.
    """
    start = f"Cannot upgrade classic group {old.group_id} to consumer group because"
    if not policy_allows(shard, "upgrade"):
        raise _refused(f"{start} online upgrade is disabled.")
    if not old.uses_consumer_protocol:
        raise _refused(f"{start} the group does not use the consumer embedded protocol.")
    if len(old.members) > shard.surroundings.number("group.consumer.max.size"):
        raise _refused(f"{start} the group size exceeds the consumer group maximum size.")
    group_id, epoch, image = old.group_id, old.generation, shard.surroundings.image
    try:
        members = [_upgraded(member, old, image) for member in old.members]
    except ProtocolError as error:
        raise _refused(f"{start} the embedded consumer protocol is malformed.") from error
    group = ConsumerGroup(group_id, shard.surroundings, shard.deadlines)
    names = {name for member in members for name in member.topics}
    fresh: list[GroupRecord] = [records.subscription(group_id, member) for member in members]
    fresh.append(records.epoch(group_id, epoch, topics_hash(image, names)))
    for member in members:
        target = {topic_id: tuple(owned) for topic_id, owned in member.assigned.items()}
        fresh.append(records.target(group_id, member.member_id, target))
    fresh.append(records.target_epoch(group_id, epoch, 0))
    fresh += [records.assignment(group_id, member) for member in members]
    for record in fresh:
        group.apply(record)
    made.append(GroupStored(group_id, None))
    made += fresh
    return group


def _refused(why: str) -> ApiError:
    return ApiError(ErrorCode.GROUP_ID_NOT_FOUND, why)


def _upgraded(member: Member, group: ClassicGroup, image: Image) -> ConsumerMember:
    """A member as it was in the last generation."""
    epoch = group.generation
    preferred = group.protocol_name or next(iter(member.protocols))
    subscription = subscription_of(member.protocols.get(preferred, b""))
    assigned: dict[Uuid, dict[PartitionId, int]] = {}
    if member.assignment:
        assignment = decode_versioned(ConsumerProtocolAssignment, member.assignment, lenient=True)
        for row in assignment.assigned_partitions:
            topic = image.topics.get(row.topic)
            if topic is not None and row.partitions:
                assigned[topic.topic_id] = dict.fromkeys(row.partitions, epoch)
    return ConsumerMember(
        member.member_id,
        instance_id=member.instance_id,
        rack_id=subscription.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topics=tuple(sorted(set(subscription.topics))),
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        classic=ClassicMemberMetadata(
            session_timeout_ms=member.session_timeout_ms,
            supported_protocols=[
                ClassicProtocol(name=name, metadata=bytes(metadata))
                for name, metadata in member.protocols.items()
            ],
        ),
        epoch=epoch,
        previous_epoch=epoch,
        assigned=assigned,
    )


def subscription_of(metadata: bytes) -> ConsumerProtocolSubscription:
    """What a classic consumer says of itself. Raises ProtocolError."""
    return decode_versioned(ConsumerProtocolSubscription, metadata, lenient=True)


# Down


def downgrade(shard: "GroupShard", group: ConsumerGroup, now_ms: int) -> Out:
    """Everybody who is left speaks the classic protocol: become a classic group, and rebalance."""
    members = list(group.members.values())
    if (
        not members
        or any(member.classic is None for member in members)
        or not policy_allows(shard, "downgrade")
        or len(members) > shard.settings.group_max_size
    ):
        return Out()
    record = downgraded(group, now_ms)
    assert record.value is not None
    classic = shard.new_group(Kind.CLASSIC, group.group_id)
    assert isinstance(classic, ClassicGroup)
    classic.restore(record.value)
    back = shard.replace(classic)
    group.die()
    out = Out([*group.tombstones(), record])
    together = classic.converted(now_ms)
    assert not together.answers
    out.records += together.records

    def refused(code: ErrorCode) -> Out:
        back()
        group.loaded(now_ms)
        return Out()

    out.refused = refused
    return out


def downgraded(group: ConsumerGroup, now_ms: int) -> GroupStored:
    """The record of the classic group that `group` becomes, stable at its members' epoch."""
    left = list(group.members.values())
    shared = None
    for member in left:
        assert member.classic is not None
        offered = [protocol.name for protocol in member.classic.supported_protocols]
        shared = offered if shared is None else [name for name in shared if name in offered]
    protocol = shared[0] if shared else ""
    rows = []
    for member in left:
        assert member.classic is not None
        metadata = {one.name: one.metadata for one in member.classic.supported_protocols}
        rows.append(
            MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.classic.session_timeout_ms,
                subscription=metadata.get(protocol, b""),
                assignment=classic_assignment(group, member),
            )
        )
    return GroupStored(
        group.group_id,
        GroupMetadataValue(
            protocol_type="consumer",
            # The epoch of those who are furthest: they learn of the rebalance by their heartbeats.
            generation=max(member.epoch for member in left),
            protocol=protocol,
            leader=rows[0].member_id,
            current_state_timestamp=now_ms,
            members=rows,
        ),
    )


def classic_assignment(group: ConsumerGroup, member: ConsumerMember) -> bytes:
    """What a member has, in the version of its own subscription."""
    assert member.classic is not None
    names = group.surroundings.image.topic_names
    metadata = member.classic.supported_protocols[0].metadata
    version = max(0, min(read_prefix(metadata), ConsumerProtocolAssignment.MAX_VERSION))
    message = ConsumerProtocolAssignment(
        assigned_partitions=[
            TopicPartition(topic=names[topic_id], partitions=sorted(partitions))
            for topic_id, partitions in member.assigned.items()
            if topic_id in names
        ]
    )
    return encode_versioned(message, version)
