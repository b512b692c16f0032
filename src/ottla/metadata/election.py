"""Who leads a partition, and who is in its ISR: pure, from one state of a partition to the next.

What always holds: whoever is elected has all that was ever committed, unless an unclean
election was allowed. The in-sync replicas have it; so have the eligible leader replicas
(KIP-966), which left the ISR when it was too small to commit anything more without them.
Where nobody is in either, only who led last may be elected: nobody can know more.

Every change of a state raises its partition epoch, every election its leader epoch.
"""

from collections.abc import Callable, Container, Iterable

from ottla.metadata.image import PartitionImage, TopicImage
from ottla.model.ids import NO_BROKER, BrokerId

MinIsr = Callable[[TopicImage], int]
"""`min.insync.replicas` of a topic; there may be fewer replicas."""


def needed(state: PartitionImage, min_isr: int) -> int:
    """How many in-sync replicas commit: `min.insync.replicas`, where there are so many replicas."""
    return min(min_isr, len(state.replicas))


def change_isr(
    state: PartitionImage, isr: Iterable[BrokerId], min_isr: int, *, lost: Container[BrokerId] = ()
) -> PartitionImage:
    """The state with this ISR, in the order of its replicas.

    Who leaves an ISR that becomes too small to commit is eligible from then on, unless
    its log is `lost`; once the ISR is large enough nobody else is.
    """
    wanted = frozenset(isr)
    members = state.isr
    if wanted != frozenset(members):
        members = tuple(broker for broker in state.replicas if broker in wanted)
    elr: tuple[BrokerId, ...] = ()
    if len(members) < needed(state, min_isr):
        eligible = {*state.isr, *state.elr} - wanted
        elr = tuple(
            broker for broker in state.replicas if broker in eligible and broker not in lost
        )
    last_known_leader = NO_BROKER
    if not members and not elr:
        last_known_leader = state.last_known_leader
        if last_known_leader == NO_BROKER:
            last_known_leader = state.leader if state.leader != NO_BROKER else _last(state)
    changed = _certain(state._replace(isr=members, elr=elr, last_known_leader=last_known_leader))
    if changed == state:
        return state
    return changed._replace(partition_epoch=state.partition_epoch + 1)


def _certain(state: PartitionImage) -> PartitionImage:
    """The state without doubt about those that are not eligible any more, or in sync again."""
    doubtful = tuple(broker for broker in state.doubtful if broker in state.elr)
    return state if doubtful == state.doubtful else state._replace(doubtful=doubtful)


def _last(state: PartitionImage) -> BrokerId:
    """The one that could have led before everybody was gone."""
    return (*state.isr, *state.elr, NO_BROKER)[0]


def settle(
    state: PartitionImage,
    usable: Container[BrokerId],
    min_isr: int,
    *,
    unclean: bool = False,
    preferred: bool = False,
) -> PartitionImage:
    """The state as the controller wants it while these brokers are `usable`; perhaps the same one.

    Who is not usable, or has it in a log directory that is offline, leaves the ISR, and a leader
    who is not, or whose replica is removed by a finished reassignment, is followed by another: of
    the `heirs`, else, if an `unclean` election is allowed, any replica, those first that may lack
    least; or there is no leader. With `preferred`, the first replica leads if it is in sync.
    """
    able = [b for b in state.replicas if b in usable and b not in state.offline_replicas]
    # Who is gone leaves the ISR first: a reassignment that counted on it would be over too soon.
    after = change_isr(state, [broker for broker in state.isr if broker in able], min_isr)
    after = _without_removed(after, min_isr)
    offline = tuple(broker for broker in after.offline_replicas if broker in after.replicas)
    if offline != after.offline_replicas:
        after = after._replace(offline_replicas=offline)
    leader = _leader_of(after, able, unclean, preferred)
    if leader != NO_BROKER and leader not in after.isr:
        # The others that are eligible still are: with it alone nothing more is committed.
        clean = leader in after.elr and needed(after, min_isr) > 1
        elr = tuple(broker for broker in after.elr if broker != leader) if clean else ()
        after = after._replace(isr=(leader,), elr=elr, last_known_leader=NO_BROKER)
    if leader != after.leader:
        after = after._replace(leader=leader, leader_epoch=state.leader_epoch + 1)
    after = _certain(after)
    if after == state:
        return state
    return fencing_removed(state, after)._replace(partition_epoch=state.partition_epoch + 1)


def fencing_removed(before: PartitionImage, after: PartitionImage) -> PartitionImage:
    """The state `after`, in another leader epoch than `before` if a replica went.

    Who has not heard that it was removed, and is a replica again, must not be taken for in sync:
    it drops its log as soon as it hears. It has to fetch in the new epoch, of which it hears then.
    """
    if before.leader_epoch != after.leader_epoch or {*before.replicas} <= {*after.replicas}:
        return after
    return after._replace(leader_epoch=before.leader_epoch + 1)


