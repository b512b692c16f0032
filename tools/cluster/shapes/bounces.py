"""Brokers that go and come back: at once, one after the other, with a tail that nobody else has."""

import re
import time

from tools.cluster.cluster import Broker
from tools.cluster.replicas import content
from tools.cluster.scene import Shape
from tools.cluster.stage import Stage
from tools.subject.wait import until

BOUNCES = 5
CUT = re.compile(r"-\d+ is cut from \d+ to \d+")
ELECTED_S = 60.0
UNLED_S = 0.5
TAIL_BYTES = 800
"""A few batches."""


def leader_bounced(stage: Stage) -> None:
    """Kill the leader of a partition and start it within its lease, five times, whoever leads."""
    for _ in range(BOUNCES):
        with stage.disturbance("leader killed, back within its lease"):
            leader = stage.scene.leader_of(0)
            leader.kill9()
            leader.start()


def rolling_restart(stage: Stage) -> None:
    """Restart every broker, each when the one before is in sync again; no member of a group moves."""
    members = stage.members
    assert members is not None
    until("every member has its partitions", lambda: members.is_settled)
    assignments = members.assignments
    for broker in stage.cluster.present:
        with stage.disturbance("restarted, one after the other"):
            broker.restart()
    if members.assignments != assignments:
        stage.journal.complain("group", "members were given other partitions")


def diverging_tail(stage: Stage) -> None:
    """Leave a leader alone until it has records of its own, kill it, and let it follow again."""
    scene, network = stage.scene, stage.cluster.network
    assert network is not None
    with stage.disturbance("leader with a tail of its own killed"):
        old = scene.leader_of(0)
        others = scene.others(old)
        for other in others:
            network.cut(old.machine, other.machine)
        until("the leader has more than the others", lambda: _has_more(stage, old, others))
        old.kill9()
        network.heal()
        until("another leads", lambda: scene.leader_of(0) is not old, ELECTED_S)
        stage.await_heard("another leads")
        has_tail = not _is_within(stage, old, scene.leader_of(0))
        logged = len(_log(old))
        old.start()
    if has_tail and not CUT.search(_log(old)[logged:]):
        stage.journal.complain("replicas", f"{old.name} cut nothing, and had a tail of its own")


def last_in_sync_killed(stage: Stage) -> None:
    """Leave one replica in sync, kill it, and let the others wait for it, who lack records."""
    scene = stage.scene
    with stage.disturbance("last in sync killed"):
        last = scene.leader_of(0)
        others = scene.others(last)
        for other in others:
            other.pause()
        until("one is in sync", lambda: _is_alone(scene.shape(), last), ELECTED_S)
        stage.await_heard("one is in sync")
        last.kill9()
        for other in others:
            other.resume()
        numbers = {other.number for other in others}
        until("the others live", lambda: scene.shape().brokers == numbers, ELECTED_S)
        over = time.monotonic() + UNLED_S
        while time.monotonic() < over:
            leaders = scene.shape().leaders
            if numbers & set(leaders.values()):
                stage.journal.complain("lost", f"elected without being in sync: {leaders}")
                break
        last.start()


def _is_alone(shape: Shape, broker: Broker) -> bool:
    """Whether a broker leads everything, and nobody else is in sync."""
    return set(shape.leaders.values()) == {broker.number} and all(
        members == (broker.number,) for members in shape.in_sync.values()
    )


def _has_more(stage: Stage, one: Broker, others: list[Broker]) -> bool:
    """Whether it has a tail that none of the others has, nor is about to write."""
    copies = [broker.copy_of(stage.topic, 0) for broker in (one, *others)]
    size, *less = [0 if copy is None else len(content(copy)) for copy in copies]
    return size > max(less) + TAIL_BYTES


def _is_within(stage: Stage, one: Broker, other: Broker) -> bool:
    """Whether the other has all that one has: it may have been on its way already when it was cut."""
    copies = [broker.copy_of(stage.topic, 0) for broker in (one, other)]
    found, whole = (b"" if copy is None else content(copy) for copy in copies)
    return whole.startswith(found)


def _log(broker: Broker) -> str:
    return broker.log.read_text(errors="replace")
