"""Every measurement: what it is, what runs it, and what we promised of it.

A target compares Ottla's median with Kafka's of the same run (`ratio`), or
stands for itself (`absolute`).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from benchmarks import (
    admin,
    durable,
    fetch_session,
    footprint,
    groups,
    java_tools,
    replicated,
    ten_gigabytes,
    throughput,
    transactions,
)
from benchmarks.clusters import Together
from benchmarks.measure import Contestant, Figures

Subject = TypeVar("Subject")


class Target(NamedTuple):
    """`figure` must be at least, or at most, `limit`."""

    figure: str
    at_least: bool
    limit: float
    ratio: bool = True

    def met(self, ottla: float, kafka: float | None) -> bool | None:
        """Whether it is; None when there is nothing to compare with."""
        if self.ratio and not kafka:
            return None
        value = ottla / kafka if self.ratio and kafka else ottla
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self) -> str:
        """For people: `>= 1.2x`."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.limit:g}{'x' if self.ratio else ''}"


class Case(NamedTuple, Generic[Subject]):
    """A piece of work done by turns on two brokers, or clusters, started for it and staying up."""

    letter: str
    title: str
    run: Callable[[Subject, int], Figures]
    targets: tuple[Target, ...] = ()
    untimed: int = 1
    """Rounds before the timed ones. A JVM gets faster for a long time: some cases come twice."""


class Lone(NamedTuple, Generic[Subject]):
    """A measurement of processes of its own, started for each round."""

    title: str
    run: Callable[[Subject], Figures]
    targets: tuple[Target, ...]
    running: bool
    rounds: int | None = None
    settings: Mapping[str, str] = MappingProxyType({})


def _rates(records: float, cpu: float) -> tuple[Target, ...]:
    return (
        Target("records_per_s", True, records),
        Target("cpu_us_per_record", False, cpu),
    )


HOT = 10
"""Untimed rounds after which a JVM has compiled what it will."""

CASES: dict[str, Case[Contestant]] = {
    "small": Case(
        "a",
        "100 B records, 2 producers, linger 5 ms, acks=1, 6 partitions",
        throughput.small_records,
        _rates(1.2, 0.6),
    ),
    "small-hot": Case(
        "a", f"the same, after {HOT} untimed rounds", throughput.small_records, untimed=HOT
    ),
    "kilobyte": Case(
        "b",
        "1 KB records, linger 5 ms, acks=all, 6 partitions",
        throughput.kilobyte_records,
        _rates(1.2, 0.5),
    ),
    "single": Case("c", "one record a request", throughput.one_record_a_request, _rates(4.0, 0.25)),
    "single-hot": Case(
        "c",
        f"the same, after {HOT} untimed rounds",
        throughput.one_record_a_request,
        untimed=HOT,
    ),
    "single-in-flight": Case(
        "c", "one record a request, one in flight", throughput.one_record_one_in_flight
    ),
    "consume": Case(
        "d",
        "consume what (b) wrote",
        throughput.consume,
        (Target("records_per_s", True, 1.0),),
    ),
    "java-producer": Case(
        "e",
        "ProducerPerformance, idempotent, 500 B",
        java_tools.producer_performance,
        (Target("records_per_s", True, 1.0),),
    ),
    "java-consumer": Case(
        "e",
        "ConsumerPerformance",
        java_tools.consumer_performance,
        (Target("records_per_s", True, 1.0),),
    ),
    "latency": Case(
        "f",
        "EndToEndLatency, acks=all",
        java_tools.end_to_end_latency,
        (Target("mean_ms", False, 0.7), Target("p99_ms", False, 0.7)),
    ),
    "topics": Case(
        "g",
        "500 topics in one request",
        admin.topics_in_one_request,
        (Target("topics_per_s", True, 2.0),),
    ),
    "topics-each": Case(
        "g",
        "500 topics, a request each",
        admin.topics_one_by_one,
        (Target("topics_per_s", True, 2.0),),
    ),
    "group": Case(
        "h",
        "8 members to a stable group",
        groups.eight_members,
        (Target("seconds", False, 0.3),),
    ),
    "group-alert": Case(
        "h",
        "the same, heartbeat 100 ms",
        groups.eight_alert_members,
    ),
    "group-newer": Case(
        "h",
        "the same, group.protocol=consumer",
        groups.eight_newer_members,
        (Target("seconds", False, 1.0),),
    ),
    "durable": Case(
        "i",
        "flush.messages=1, 32 idempotent producers, one request in flight each, 1 partition",
        durable.one_partition,
        (
            Target("requests_per_s", True, 2.0),
            Target("times_serial", True, 20.0, ratio=False),
        ),
    ),
    "durable-32": Case(
        "i",
        "the same, 32 partitions",
        durable.many_partitions,
        (
            Target("requests_per_s", True, 2.0),
            Target("times_serial", True, 4.0, ratio=False),
        ),
    ),
    "hundred-members": Case(
        "j",
        "100 members, heartbeat 100 ms: they start, a second later one joins, then one leaves",
        groups.hundred_members,
        tuple(Target(f"{what}_s", False, 1, ratio=False) for what in ("start", "join", "leave")),
    ),
    "hundred-newer": Case(
        "j",
        "the same, group.protocol=consumer",
        groups.hundred_newer_members,
        tuple(Target(f"{what}_s", False, 1.0) for what in ("start", "join", "leave")),
    ),
    "thousand-groups": Case(
        "k",
        "1,000 groups of 3 members, heartbeat 3 s",
        groups.thousand_groups,
        (Target("core_percent", False, 10, ratio=False),),
        untimed=0,
    ),
    "thousand-newer": Case(
        "k",
        "the same, group.protocol=consumer, heartbeat 5 s",
        groups.thousand_newer_groups,
        (Target("core_percent", False, 10, ratio=False),),
        untimed=0,
    ),
    "transactions": Case(
        "l",
        "transactions of 10 records, version 2, one producer without a library",
        transactions.one_producer,
        (Target("transactions_per_s", True, 5.0),),
        untimed=3,
    ),
    "transactions-8": Case(
        "l",
        "the same, 8 producers",
        transactions.eight_producers,
        untimed=3,
    ),
    "transactions-librdkafka": Case(
        "l",
        "the same by librdkafka, one producer",
        transactions.librdkafka,
        untimed=3,
    ),
    "transactions-librdkafka-8": Case(
        "l",
        "the same, 8 producers",
        transactions.eight_librdkafka,
        untimed=3,
    ),
    "fetch-session": Case(
        "n",
        "a fetch of one busy partition, in a session of 1 and of 3,000",
        fetch_session.busy_among_many,
        (Target("times", False, 1.5, ratio=False),),
    ),
}