def _without_removed(state: PartitionImage, min_isr: int) -> PartitionImage:
    """The state after its reassignment, if everybody who is to stay and was added is in sync.

    Not before enough who stay are, where those who go make up for them: what is committed would
    be on fewer than it was promised to be.
    """
    if not state.adding and not state.removing:
        return state
    target = tuple(broker for broker in state.replicas if broker not in state.removing)
    if not all(broker in state.isr for broker in state.adding) or not target:
        return state
    isr = tuple(broker for broker in state.isr if broker in target)
    if not isr or makes_up(state, state.removing, len(isr), min(min_isr, len(target))):
        return state
    elr = tuple(broker for broker in state.elr if broker in target)
    return state._replace(replicas=target, isr=isr, elr=elr, adding=(), removing=())


def makes_up(state: PartitionImage, gone: Container[BrokerId], stay: int, enough: int) -> bool:
    """Whether some of those `gone` have what is committed, and who `stay` in sync are not enough."""
    return stay < enough and any(broker in gone for broker in (*state.isr, *state.elr))


def _leader_of(
    state: PartitionImage, usable: Container[BrokerId], unclean: bool, preferred: bool
) -> BrokerId:
    def may_lead(candidates: Iterable[BrokerId]) -> list[BrokerId]:
        return [b for b in state.replicas if b in candidates and b in usable]

    in_sync = may_lead(state.isr)
    if preferred and in_sync and in_sync[0] == state.replicas[0]:
        return in_sync[0]
    if state.leader in in_sync:
        return state.leader
    # Who is about to be removed leads only where nobody else can.
    stay = [broker for broker in in_sync if broker not in state.removing]
    candidates = stay or in_sync or may_lead(heirs(state))
    if not candidates and unclean:
        candidates = may_lead(state.elr) or may_lead((state.last_known_leader,))
        candidates = candidates or may_lead(state.replicas)
    return candidates[0] if candidates else NO_BROKER


def heirs(state: PartitionImage) -> tuple[BrokerId, ...]:
    """Who may lead without an unclean election, whether they live or not: nobody knows more.

    The in-sync replicas, else those that are eligible; who may lack the end only where nobody else
    is, here or away; else the last known leader.
    """
    sure = tuple(broker for broker in state.elr if broker not in state.doubtful)
    if state.isr or sure or state.elr:
        return state.isr or sure or state.elr
    return () if state.last_known_leader == NO_BROKER else (state.last_known_leader,)


def forget(
    state: PartitionImage, broker: BrokerId, min_isr: int, *, missing: bool = False
) -> PartitionImage:
    """The state once a broker's log of it may lack something: it is in no set any more.

    It leads in no epoch it led in, either. The last one to be forgotten is the last known leader,
    unless its log is `missing` and others may have one.
    """
    after = change_isr(
        state, [member for member in state.isr if member != broker], min_isr, lost={broker}
    )
    elr = tuple(member for member in after.elr if member != broker)
    after = _certain(after._replace(elr=elr))
    if not after.isr and not after.elr:
        last = state.last_known_leader if state.last_known_leader != NO_BROKER else broker
        if missing and last == broker and len(state.replicas) > 1:
            last = NO_BROKER
        after = after._replace(last_known_leader=last)
    if after == state._replace(partition_epoch=after.partition_epoch):
        return resigned(state, broker)
    return resigned(after, broker)._replace(partition_epoch=state.partition_epoch + 1)


def went_offline(state: PartitionImage, broker: BrokerId, min_isr: int) -> PartitionImage:
    """The state once a broker's log of it is in a log directory that is offline.

    It leaves the ISR as any other: should the ISR be too small without it, it is eligible, for
    all may be there once the directory is back; but it is not elected before (KIP-858).
    """
    if broker in state.offline_replicas:
        return state
    listed = {*state.offline_replicas, broker}
    after = change_isr(state, [member for member in state.isr if member != broker], min_isr)
    after = after._replace(
        offline_replicas=tuple(replica for replica in state.replicas if replica in listed),
        partition_epoch=state.partition_epoch + 1,
    )
    if after.leader == broker:
        after = after._replace(leader=NO_BROKER, leader_epoch=state.leader_epoch + 1)
    return after


def came_back(state: PartitionImage, broker: BrokerId) -> PartitionImage:
    """The state once a broker began anew and has its log of it, or a new one.

    If it is eligible, it is so in doubt until it is in sync again: the disk that failed may have
    lost what was not flushed, though the machine went on.
    """
    if broker not in state.offline_replicas:
        return state
    doubtful = {*state.doubtful, broker}
    return state._replace(
        offline_replicas=tuple(each for each in state.offline_replicas if each != broker),
        doubtful=tuple(each for each in state.elr if each in doubtful),
        partition_epoch=state.partition_epoch + 1,
    )


def resigned(state: PartitionImage, broker: BrokerId) -> PartitionImage:
    """The state in which a broker does not lead: an epoch belongs to one incarnation of it."""
    if state.leader != broker:
        return state
    return state._replace(
        leader=NO_BROKER,
        leader_epoch=state.leader_epoch + 1,
        partition_epoch=state.partition_epoch + 1,
    )
