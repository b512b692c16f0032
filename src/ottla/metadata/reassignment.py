"""Moving replicas and leaders as somebody asked for (KIP-455, KIP-460): pure decisions.

A reassignment changes `replicas` to the wanted ones followed by those that go, and says in
`adding` and `removing` which are which. It is over, and `election.settle` ends it, when all that
are added are in sync. Who was added by an earlier one and is not wanted any more goes at once
unless it is in sync already.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ottla.metadata.election import fencing_removed, heirs, makes_up, settle
from ottla.metadata.image import Image, PartitionImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId, PartitionId, TopicName


class Election(NamedTuple):
    """What decides about a partition's leader."""

    usable: frozenset[BrokerId]
    min_isr: int


def usable_brokers(image: Image) -> frozenset[BrokerId]:
    return frozenset(broker.broker_id for broker in image.brokers.values() if broker.is_usable)


def find(image: Image, topic: TopicName, number: PartitionId) -> PartitionImage:
    """The partition to reassign. Raises ApiError UNKNOWN_TOPIC_OR_PARTITION."""
    if topic not in image.topics:
        raise ApiError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {topic}."
        )
    state = image.partition(topic, number)
    if state is None:
        raise ApiError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {topic}:{number}."
        )
    return state


def check_target(image: Image, target: Sequence[BrokerId]) -> None:
    """Raise ApiError INVALID_REPLICA_ASSIGNMENT where these cannot be a partition's replicas."""
    if not target:
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        )
    for broker, count in sorted(Counter(target).items()):
        if broker not in image.brokers and broker not in image.known_brokers:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"The manual partition assignment includes broker {broker}, "
                "but no such broker is registered.",
            )
        if count > 1:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"The manual partition assignment includes the broker {broker} more than once.",
            )


def reassign(
    state: PartitionImage,
    target: Sequence[BrokerId],
    election: Election,
    *,
    may_change_factor: bool = True,
) -> PartitionImage:
    """The state on its way to these replicas, or there already; the same if it is there.

    Raises:
        ApiError: INVALID_REPLICATION_FACTOR, there would be more or fewer, which was not wanted.
    """
    before = [broker for broker in state.replicas if broker not in state.adding]
    if not may_change_factor:
        present = [broker for broker in state.replicas if broker not in state.removing]
        if len(present) != len(target):
            raise ApiError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"The replication factor is changed from {len(present)} to {len(target)}",
            )
    gone = [broker for broker in state.replicas if broker not in target]
    # What was to be added and is not there yet never was a replica.
    has_it = {*before, *state.isr, *state.elr, state.last_known_leader}
    removing = tuple(sorted(broker for broker in gone if broker in has_it))
    adding = tuple(sorted(broker for broker in target if broker not in before))
    after = state._replace(
        replicas=(*target, *removing),
        elr=tuple(broker for broker in state.elr if broker in target or broker in removing),
        adding=adding,
        removing=removing,
    )
    return _settled(state, after, election)


def cancel(
    topic: TopicName,
    number: PartitionId,
    state: PartitionImage,
    election: Election,
    *,
    unclean: bool,
) -> PartitionImage:
    """The state with the replicas that it had before its reassignment, or on its way there.

    Who was added and is in sync is removed when enough of the others are.

    Raises:
        ApiError: NO_REASSIGNMENT_IN_PROGRESS; INVALID_REPLICA_ASSIGNMENT, none of those is in
            sync, or could lead, and an `unclean` election is not allowed.
    """
    if not state.adding and not state.removing:
        raise ApiError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    replicas = tuple(broker for broker in state.replicas if broker not in state.adding)
    isr = tuple(broker for broker in state.isr if broker not in state.adding)
    could_lead = heirs(state)
    stays = any(broker in replicas for broker in could_lead)
    if could_lead and not stays and not unclean:
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Unable to revert partition assignment for {topic}:{number} because it would "
            "require an unclean leader election.",
        )
    removing: tuple[BrokerId, ...] = ()
    elr = tuple(broker for broker in state.elr if broker in replicas)
    if stays and makes_up(state, state.adding, len(isr), min(election.min_isr, len(replicas))):
        removing = tuple(b for b in state.adding if b in (*state.isr, *state.elr))
        isr, elr = state.isr, state.elr
    after = state._replace(
        replicas=(*replicas, *removing),
        isr=isr,
        elr=elr,
        adding=(),
        removing=removing,
    )
    return _settled(state, after, election, unclean=unclean)


def _settled(
    before: PartitionImage, after: PartitionImage, election: Election, *, unclean: bool = False
) -> PartitionImage:
    """The state after elections, one partition epoch after `before`; or `before` itself."""
    after = settle(after, election.usable, election.min_isr, unclean=unclean)
    if after._replace(partition_epoch=before.partition_epoch) == before:
        return before
    return fencing_removed(before, after)._replace(partition_epoch=before.partition_epoch + 1)


def elect(
    state: PartitionImage, election: Election, *, preferred: bool
) -> tuple[PartitionImage, ApiError | None]:
    """The state after an election that somebody asked for, and why it changed nothing.

    A `preferred` one wants the first replica to lead; any other one lets whoever lives lead
    where nobody does, though it may lack records that were committed.
    """
    if state.leader == state.replicas[0] if preferred else state.leader >= 0:
        return state, ApiError(
            ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."
        )
    after = settle(
        state, election.usable, election.min_isr, unclean=not preferred, preferred=preferred
    )
    if preferred and after.leader != state.replicas[0]:
        return state, ApiError(
            ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
            "The preferred leader was not available.",
        )
    if after.leader < 0:
        return state, ApiError(
            ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
            "Eligible topic partition leaders are not available.",
        )
    return after, None


def is_imbalanced(state: PartitionImage, usable: Collection[BrokerId]) -> bool:
    """Whether the preferred replica should lead, could, and does not."""
    preferred = state.replicas[0]
    return state.leader != preferred and preferred in state.isr and preferred in usable
