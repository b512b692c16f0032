"""The faults: what each does to a cluster, and for how long. `Scene.heal` undoes any of them."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tools.cluster.cluster import Broker
from tools.cluster.network import Network
from tools.cluster.scene import Scene

SHORT = (1.0, 3.0)
"""Seconds, within the lease."""
BEYOND_LEASE = (1.0, 3.0)
"""Seconds that are added to the lease."""
FLAP_S = (0.2, 1.0)
SLOW_KBIT_PER_S = 128


class Fault(NamedTuple):
    """One kind. `inject` does it and says what it did."""

    kind: str
    hold_s: tuple[float, float]
    inject: Callable[[Scene], str]
    beyond_lease: bool = False
    """Whether `hold_s` comes on top of the lease."""
    needs_network: bool = False
    needs_small_disk: bool = False
    needs_etcd_members: int = 1


def kill(scene: Scene) -> str:
    broker = scene.leader()
    scene.kill(broker)
    return f"killed {broker.name}, which led"


def kill_controller(scene: Scene) -> str:
    broker = scene.controller()
    scene.kill(broker)
    return f"killed {broker.name}, the controller"


def kill_all(scene: Scene) -> str:
    for broker in scene.cluster.brokers.values():
        scene.kill(broker)
    return "killed every broker"


def kill_two(scene: Scene) -> str:
    leader = scene.leader()
    other = scene.others(leader)[0]
    scene.kill(leader)
    scene.kill(other)
    return f"killed {leader.name} and {other.name}"


def pause(scene: Scene) -> str:
    broker = scene.leader()
    broker.pause()
    return f"stopped {broker.name}, which led"


def pause_controller(scene: Scene) -> str:
    broker = scene.controller()
    broker.pause()
    return f"stopped {broker.name}, the controller"


def restart(scene: Scene) -> str:
    broker = scene.leader()
    broker.restart()
    return f"restarted {broker.name}"


def rolling_restart(scene: Scene) -> str:
    for broker in scene.cluster.brokers.values():
        broker.restart()
        scene.await_whole(60.0)
    return "restarted one after the other"


def _network(scene: Scene) -> Network:
    assert scene.cluster.network is not None
    return scene.cluster.network


def unplug(scene: Scene) -> str:
    broker = scene.leader()
    _network(scene).unplug(broker.machine)
    return f"unplugged {broker.name}"


def flap(scene: Scene) -> str:
    broker = scene.leader()
    for _ in range(scene.chance.randint(2, 4)):
        _network(scene).unplug(broker.machine)
        time.sleep(scene.chance.uniform(*FLAP_S))
        _network(scene).heal()
        time.sleep(scene.chance.uniform(*FLAP_S))
    return f"unplugged and plugged in {broker.name}"


def cut_from_follower(scene: Scene) -> str:
    leader = scene.leader()
    follower = scene.others(leader)[0]
    _network(scene).cut(leader.machine, follower.machine)
    return f"cut {leader.name} from {follower.name}"


def cut_to_follower(scene: Scene) -> str:
    return _one_way(scene, *_pair(scene))


def cut_to_leader(scene: Scene) -> str:
    leader, follower = _pair(scene)
    return _one_way(scene, follower, leader)


def _pair(scene: Scene) -> tuple[Broker, Broker]:
    leader = scene.leader()
    return leader, scene.others(leader)[0]


def _one_way(scene: Scene, source: Broker, target: Broker) -> str:
    _network(scene).cut_one_way(source.machine, target.machine)
    return f"lost what {source.name} sends to {target.name}"


def cut_from_followers(scene: Scene) -> str:
    leader = scene.leader()
    for other in scene.others(leader):
        _network(scene).cut(leader.machine, other.machine)
    return f"cut {leader.name} from the other brokers"


def cut_from_etcd(scene: Scene) -> str:
    broker = scene.leader()
    for member in scene.cluster.etcd.members:
        _network(scene).cut(broker.machine, _machine(scene, member.name))
    return f"cut {broker.name} from etcd"


def cut_to_etcd(scene: Scene) -> str:
    broker = scene.leader()
    for member in scene.cluster.etcd.members:
        _network(scene).cut_one_way(broker.machine, _machine(scene, member.name))
    return f"lost what {broker.name} sends to etcd"


def cut_etcd_to(scene: Scene) -> str:
    broker = scene.leader()
    for member in scene.cluster.etcd.members:
        _network(scene).cut_one_way(_machine(scene, member.name), broker.machine)
    return f"lost what etcd sends to {broker.name}"


def _machine(scene: Scene, member: str) -> str:
    names = [each.name for each in scene.cluster.etcd.members]
    return f"etcd{names.index(member)}"


def kill_etcd(scene: Scene) -> str:
    scene.cluster.etcd.kill()
    return "killed etcd"


def pause_etcd(scene: Scene) -> str:
    for member in scene.cluster.etcd.members:
        member.pause()
    return "stopped etcd"


def kill_everything(scene: Scene) -> str:
    kill_all(scene)
    kill_etcd(scene)
    return "killed every broker and etcd"


def kill_etcd_leader(scene: Scene) -> str:
    member = scene.cluster.etcd.members[scene.cluster.etcd_leader()]
    member.kill9()
    return f"killed {member.name} of etcd, which led"


def slow_follower(scene: Scene) -> str:
    _, follower = _pair(scene)
    _network(scene).slow(follower.machine, SLOW_KBIT_PER_S)
    return f"let {follower.name} be sent {SLOW_KBIT_PER_S} kbit/s"


def full_disk(scene: Scene) -> str:
    broker = next(each for each in scene.cluster.brokers.values() if each.has_small_disk)
    scene.fill_disk(broker)
    return f"filled the disk of {broker.name}"


AT_ONCE = (0.0, 0.5)

FAULTS = (
    Fault("broker killed", AT_ONCE, kill),
    Fault("broker killed past its lease", BEYOND_LEASE, kill, beyond_lease=True),
    Fault("controller killed past its lease", BEYOND_LEASE, kill_controller, beyond_lease=True),
    Fault("all brokers killed", (0.0, 2.0), kill_all),
    Fault("two brokers killed past their leases", BEYOND_LEASE, kill_two, beyond_lease=True),
    Fault("broker stopped within its lease", SHORT, pause),
    Fault("broker stopped past its lease", BEYOND_LEASE, pause, beyond_lease=True),
    Fault("controller stopped past its lease", BEYOND_LEASE, pause_controller, beyond_lease=True),
    Fault("broker restarted", AT_ONCE, restart),
    Fault("rolling restart", AT_ONCE, rolling_restart),
    Fault("etcd killed", (0.0, 2.0), kill_etcd),
    Fault("etcd killed past all leases", BEYOND_LEASE, kill_etcd, beyond_lease=True),
    Fault("etcd stopped within all leases", SHORT, pause_etcd),
    Fault("etcd stopped past all leases", BEYOND_LEASE, pause_etcd, beyond_lease=True),
    Fault("all brokers and etcd killed", (0.0, 2.0), kill_everything),
    Fault("etcd leader killed", (2.0, 5.0), kill_etcd_leader, needs_etcd_members=3),
    Fault("broker unplugged", BEYOND_LEASE, unplug, beyond_lease=True, needs_network=True),
    Fault("link of a broker flaps", AT_ONCE, flap, needs_network=True),
    Fault("follower cut from its leader", (3.0, 9.0), cut_from_follower, needs_network=True),
    Fault("leader to follower lost", (3.0, 9.0), cut_to_follower, needs_network=True),
    Fault("follower to leader lost", (3.0, 9.0), cut_to_leader, needs_network=True),
    Fault("leader cut from all followers", (2.0, 9.0), cut_from_followers, needs_network=True),
    Fault("broker cut from etcd", BEYOND_LEASE, cut_from_etcd, True, needs_network=True),
    Fault("broker to etcd lost", BEYOND_LEASE, cut_to_etcd, True, needs_network=True),
    Fault("etcd to broker lost", BEYOND_LEASE, cut_etcd_to, True, needs_network=True),
    Fault("slow follower", (6.0, 12.0), slow_follower, needs_network=True),
    Fault("full disk", (2.0, 6.0), full_disk, needs_network=True, needs_small_disk=True),
)


def possible(scene: Scene) -> list[Fault]:
    """Those that can be had with this cluster."""
    cluster = scene.cluster
    small = any(each.has_small_disk for each in cluster.brokers.values())
    return [
        fault
        for fault in FAULTS
        if (cluster.network is not None or not fault.needs_network)
        and (small or not fault.needs_small_disk)
        and len(cluster.etcd.members) >= fault.needs_etcd_members
    ]
