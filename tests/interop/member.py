"""A group member in a process of its own, so that a test can kill it.

Run as a program with one JSON object of options. Prints one JSON object a
line: `assigned` with everything it owns now, `revoked` with what it must give
up, `took` with the positions of records it has read and committed, `error`
with the text of one that ends it. The word `leave` on stdin, or its end,
makes it close and go.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

Options = dict[str, Any]
Partitions = list[list[Any]]


def say(event: str, **fields: Any) -> None:
    """Tell the test."""
    print(json.dumps({"event": event, **fields}), flush=True)


def told_to_leave() -> threading.Event:
    """An event that is set when the test says so."""
    leave = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        leave.set()

    threading.Thread(target=listen, daemon=True).start()
    return leave


class Owned:
    """Says what is owned whenever that changes."""

    def __init__(self, assignment: Callable[[], Iterable[Any]]) -> None:
        self._assignment = assignment
        self._told: Partitions = []
        self.pending = False

    def tell(self) -> None:
        """Say it if an assignment came, or went, since the last time."""
        owned = places(self._assignment())
        if self.pending or owned != self._told:
            self.pending = False
            self._told = owned
            say("assigned", partitions=owned)


def places(partitions: Iterable[Any]) -> Partitions:
    """[topic, partition] of each, sorted."""
    return sorted([place.topic, place.partition] for place in partitions)


def confluent(options: Options, leave: threading.Event) -> None:
    """A member by librdkafka."""
    from confluent_kafka import Consumer, KafkaError, KafkaException

    consumer = Consumer(
        {
            "bootstrap.servers": options["bootstrap"],
            "group.id": options["group"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **(
                {
                    "session.timeout.ms": options["session_timeout_ms"],
                    "heartbeat.interval.ms": options["heartbeat_interval_ms"],
                    "partition.assignment.strategy": options["strategy"],
                }
                if not options["strategy"].startswith("server ")
                else {
                    "group.protocol": "consumer",
                    "group.remote.assignor": options["strategy"].removeprefix("server "),
                }
            ),
            "topic.metadata.refresh.interval.ms": 1000,
            **({"group.instance.id": options["instance"]} if options["instance"] else {}),
        }
    )
    owned = Owned(consumer.assignment)

    def on_assign(_: Any, partitions: Any) -> None:
        owned.pending = True

    def on_revoke(_: Any, partitions: Any) -> None:
        say("revoked", partitions=places(partitions))

    consumer.subscribe(options["topics"], on_assign=on_assign, on_revoke=on_revoke)
    while not leave.is_set():
        message = consumer.poll(0.1)
        owned.tell()
        if message is None:
            continue
        error = message.error()
        if error is None:
            try:
                consumer.commit(message, asynchronous=False)
            except KafkaException as problem:
                say("error", text=str(problem))
                break
            say("took", records=[[message.topic(), message.partition(), message.offset()]])
        elif error.code() == KafkaError._FATAL or error.fatal():
            say("error", text=error.str())
            break
    consumer.close()


def kafka_python(options: Options, leave: threading.Event) -> None:
    """A member by kafka-python."""
    from kafka.coordinator.assignors.cooperative_sticky import (
        CooperativeStickyAssignor,
    )
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import KafkaError

    from kafka import ConsumerRebalanceListener, KafkaConsumer

    strategies = {
        "range": RangePartitionAssignor,
        "cooperative-sticky": CooperativeStickyAssignor,
    }
    consumer = KafkaConsumer(
        bootstrap_servers=options["bootstrap"],
        group_id=options["group"],
        group_instance_id=options["instance"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=options["session_timeout_ms"],
        heartbeat_interval_ms=options["heartbeat_interval_ms"],
        partition_assignment_strategy=[strategies[options["strategy"]]],
        metadata_max_age_ms=1000,
    )
    owned = Owned(consumer.assignment)

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_revoked(self, revoked: Any) -> None:
            say("revoked", partitions=places(revoked))

        def on_partitions_assigned(self, assigned: Any) -> None:
            owned.pending = True

    # As leader without metadata it assigns nothing, and then never completes the next generation.
    for topic in options["topics"]:
        while not consumer.partitions_for_topic(topic):
            pass
    consumer.subscribe(options["topics"], listener=Listener())
    try:
        while not leave.is_set():
            polled = consumer.poll(timeout_ms=100)
            owned.tell()
            if polled:
                consumer.commit()
                say(
                    "took",
                    records=[
                        [record.topic, record.partition, record.offset]
                        for records in polled.values()
                        for record in records
                    ],
                )
    except KafkaError as error:
        say("error", text=repr(error))
    consumer.close()


def aiokafka(options: Options, leave: threading.Event) -> None:
    """A member by aiokafka."""
    asyncio.run(_aiokafka(options, leave))


async def _aiokafka(options: Options, leave: threading.Event) -> None:
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
    from aiokafka.errors import KafkaError

    consumer = AIOKafkaConsumer(
        bootstrap_servers=options["bootstrap"],
        group_id=options["group"],
        group_instance_id=options["instance"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=options["session_timeout_ms"],
        heartbeat_interval_ms=options["heartbeat_interval_ms"],
        metadata_max_age_ms=1000,
    )
    owned = Owned(consumer.assignment)

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_revoked(self, revoked: Any) -> None:
            say("revoked", partitions=places(revoked))

        def on_partitions_assigned(self, assigned: Any) -> None:
            owned.pending = True

    consumer.subscribe(options["topics"], listener=Listener())
    await consumer.start()
    try:
        while not leave.is_set():
            polled = await consumer.getmany(timeout_ms=100)
            owned.tell()
            if polled:
                await consumer.commit()
                say(
                    "took",
                    records=[
                        [record.topic, record.partition, record.offset]
                        for records in polled.values()
                        for record in records
                    ],
                )
    except KafkaError as error:
        say("error", text=repr(error))
    await consumer.stop()


MEMBERS = {"confluent": confluent, "kafka-python": kafka_python, "aiokafka": aiokafka}


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    MEMBERS[chosen["client"]](chosen, told_to_leave())
    say("left")
