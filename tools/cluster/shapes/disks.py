"""Disks: a log directory that vanishes, one that is empty after a stop, power that is cut.

A power cut is the death of the process, another boot id of the kernel, and a tail that is not as it
was written: what was not flushed is partly gone, and what was follows by bytes that nobody wrote.
"""

import shutil
import time
import uuid
from pathlib import Path

from tools.cluster.cluster import Broker
from tools.cluster.stage import Stage
from tools.subject.wait import until

BOOT_ID = "/proc/sys/kernel/random/boot_id"
GONE_S = 60.0
ALONE_S = 60.0
UNLED_S = 0.5
GARBAGE_BYTES = (1, 5_000)


def directory_lost(stage: Stage) -> None:
    """Take a log directory away under the leader of a partition, then under a follower."""
    leader = stage.scene.leader_of(0)
    _lose_directory(stage, leader, "log directory of a leader lost")
    leader = stage.scene.leader_of(0)
    _lose_directory(stage, stage.scene.others(leader)[0], "log directory of a follower lost")


def _lose_directory(stage: Stage, broker: Broker, kind: str) -> None:
    with stage.disturbance(kind):
        directory = _directory(stage, broker)
        held = [n for n in range(stage.partitions) if _is_in(stage, broker, n, directory)]
        elsewhere = directory.with_name(f"gone-{directory.name}")
        directory.rename(elsewhere)
        until("others have what was in it", lambda: _has_left(stage, broker, held), GONE_S)
        stage.await_heard("a log directory is gone")
        if not broker.running():
            stage.journal.complain("stall", f"{broker.name} ended with one of two directories")
        broker.stop()
        elsewhere.rename(directory)
        broker.start()


def directory_wiped(stage: Stage) -> None:
    """Empty a log directory of a broker that may be elected, while it is stopped; start it first."""
    with stage.disturbance("directory wiped while stopped"):
        wiped = stage.scene.leader_of(0)
        one, other = stage.scene.others(wiped)
        directory = _directory(stage, wiped)
        held = [n for n in range(stage.partitions) if _is_in(stage, wiped, n, directory)]
        one.stop()
        wiped.stop()
        other.kill9()
        shutil.rmtree(directory)
        directory.mkdir()
        _start_alone(stage, wiped, held)
        stage.cluster.start()


def power_cut_of_one(stage: Stage) -> None:
    """Cut the power of a broker in sync, which loses what it had not flushed; start it first."""
    with stage.disturbance("power cut of one"):
        broker = stage.scene.leader_of(0)
        for each in stage.cluster.present:
            each.kill9()
        for partition in range(stage.partitions):
            _damage(stage, broker, partition, keep_all=False)
        _reboot(stage, broker)
        _start_alone(stage, broker, list(range(stage.partitions)))
        stage.cluster.start()


def power_cut_of_all(stage: Stage) -> None:
    """Cut the power of every broker and of etcd; every record was flushed before it was said to be."""
    with stage.disturbance("power cut of all"):
        for broker in stage.cluster.present:
            broker.kill9()
        stage.cluster.etcd.kill()
        for broker in stage.cluster.present:
            for partition in range(stage.partitions):
                _damage(stage, broker, partition, keep_all=True)
            _reboot(stage, broker)
        stage.cluster.heal()


def _start_alone(stage: Stage, broker: Broker, held: list[int]) -> None:
    """Start one before all others, who knows that it may lack records of `held`: it must not lead."""
    scene = stage.scene
    broker.start()
    until("it is alone", lambda: scene.shape().brokers == {broker.number}, ALONE_S)
    over = time.monotonic() + UNLED_S
    while time.monotonic() < over:
        led = [n for n, leader in scene.shape().leaders.items() if leader == broker.number]
        if wrong := sorted(set(led) & set(held)):
            stage.journal.complain("lost", f"{broker.name} leads {wrong}, and lacks records")
            return


def _directory(stage: Stage, broker: Broker) -> Path:
    """The log directory that has partition 0."""
    copy = broker.copy_of(stage.topic, 0)
    assert copy is not None
    return copy.parent


def _is_in(stage: Stage, broker: Broker, partition: int, directory: Path) -> bool:
    copy = broker.copy_of(stage.topic, partition)
    return copy is not None and copy.parent == directory


def _has_left(stage: Stage, broker: Broker, held: list[int]) -> bool:
    """Whether it neither leads those partitions nor is in sync."""
    shape = stage.scene.shape()
    return all(
        shape.leaders[n] not in (broker.number, -1) and broker.number not in shape.in_sync[n]
        for n in held
    )


def _damage(stage: Stage, broker: Broker, partition: int, *, keep_all: bool) -> None:
    """Leave a random part of the last segment, or all of it, and bytes nobody wrote behind it."""
    copy = broker.copy_of(stage.topic, partition)
    assert copy is not None
    with sorted(copy.glob("*.log"))[-1].open("r+b") as segment:
        size = segment.seek(0, 2)
        if not keep_all:
            size = stage.chance.randint(0, size)
            segment.truncate(size)
        segment.seek(size)
        segment.write(stage.chance.randbytes(stage.chance.randint(*GARBAGE_BYTES)))


def _reboot(stage: Stage, broker: Broker) -> None:
    """Give a machine another boot id."""
    network = stage.cluster.network
    assert network is not None
    boot_id = broker.disk.parent / "boot_id"
    boot_id.write_text(f"{uuid.UUID(int=stage.chance.getrandbits(128))}\n")
    network.mount_file(broker.machine, str(boot_id), BOOT_ID)