#: What a case needs to have run before it in the same round.
NEEDS = {"consume": "kilobyte", "java-consumer": "java-producer"}

LONE: dict[str, Lone[Contestant]] = {
    "after-load": Lone(
        "memory after (a), (b), (d) and (c)",
        footprint.after_load,
        (Target("after_load_mib", False, 120, ratio=False),),
        running=True,
        rounds=1,
    ),
    "start": Lone(
        "start to the first answered request",
        footprint.start,
        (
            Target("start_s", False, 0.5, ratio=False),
            Target("idle_mib", False, 50, ratio=False),
        ),
        running=False,
    ),
    "connections": Lone(
        "5,000 idle connections",
        footprint.idle_connections,
        (Target("with_mib", False, 200, ratio=False),),
        running=True,
    ),
    "recovery": Lone(
        "back after kill -9 with 10 GB",
        ten_gigabytes.recovery,
        (Target("recovery_s", False, 3, ratio=False),),
        running=True,
        rounds=1,
    ),
    "disturbance": Lone(
        "another client's p99 while 10 GB are read cold, compacted, deleted",
        ten_gigabytes.disturbance,
        (
            Target("cold_reads_ratio", False, 2, ratio=False),
            Target("compaction_ratio", False, 2, ratio=False),
            Target("retention_ratio", False, 2, ratio=False),
        ),
        running=True,
        rounds=1,
        settings=ten_gigabytes.SOON,
    ),
    "partitions": Lone(
        "10,000 partitions",
        footprint.ten_thousand_partitions,
        (
            Target("restart_s", False, 3, ratio=False),
            Target("after_metadata_mib", False, 300, ratio=False),
            Target("probe_max_ms", False, 50, ratio=False),
        ),
        running=True,
        rounds=1,
    ),
}

TOGETHER: dict[str, Case[Together]] = {
    "cluster-small": Case(
        "m",
        "three brokers: 100 B records, linger 5 ms, acks=all, 6 partitions of 3 replicas",
        replicated.small_records,
        (*_rates(1.5, 0.5), Target("together_mib", False, 0.2)),
    ),
    "cluster-kilobyte": Case(
        "m",
        "the same, 1 KB records",
        replicated.kilobyte_records,
        (*_rates(1.5, 0.5), Target("together_mib", False, 0.2)),
    ),
    "cluster-single": Case(
        "m",
        "the same, one record of 100 B a request",
        replicated.one_record_a_request,
        (Target("records_per_s", True, 5.0), Target("together_mib", False, 0.2)),
    ),
    "cluster-latency": Case(
        "m",
        "three brokers: EndToEndLatency, acks=all, 3 replicas",
        replicated.latency,
        (Target("p99_ms", False, 0.7),),
    ),
}
"""Of three brokers together, everything on all of them."""

LONE_TOGETHER: dict[str, Lone[Together]] = {
    "cluster-up": Lone(
        "three brokers and what keeps their metadata, from nothing: `ottla cluster up`",
        replicated.up,
        (Target("ready_s", False, 3, ratio=False),),
        running=False,
    ),
    "cluster-failover": Lone(
        "three brokers, 3,000 partitions of 3 replicas: one broker is killed",
        replicated.many_partitions_lose_a_broker,
        (Target("elections_s", False, 3, ratio=False),),
        running=True,
        rounds=3,
    ),
}
