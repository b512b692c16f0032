"""Whatever members say and whenever: no task is active twice, and the log says it all."""

import random
from collections import Counter

import pytest
from tests.support.streams_world import EndpointRequest, StreamsWorld, TopicInfo, part

from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.coordinator.group.streams.tasks import Task, each
from ottla.model.errors import ErrorCode
from ottla.wire.generated.streams_group_heartbeat import TaskIdsRequest

NAMES, PROCESSES = "abcde", "pqr"
STEPS = 120
EXPECTED = {
    ErrorCode.NONE,
    ErrorCode.FENCED_MEMBER_EPOCH,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.GROUP_ID_NOT_FOUND,
}
STORED = ("members", "targets", "epoch", "target_epoch", "validated_epoch", "topology")


def some_topics(chance: random.Random) -> dict[str, int]:
    """The sources most of the time, and the changelog of the first with its size."""
    topics = {"t": chance.randrange(1, 5), "u": chance.randrange(1, 3)}
    if chance.random() < 0.8:
        topics["log"] = topics["t"]
    if chance.random() < 0.1:
        del topics["u"]
    return topics


def step(world: StreamsWorld, chance: random.Random) -> None:
    """One thing that may happen."""
    name = chance.choice(NAMES)
    what = chance.random()
    if what < 0.05:
        world.set_topics(some_topics(chance))
    elif what < 0.08:
        world.configure("streams.num.standby.replicas", str(chance.randrange(3)))
    elif what < 0.15:
        world.advance(chance.choice([20, 500, 5_000, 46_000]))
    elif what < 0.18:
        world.refuse = ErrorCode.NOT_ENOUGH_REPLICAS
    elif what < 0.2:
        world.shard = world.replay()
    elif name not in world.epochs or what < 0.3:
        process = chance.choice(PROCESSES)
        assert world.join(name, process).error_code in EXPECTED
    elif what < 0.33:
        epoch, world.epochs[name] = world.epochs[name], -1
        if world.beat(name, says=False).error_code:
            world.epochs[name] = epoch
        else:
            del world.epochs[name]
    else:
        beat(world, chance, name)


def beat(world: StreamsWorld, chance: random.Random, name: str) -> None:
    """A heartbeat, perhaps one that repeats itself, claims too much or brings news."""
    epoch, owned = world.epochs[name], world.owned[name]
    fields = {}
    if chance.random() < 0.05:
        fields["user_endpoint"] = EndpointRequest(host="h", port=chance.randrange(3))
    if chance.random() < 0.05:
        fields["process_id"] = chance.choice(PROCESSES)
    if chance.random() < 0.05:
        world.epochs[name] = max(1, epoch + chance.choice([-1, 1]))
    if chance.random() < 0.05:
        world.owned[name] = [[TaskIdsRequest(subtopology_id="0", partitions=[3])], [], []]
    answer = world.beat(name, says=chance.random() < 0.8, **fields)
    assert answer.error_code in EXPECTED
    if answer.error_code:
        world.epochs[name], world.owned[name] = epoch, owned
    if answer.error_code in (ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID):
        del world.epochs[name]


def active(group: StreamsGroup) -> Counter[Task]:
    """How often each task is active, those to be given up among them."""
    return Counter(
        task
        for member in group.members.values()
        for held in (member.assigned, member.revoking)
        for task in each(held.active)
    )


def check(world: StreamsWorld) -> None:
    group = world.shard.groups.get("g")
    if not isinstance(group, StreamsGroup):
        return
    assert not active(group) or max(active(group).values()) == 1
    again = world.replay().groups["g"]
    for name in STORED:
        assert getattr(again, name) == getattr(group, name), name


@pytest.mark.parametrize("seed", range(12))
def test_no_task_is_active_twice_and_all_are_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    world = StreamsWorld(
        part("t", state_changelog_topics=[TopicInfo(name="log")]),
        part("u", name="1"),
        topics={"t": 4, "u": 2, "log": 4},
        delay_ms=chance.choice([0, 30]),
        standbys=chance.randrange(3),
    )
    for _ in range(STEPS):
        step(world, chance)
        check(world)
    world.refuse = None
    world.set_topics({"t": 4, "u": 2, "log": 4})
    world.advance(100_000)
    for name in NAMES:
        world.join(name, chance.choice(PROCESSES))
    world.advance(30)
    world.settle(*NAMES)
    assert world.group.state_name == "Stable"
    assert active(world.group) == Counter(
        [*(("0", number) for number in range(4)), *(("1", number) for number in range(2))]
    )
