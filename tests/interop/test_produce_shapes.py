"""Every shape of a produce request, good and bad, gets from the broker what Kafka answered."""

import re
import time
from typing import Any

from tests.unit.record.test_validate_against_kafka import DIFFERENCES, KEPT
from tools.probes.produce import Broker, ask
from tools.probes.produce_shapes import shapes
from tools.subject import Subject

#: Answered by the log or the handler, and not yet as Kafka does.
ELSEWHERE = {
    "producer 5 epoch -2 sequence 0": "a producer's first epoch may be any",
}


def comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without the time of its run and without what a codec made of the records."""
    outcome = {name: value for name, value in outcome.items() if name != "stored_size"}
    if outcome.get("stored", "as sent") != "as sent":
        outcome["stored"] = "otherwise"
    outcome["record_errors"] = [
        [index, re.sub(r"(Timestamp |timestamp=)\d+", r"\1T", message)]
        for index, message in outcome.get("record_errors", [])
    ]
    return outcome


def test_the_answers_over_the_wire_are_kafkas(broker: Subject) -> None:
    now_ms = int(time.time() * 1000)
    differing = {}
    for number, (name, shape) in enumerate(shapes().items()):
        if name in DIFFERENCES or name in ELSEWHERE:
            continue
        connection = Broker(broker.port)
        try:
            ours = ask(connection, f"probe-{now_ms}-{number}", shape, now_ms)
        finally:
            connection.close()
        theirs = KEPT["outcomes"][name]
        if comparable(ours) != comparable(theirs):
            differing[name] = (ours, theirs)
    assert not differing
