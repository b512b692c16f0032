"""(e), (f): Kafka's own measuring tools, in a JVM that the untimed round warms."""

import csv
import re

from tools.kafka import Tools

from benchmarks.measure import Contestant, Figures, Served, a_topic, broker_cpu, without

PARTITIONS = 6
RECORDS = 1_000_000
RECORD_BYTES = 500
LATENCY_RECORDS = 5_000
TOOL_S = 300.0

#: One JVM for all rounds and both sides; unlike that of the tests it may optimise all it can.
TOOLS = Tools(heap="-Xmx1g")


def producer_performance(subject: Contestant, number: int) -> Figures:
    """(e) ProducerPerformance, idempotent as by default (acks=all). The records stay."""
    topic = a_topic(subject, f"e-{number}", PARTITIONS)

    def work() -> Figures:
        said = TOOLS.check(
            "org.apache.kafka.tools.ProducerPerformance",
            *("--bootstrap-server", subject.bootstrap),
            *("--topic", topic),
            *("--num-records", str(RECORDS)),
            *("--record-size", str(RECORD_BYTES)),
            *("--throughput", "-1"),
            seconds=TOOL_S,
        )
        last = said.strip().splitlines()[-1]
        found = re.match(r"(\d+) records sent, ([\d.]+) records/sec", last)
        if found is None or int(found[1]) != RECORDS:
            raise RuntimeError(said)
        return {"records": RECORDS, "records_per_s": float(found[2])}

    return broker_cpu(subject, work)


def consumer_performance(subject: Contestant, number: int) -> Figures:
    """(e) ConsumerPerformance of what ProducerPerformance wrote in the same round."""
    topic = f"e-{number}"

    def work() -> Figures:
        said = TOOLS.check(
            "org.apache.kafka.tools.ConsumerPerformance",
            *("--bootstrap-server", subject.bootstrap),
            *("--topic", topic),
            *("--group", f"performance-{number}"),
            *("--num-records", str(RECORDS)),
            seconds=TOOL_S,
        )
        header, *_, row = csv.reader(said.strip().splitlines(), skipinitialspace=True)
        figures = dict(zip(header, row, strict=True))
        if int(figures["data.consumed.in.nMsg"]) < RECORDS:
            raise RuntimeError(said)
        return {
            "records": RECORDS,
            "records_per_s": float(figures["fetch.nMsg.sec"]),
            "rebalance_ms": float(figures["rebalance.time.ms"]),
        }

    figures = broker_cpu(subject, work)
    without(subject, topic)
    return figures


def end_to_end_latency(subject: Contestant, number: int) -> Figures:
    """(f) EndToEndLatency, acks=all, 100 B: one record at a time, there and back."""
    return latency(subject, f"f-{number}", 1)


def latency(subject: Served, topic: str, replicas: int) -> Figures:
    """EndToEndLatency on a topic of one partition, made for it."""
    a_topic(subject, topic, 1, replicas=replicas)

    def work() -> Figures:
        said = TOOLS.check(
            "org.apache.kafka.tools.EndToEndLatency",
            *(subject.bootstrap, topic, str(LATENCY_RECORDS), "all", "100"),
            seconds=TOOL_S,
        )
        mean = re.search(r"Avg latency: ([\d.]+) ms", said)
        centiles = re.search(r"50th = (\d+), 99th = (\d+), 99.9th = (\d+)", said)
        if mean is None or centiles is None:
            raise RuntimeError(said)
        return {
            "mean_ms": float(mean[1]),
            "p50_ms": float(centiles[1]),
            "p99_ms": float(centiles[2]),
        }

    figures = broker_cpu(subject, work)
    without(subject, topic)
    return figures
