"""What the counted faults of a cluster cost clients, by kind, as docs/cluster.md tells it."""

import json
from pathlib import Path
from statistics import median
from typing import NamedTuple

COUNTED = Path(__file__).resolve().parents[2] / "docs" / "proof" / "cluster-faults.jsonl"


class Silence(NamedTuple):
    """The longest time in which one of six partitions acknowledged nothing, over all runs."""

    times: int
    middle_s: float
    """The middle of the runs' medians."""
    worst_s: float


SAID = {
    "broker restarted": "a broker restarted (SIGTERM, started again)",
    "rolling restart": "all restarted, one after the other",
    "broker killed past its lease": "a broker killed, and gone for longer than its lease",
    "controller killed past its lease": "the controller killed so",
    "broker killed": "a broker killed, and back at once",
    "broker stopped past its lease": "a broker stopped (SIGSTOP) for longer than its lease",
    "controller stopped past its lease": "the controller stopped so",
    "broker stopped within its lease": "a broker stopped for less",
    "two brokers killed past their leases": "two of three killed, and gone for longer than their "
    "leases",
    "all brokers killed": "all killed, and back within 2 s",
    "all brokers and etcd killed": "all and etcd killed, and back within 2 s",
    "broker unplugged": "a broker's network cable pulled for longer than its lease",
    "link of a broker flaps": "the cable pulled and put back, two to four times",
    "broker cut from etcd": "a broker cut from etcd for longer than its lease",
    "broker to etcd lost": "what it sends to etcd lost so",
    "etcd to broker lost": "what etcd sends to it lost so",
    "follower cut from its leader": "a leader and one follower cut from each other *",
    "leader to follower lost": "what a leader sends to one follower lost *",
    "follower to leader lost": "what a follower sends to its leader lost *",
    "leader cut from all followers": "a leader cut from all followers *",
    "slow follower": "a follower that gets 128 kbit/s *",
    "etcd leader killed": "the leader of three members of etcd killed",
    "etcd killed": "all of etcd killed, and back within 2 s",
    "etcd killed past all leases": "all of etcd killed for longer than the leases",
    "etcd stopped within all leases": "all of etcd stopped for less",
    "etcd stopped past all leases": "all of etcd stopped for longer than the leases",
    "full disk": "a disk full",
}
"""How the page names a kind."""


def silences(counted: Path = COUNTED) -> dict[str, Silence]:
    """Of each kind of fault in the committed table."""
    runs: dict[str, list[tuple[int, float, float]]] = {}
    for line in counted.read_text(encoding="utf-8").splitlines():
        for kind, (times, middle, worst) in json.loads(line)["by_kind"].items():
            runs.setdefault(kind, []).append((times, middle, worst))
    return {
        kind: Silence(
            sum(times for times, _, _ in of_kind),
            median(middle for _, middle, _ in of_kind),
            max(worst for _, _, worst in of_kind),
        )
        for kind, of_kind in runs.items()
    }


def row(kind: str, silence: Silence) -> str:
    """The line of a kind in the page's table."""
    return (
        f"| {SAID[kind]} | {silence.times} | {silence.middle_s:.2f} s | {silence.worst_s:.2f} s |"
    )
