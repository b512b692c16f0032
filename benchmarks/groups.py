"""(h), (j), (k): members until their group is stable; a hundred of them; a thousand groups held."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer

from benchmarks.measure import CREATE_S, Contestant, Figures, a_topic, broker_cpu, without

MEMBERS = 8
GROUPS = 5

HUNDRED = 100
HUNDRED_PARTITIONS = 200
HEARTBEAT_MS = 100
"""Of the hundred: a member hears of a rebalance with its heartbeat, so the rest is the broker's."""

HELD_GROUPS = 1_000
HELD_MEMBERS = 3
HELD_S = 20.0
SPREAD_MS = {"classic": 3_000, "consumer": 5_000}


def eight_members(subject: Contestant, number: int) -> Figures:
    """(h) 8 members subscribe at once, by librdkafka's own settings (heartbeat every 3 s)."""
    return _groups(subject, f"h-{number}", {})


def eight_alert_members(subject: Contestant, number: int) -> Figures:
    """(h) the same with a heartbeat every 100 ms, so that members hear of each other at once."""
    return _groups(subject, f"h1-{number}", {"heartbeat.interval.ms": "100"})


def eight_newer_members(subject: Contestant, number: int) -> Figures:
    """(h) the same with the newer protocol, whose heartbeats the broker paces."""
    return _groups(subject, f"h2-{number}", {"group.protocol": "consumer"})


def _groups(subject: Contestant, topic: str, settings: dict[str, str]) -> Figures:
    """Several groups in a row, since one depends much on who comes first; mean and worst."""
    a_topic(subject, topic, MEMBERS)
    seconds: list[float] = []

    def work() -> Figures:
        for group in range(GROUPS):
            seconds.append(_until_stable(subject, topic, f"{topic}-{group}", settings))
        return {"seconds": sum(seconds) / GROUPS, "worst_s": max(seconds)}

    figures = broker_cpu(subject, work)
    without(subject, topic)
    return figures


def _until_stable(subject: Contestant, topic: str, group: str, settings: dict[str, str]) -> float:
    """Seconds from the first subscription until each of 8 members owns one of 8 partitions."""
    members = [
        Consumer({"bootstrap.servers": subject.bootstrap, "group.id": group, **settings})
        for _ in range(MEMBERS)
    ]
    started = time.perf_counter()
    for member in members:
        member.subscribe([topic])
    while any(len(member.assignment()) != 1 for member in members):
        if time.perf_counter() - started > CREATE_S:
            raise RuntimeError([len(member.assignment()) for member in members])
        for member in members:
            member.poll(0.002)
    seconds = time.perf_counter() - started
    for member in members:
        member.close()
    return seconds


def hundred_members(subject: Contestant, number: int) -> Figures:
    """(j) 100 members start, one more joins, one leaves: each until all of them are stable."""
    return _hundred(subject, f"j-{number}", "classic")


def hundred_newer_members(subject: Contestant, number: int) -> Figures:
    """(j) the same in the newer protocol, with the heartbeats the broker asks for."""
    return _hundred(subject, f"j1-{number}", "consumer")


def _hundred(subject: Contestant, topic: str, protocol: str) -> Figures:
    a_topic(subject, topic, HUNDRED_PARTITIONS)
    options = _options(subject, topic, "rebalance", protocol)
    options |= {
        "groups": 1,
        "members": HUNDRED,
        "partitions": HUNDRED_PARTITIONS,
        "heartbeat_ms": HEARTBEAT_MS,
    }
    figures = broker_cpu(subject, lambda: _with_members(options, lambda: None))
    without(subject, topic)
    return figures


def thousand_groups(subject: Contestant, number: int) -> Figures:
    """(k) 1,000 groups of 3 members that only send heartbeats, every 3 s."""
    return _held(subject, f"k-{number}", "classic")


def thousand_newer_groups(subject: Contestant, number: int) -> Figures:
    """(k) the same in the newer protocol, with heartbeats every 5 s."""
    return _held(subject, f"k1-{number}", "consumer")


def _held(subject: Contestant, topic: str, protocol: str) -> Figures:
    """What of one core the broker takes while nothing but heartbeats comes."""
    a_topic(subject, topic, HELD_MEMBERS)
    options = _options(subject, topic, "hold", protocol)
    options |= {
        "groups": HELD_GROUPS,
        "members": HELD_MEMBERS,
        "partitions": HELD_MEMBERS,
        "spread_ms": SPREAD_MS[protocol],
    }
    taken: list[float] = []

    def hold() -> None:
        before, began = subject.cpu_seconds(), time.perf_counter()
        time.sleep(HELD_S)
        taken.append((subject.cpu_seconds() - before) / (time.perf_counter() - began))

    figures = _with_members(options, hold)
    without(subject, topic)
    return {**figures, "core_percent": 100 * taken[0]}


def _options(subject: Contestant, topic: str, work: str, protocol: str) -> dict[str, Any]:
    return {
        "work": work,
        "protocol": protocol,
        "bootstrap": subject.bootstrap,
        "group": topic,
        "topic": topic,
    }


def _with_members(options: dict[str, Any], held: Callable[[], None]) -> Figures:
    """Run `benchmarks.group_load`; `held` is called once it says that all groups are stable.

    Raises:
        RuntimeError: it failed; the message is what it wrote to stderr.
    """
    with tempfile.TemporaryFile() as errors:
        load = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.group_load", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert load.stdout is not None
        said = load.stdout.readline()
        if said == b"held\n":
            held()
        rest, _ = load.communicate(b"stop\n", timeout=CREATE_S)
        if load.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode())
    figures: Figures = json.loads(rest if said == b"held\n" else said)
    return figures
