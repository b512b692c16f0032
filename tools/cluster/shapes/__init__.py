"""What a cluster goes through in one piece: each shape is played on a stage, under load."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tools.cluster.shapes import bounces, disks, membership
from tools.cluster.stage import PARTITIONS, Stage


class Shape(NamedTuple):
    """One of them."""

    name: str
    play: Callable[[Stage], None]
    configs: Mapping[str, str] = {}
    """Of the topic."""
    partitions: int = PARTITIONS
    changes_brokers: bool = False
    """Whether others take part afterwards."""


MEMBERS = 2
"""Of the group that reads along."""

DIRECTORIES = 2
"""Log directories of each broker."""

BROKERS = 4
SPARE = 4
"""The broker that takes no part at first."""

SETTINGS = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "log.flush.offset.checkpoint.interval.ms": "500",
    "min.insync.replicas": "2",
    "offsets.topic.num.partitions": "3",
    "offsets.topic.replication.factor": "3",
    "replica.lag.time.max.ms": "5000",
}
"""Of every broker. Checkpoints are written often, so that a directory that is gone is found out."""

SHAPES = (
    Shape("leader bounced", bounces.leader_bounced),
    Shape("rolling restart", bounces.rolling_restart),
    Shape("diverging tail", bounces.diverging_tail),
    Shape("last in sync killed", bounces.last_in_sync_killed, {"min.insync.replicas": "1"}),
    Shape("log directory lost", disks.directory_lost),
    Shape("directory wiped", disks.directory_wiped),
    Shape("power cut of one", disks.power_cut_of_one),
    Shape("power cut of all", disks.power_cut_of_all, {"flush.messages": "1"}),
    Shape(
        "reassignment",
        membership.reassignment,
        {"min.insync.replicas": "3", "segment.ms": "5000"},
        partitions=20,
        changes_brokers=True,
    ),
    Shape("broker replaced", membership.broker_replaced, changes_brokers=True),
)
