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
    topics,
)
from tools.subject import Subject, until

pytestmark = pytest.mark.java

NOT_COMMITTED = {
    "cards/commit.interval.ms": "30000",
    "cards/producer.transaction.timeout.ms": "60000",
}
"""Whoever runs with these counts payments in one transaction, which outlasts what the test needs."""


@pytest.mark.parametrize("protocol", ["classic", "streams"])
def test_a_killed_instance_neither_loses_nor_counts_twice(
    broker: Subject, name: str, tmp_path: Path, protocol: str
) -> None:
    """Every count from 1 to the truth is there once, in order: nothing was done twice.

    When the one instance dies, its payments of the first half are all counted and written, and none
    of that is committed: whoever does it again without taking it back counts them twice.
    """
    (words_in, words_out), (cards_in, cards_out) = topics(name, *TOPOLOGIES)
    for topic in (words_in, words_out, cards_in, cards_out):
        create_topic(broker, topic, PARTITIONS)
    events, expected = {}, {}
    for (topology, (made, truth)), count in zip(TOPOLOGIES.items(), (6_000, 4_000), strict=True):
        events[topology] = made(0, count)
        expected[topology] = truth(events[topology])
    words, payments = events["words"], events["cards"]
    output = {"words": Output(broker, words_out), "cards": Output(broker, cards_out)}
    written = Output(broker, cards_out, "read_uncommitted")
    doomed, _ = instances(broker, tmp_path, name, list(TOPOLOGIES), protocol, NOT_COMMITTED)
    again, survivor = instances(broker, tmp_path, name, list(TOPOLOGIES), protocol)
    with none_left(doomed, again, survivor):
        doomed.start()
        survivor.start()
        for app in (doomed, survivor):
            app.await_line("words has 2")
            app.await_line("cards has 1")
        send(broker, words_in, words[:3_000])
        send(broker, cards_in, payments[:2_000])
        until("some words are counted", lambda: output["words"].read(1_000))
        until("the payments are counted", lambda: written.read(2_000))
        doomed.kill9()
        again.start()
        send(broker, words_in, words[3_000:])
        send(broker, cards_in, payments[2_000:])
        for topology, read in output.items():
            total = expected[topology].total()
            until(f"all {topology} are counted", lambda r=read, t=total: r.read(t), seconds=60)
        for topology in TOPOLOGIES:
            again.await_line(f"{topology} RUNNING")
        assert [app.finish() for app in (again, survivor)] == [0, 0]
    for each in (written, *output.values()):
        each.close()
    for topic, topology in ((cards_out, "cards"), (words_out, "words")):
        assert Output(broker, topic).read_to_ends() == every_count(expected[topology]), topology
    written = Output(broker, cards_out, "read_uncommitted")
    written.read_to_ends()
    assert written.count > expected["cards"].total(), "nothing had to be taken back"
