"""Start, memory, idle connections, ten thousand partitions: a process of their own each."""

import resource
import socket
import subprocess
import sys
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tools.subject import answers
from tools.subject.process import API_VERSIONS

from benchmarks import throughput
from benchmarks.measure import CREATE_S, Contestant, Figures, probe_during

CONNECTIONS = 5_000
TOPICS = 100
PARTITIONS_EACH = 100
METADATA_REQUESTS = 20
MIB = 1 << 20


def start(subject: Contestant) -> Figures:
    """From the start of the process to the first answered request; then memory, idle."""
    subject.prepare()
    started = time.perf_counter()
    subject.launch()
    while not answers(subject.port):
        if not subject.running() or time.perf_counter() - started > CREATE_S:
            raise RuntimeError(subject.log_tail())
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    return {"start_s": seconds, "idle_mib": subject.memory_bytes() / MIB}


def after_load(subject: Contestant) -> Figures:
    """Memory of a broker that has taken and given a few million records."""
    for work in (
        throughput.small_records,
        throughput.kilobyte_records,
        throughput.consume,
        throughput.one_record_a_request,
    ):
        work(subject, 0)
    return {"after_load_mib": subject.memory_bytes() / MIB}


def idle_connections(subject: Contestant) -> Figures:
    """Memory with 5,000 connections that have said who they are, and nothing else."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections: list[socket.socket] = []
    before = subject.memory_bytes() / MIB
    try:
        for _ in range(CONNECTIONS):
            connections.append(socket.create_connection(("127.0.0.1", subject.port), timeout=30))
            connections[-1].sendall(API_VERSIONS)
            if not connections[-1].recv(1 << 16):
                raise RuntimeError(f"connection {len(connections)} was closed")
        return {
            "connections": len(connections),
            "before_mib": before,
            "with_mib": subject.memory_bytes() / MIB,
        }
    finally:
        for connection in connections:
            connection.close()


def ten_thousand_partitions(subject: Contestant) -> Figures:
    """10,000 partitions with a record each: clean restart, memory, probes during metadata."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    started = time.perf_counter()
    for first in range(0, TOPICS, 10):
        topics = [NewTopic(f"many-{n}", PARTITIONS_EACH, 1) for n in range(first, first + 10)]
        for created in admin.create_topics(topics).values():
            created.result(CREATE_S)
    create_s = time.perf_counter() - started
    _one_record_in_each(subject)
    written_mib = subject.memory_bytes() / MIB
    started = time.perf_counter()
    subject.stop()
    stop_s = time.perf_counter() - started
    restarted = start(subject)
    AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2}).list_topics(
        timeout=CREATE_S
    )
    probes = _probes_during_metadata(subject)
    return {
        "create_s": create_s,
        "written_mib": written_mib,
        "stop_s": stop_s,
        "restart_s": restarted["start_s"],
        "restarted_mib": restarted["idle_mib"],
        "after_metadata_mib": subject.memory_bytes() / MIB,
        **probes,
    }


def _one_record_in_each(subject: Contestant) -> None:
    producer = Producer({"bootstrap.servers": subject.bootstrap, "linger.ms": 50})
    for topic in range(TOPICS):
        for partition in range(PARTITIONS_EACH):
            producer.produce(f"many-{topic}", b"one", partition=partition)
        producer.poll(0)
    if producer.flush(CREATE_S):
        raise RuntimeError("not every partition took its record")


def _probes_during_metadata(subject: Contestant) -> Figures:
    """Ask for all metadata 20 times while another process produces a record every 1 ms."""
    seconds = []

    def ask() -> None:
        command = [sys.executable, "-c", _ASK, subject.bootstrap, str(METADATA_REQUESTS)]
        asked = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(float(asked.stdout))

    figures = probe_during(subject.bootstrap, "many-0", ask)
    return {**figures, "metadata_s": seconds[0]}


_ASK = """
import sys, time
from confluent_kafka.admin import AdminClient
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
started = time.perf_counter()
for _ in range(int(sys.argv[2])):
    topics = admin.list_topics(timeout=60).topics
    assert sum(len(topic.partitions) for topic in topics.values()) >= 10_000
print(time.perf_counter() - started)
"""
