"""Whatever happened to groups: a shard that replays the log is in the same state.

Random commands from a few clients. After each one the member table must be
consistent and every request be answered or parked exactly once; at the end, a
fresh shard with the same log has the same offsets and the same groups. A group
in the midst of a rebalance is, after replay, in its last stored generation.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.group_world import GroupWorld

from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.classic_state import EMPTY, PREPARING, STABLE
from ottla.coordinator.group.shard import GroupShard

CLIENTS = ("a", "b", "c", "d")

clients = st.sampled_from(CLIENTS)
protocols = st.sampled_from(["range:t", "range:t", "range:t+u", "roundrobin:t,range:t"])


def instance_of(name: str) -> str:
    """Clients c and d are static members."""
    return f" instance=I{name}" if name in "cd" else ""


def join(name: str, fresh: bool, protocol: str, version: int) -> list[str]:
    line = f"join {name} protocols={protocol} v={version} session=10000 rebalance=20000"
    line += instance_of(name)
    if fresh:
        # Twice: a dynamic member is handed its id first.
        return [f"{line} id=none", line]
    return [line]


def sync(name: str) -> list[str]:
    return [f"sync {name}{instance_of(name)} assign=@"]


def form(names: set[str], fresh: bool, protocol: str) -> list[str]:
    """Everybody joins, time passes, everybody syncs."""
    ordered = sorted(names)
    lines = [line for name in ordered for line in join(name, fresh, protocol, 9)]
    lines.append("advance 3000")
    return lines + [line for name in ordered for line in sync(name)]


def commit(name: str, partition: int, offset: int, member: bool) -> list[str]:
    who = instance_of(name) if member else " id=none generation=-1"
    return [f"commit {name} t-{partition}@{offset} u-0@{offset}{who}"]


def one(line: str) -> list[str]:
    return [line]


rare = st.integers(0, 5).map(lambda number: number == 0)
commands = st.one_of(
    st.builds(form, st.sets(clients, min_size=1), rare, protocols),
    st.builds(form, st.just(set("abcd")), rare, protocols),
    st.builds(join, clients, rare, protocols, st.sampled_from([3, 8, 9, 9])),
    st.builds(join, clients, st.just(True), protocols, st.sampled_from([3, 8, 9, 9])),
    st.builds(sync, clients),
    st.builds("heartbeat {}".format, clients).map(one),
    st.builds("leave {} {}".format, clients, clients).map(one),
    st.builds("leave instances=I{},I{}".format, clients, clients).map(one),
    st.builds(commit, clients, st.integers(0, 2), st.integers(0, 9), st.booleans()),
    st.builds("advance {}".format, st.sampled_from([0, 100, 3_000, 8_000, 25_000])).map(one),
    st.sampled_from(
        [
            "advance 700000",
            "delete-group",
            "delete-offsets t-0 u-0",
            "delete-topic u",
            "restart",
            "set group.max.size=2",
            "set group.max.size=9",
            "refuse NOT_ENOUGH_REPLICAS",
        ]
    ).map(one),
)


def offsets_of(shard: GroupShard) -> dict[str, Any]:
    return {"g": shard.offsets.of_group("g")}


def at_rest(group: ClassicGroup) -> dict[str, Any]:
    """What of a group must be the same after a restart."""
    return {
        "state": group.state,
        "stored": group.stored(),
        "type": group.protocol_type,
        "topics": group.topics(),
    }


def check(world: GroupWorld) -> None:
    """What holds after every command."""
    parked = [waiter for group in groups_of(world.shard) for waiter in group.waiters()]
    assert len(parked) == len(set(parked)), "a request is parked twice"
    assert set(parked) == set(world.parked.values()), "a request was lost"
    for group in groups_of(world.shard):
        members = group.members
        assert members.joining_count == sum(member.joining is not None for member in members)
        assert members.leader_id is None or members.leader_id in members
        assert (members.leader_id is None) == (len(members) == 0)
        assert set(members.unsynced) <= {member.member_id for member in members}
        instances = [member.instance_id for member in members if member.instance_id is not None]
        assert len(instances) == len(set(instances))
        for member in members:
            if member.instance_id is not None:
                assert members.static_id(member.instance_id) == member.member_id
            assert member.joining is None or group.state is PREPARING
        if group.state is EMPTY:
            assert len(members) == 0
        if group.state is STABLE:
            assert len(members) > 0


def groups_of(shard: GroupShard) -> list[ClassicGroup]:
    return [group for group in shard.groups.values() if isinstance(group, ClassicGroup)]


@settings(max_examples=150, deadline=None)
@given(st.lists(commands, max_size=40), st.sampled_from([0, 3_000]))
def test_replaying_the_log_gives_the_same_state(steps: list[list[str]], delay: int) -> None:
    world = GroupWorld(
        group_initial_rebalance_delay_ms=delay,
        offsets_retention_minutes=10,
        offsets_retention_check_interval_ms=60_000,
    )
    refused = False
    for line in [line for lines in steps for line in lines]:
        refused = refused or line.startswith("refuse")
        # The leader assigns to the members as they are called now.
        assigned = ",".join(f"{name}:{name}" for name in CLIENTS)
        world.run(line.replace("@", assigned) if line.startswith("sync") else line)
        check(world)
    size = len(world.log)
    world.settings.group_max_size = 99
    again = world.replay()
    assert len(world.log) == size
    assert offsets_of(again) == offsets_of(world.shard)
    live = {group.group_id: group for group in groups_of(world.shard)}
    replayed = {group.group_id: group for group in groups_of(again)}
    for group_id, group in replayed.items():
        assert group_id in live
        assert group.state in (EMPTY, STABLE)
        if live[group_id].state in (EMPTY, STABLE) and not refused:
            assert at_rest(group) == at_rest(live[group_id])
        else:
            assert group.generation <= live[group_id].generation
    if not refused:
        assert set(replayed) == set(live)


def test_two_replays_are_one_replay() -> None:
    """Every record says all there is to say: applying one twice changes nothing."""
    world = GroupWorld(group_initial_rebalance_delay_ms=0)
    for line in (
        "join a id=none instance=A",
        "advance 0",
        "sync a instance=A assign=a:x",
        "commit a t-0@5 instance=A",
        "join a id=none instance=A",
    ):
        world.run(line)
    once = world.replay()
    world.log *= 2
    twice = world.replay()
    for shard in (once, twice):
        assert [group.stored() for group in groups_of(shard)] == [
            group.stored() for group in groups_of(once)
        ]
        partition = shard.offsets.get("g", "t", 0)
        assert partition is not None
        assert partition.offset == 5
