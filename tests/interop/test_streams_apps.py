"""Kafka Streams applications, exactly once, with an instance killed and started again."""

from pathlib import Path

import pytest
from tests.interop.conftest import create_topic
from tests.interop.jvms import none_left
from tests.interop.streams_apps import (
    PARTITIONS,
    TOPOLOGIES,
    Output,
    every_count,
    instances,
    send,
)
from tools.subject import Subject, until

pytestmark = pytest.mark.java


@pytest.mark.parametrize(
    ("topology", "protocol"), [("words", "classic"), ("cards", "classic"), ("words", "streams")]
)
def test_a_killed_instance_neither_loses_nor_counts_twice(
    broker: Subject, name: str, tmp_path: Path, topology: str, protocol: str
) -> None:
    """Every count from 1 to the truth is there once, in order: nothing was done twice."""
    made, truth = TOPOLOGIES[topology]
    source, target = f"{name}-in", f"{name}-out"
    create_topic(broker, source, PARTITIONS)
    create_topic(broker, target, PARTITIONS)
    apps = instances(broker, tmp_path, name, topology, protocol)
    killed = apps[0]
    events = made(0, 6_000)
    expected = truth(events)
    output = Output(broker, target)
    with none_left(*apps):
        for app in apps:
            app.start()
        for app in apps:
            app.await_line("RUNNING")
        send(broker, source, events[:4_000])
        until("some of it is counted", lambda: output.read(1_000))
        killed.kill9()
        killed.start()
        send(broker, source, events[4_000:])
        until("all of it is counted", lambda: output.read(expected.total()), seconds=60)
        killed.await_line("RUNNING")
        assert [app.finish() for app in apps] == [0, 0]
    output.close()
    assert Output(broker, target).read_to_ends() == every_count(expected)
