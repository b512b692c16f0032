"""Kafka Streams, exactly once, while the broker and the application are killed again and again.

Two instances count (tests/interop/streams_apps.py). At each step more input is there, and somewhere
in the midst of it the broker is killed; at each second step one of the instances before. At the end
a reader of committed records must find each count from 1 to the truth once and in order.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.interop.jvms import none_left
from tests.interop.streams_apps import (
    PARTITIONS,
    TOPOLOGIES,
    Output,
    every_count,
    instances,
    send,
    topics,
)
from tools.subject import Ottla, until

APPLICATIONS = (("words", "classic"), ("words", "streams"), ("cards", "streams"))
"""What counts, and by which protocol of groups."""
STEP = 4_000
"""Lines or payments."""
STALLED_S = 120.0

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.streams.initial.rebalance.delay.ms": "0",
    "group.streams.min.session.timeout.ms": "3000",
    "group.streams.session.timeout.ms": "3000",
    "group.streams.min.heartbeat.interval.ms": "500",
    "group.streams.heartbeat.interval.ms": "500",
}
"""Of the broker: an instance that was killed is missed soon."""

NAME = "counting"
TOPICS = tuple(
    argument
    for both in topics(NAME, *TOPOLOGIES)
    for topic in both
    for argument in ("--topic", f"{topic}:{PARTITIONS}")
)
"""What the broker must be started with."""


class Outcome(NamedTuple):
    """What was done and found."""

    outputs: int
    broker_kills: int
    instance_kills: int
    violations: list[str]


def run(
    subject: Ottla,
    folder: Path,
    topology: str,
    protocol: str,
    kills: int,
    seed: int,
    say: Callable[[str], None],
) -> Outcome:
    """Kill the broker `kills` times; `subject` runs, with SETTINGS and TOPICS."""
    rng = random.Random(seed)
    made, truth = TOPOLOGIES[topology]
    events = made(0, STEP * kills)
    expected = truth(events)
    soon = {"reconnect.backoff.max.ms": "200"}
    apps = instances(subject, folder, NAME, [topology], protocol, soon)
    ((source, target),) = topics(NAME, topology)
    output = Output(subject, target)
    instance_kills = 0
    with none_left(*apps):
        for app in apps:
            app.start()
        for app in apps:
            app.await_line(f"{topology} RUNNING")
        for step in range(kills):
            send(subject, source, events[STEP * step : STEP * (step + 1)])
            wanted = output.count + rng.randrange(1, STEP // 2)
            until("something is counted", lambda count=wanted: output.read(count), STALLED_S)
            if step % 2:
                app = rng.choice(apps)
                app.kill9()
                app.start()
                instance_kills += 1
            subject.kill9()
            subject.start()
            say(f"{topology}, {protocol}: killed {step + 1} times, {output.count} counts read")
        until("all of it is counted", lambda: output.read(expected.total()), STALLED_S)
        for app in apps:
            app.await_line(f"{topology} RUNNING")
        ended = [app.finish() for app in apps]
    output.close()
    found = Output(subject, target).read_to_ends()
    wrong = [
        f"{key}: {len(found.get(key, []))} counts, not each from 1 to {len(counts)} once"
        for key, counts in every_count(expected).items()
        if found.get(key) != counts
    ]
    wrong += [f"an instance ended with {status}" for status in ended if status != 0]
    return Outcome(expected.total(), kills, instance_kills, wrong)
