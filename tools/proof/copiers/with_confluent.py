"""`python -m tools.proof.copiers.with_confluent`: copy with librdkafka until killed.

An error that asks for it aborts the transaction and goes back to what is committed; a fatal one,
such as being fenced, ends the program, and whoever started it starts another.
"""

import sys
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from tools.proof.copiers.arguments import Job, job_from_command_line

TIMEOUT_S = 30.0
SESSION_MS = 1_500


def opened(job: Job) -> tuple[Consumer, Producer]:
    """A consumer of the source, and a producer that has fenced the one before."""
    settings: dict[str, Any] = {
        "bootstrap.servers": job.bootstrap,
        "reconnect.backoff.ms": 10,
        "reconnect.backoff.max.ms": 100,
        # Without, 2.16 may wait for a coordinator it has forgotten until the call's time is up.
        "metadata.recovery.strategy": "none",
        "log_level": 0,
    }
    in_group: dict[str, Any] = {"group.protocol": job.protocol}
    if job.protocol == "classic":
        in_group |= {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 300}
    producer = Producer(
        {
            **settings,
            "transactional.id": job.transactional_id,
            "transaction.timeout.ms": job.transaction_timeout_ms,
            "message.timeout.ms": job.transaction_timeout_ms,
        }
    )
    producer.init_transactions(TIMEOUT_S)
    consumer = Consumer(
        {
            **settings,
            **in_group,
            "group.id": job.group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
        }
    )
    if job.partition >= 0:
        consumer.assign([TopicPartition(job.source, job.partition)])
    else:
        consumer.subscribe([job.source])
    return consumer, producer


def rewind(consumer: Consumer) -> None:
    """Go back to what is committed."""
    for place in consumer.committed(consumer.assignment(), TIMEOUT_S):
        place.offset = max(place.offset, 0)
        consumer.seek(place)


def copy(job: Job, consumer: Consumer, producer: Producer, messages: list[Message]) -> None:
    """Send the records and where they end; not yet the end of the transaction."""
    ends: dict[int, int] = {}
    for message in messages:
        stored: Any = message
        while True:
            try:
                producer.produce(
                    job.target, stored.value(), stored.key(), partition=stored.partition()
                )
                break
            except BufferError:
                producer.poll(0.01)
        ends[stored.partition()] = stored.offset() + 1
    places = [TopicPartition(job.source, number, end) for number, end in ends.items()]
    member = consumer.consumer_group_metadata()
    persistently(producer.send_offsets_to_transaction, places, member, TIMEOUT_S)


def end(producer: Producer, commit: bool) -> None:
    """Commit or abort."""
    persistently(producer.commit_transaction if commit else producer.abort_transaction, TIMEOUT_S)


def persistently(call: Callable[..., None], *arguments: Any) -> None:
    """Call it for as long as the client says that trying again helps."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as problem:
            if not problem.args[0].retriable():
                raise


def run(job: Job) -> None:
    """Copy until killed.

    Raises:
        KafkaException: it cannot go on.
    """
    consumer, producer = opened(job)
    number = 0
    while True:
        came = consumer.consume(job.transaction_size, 0.2)
        messages = [message for message in came if message.error() is None]
        if not messages:
            continue
        number += 1
        aborts = job.abort_every > 0 and number % job.abort_every == 0
        producer.begin_transaction()
        try:
            copy(job, consumer, producer, messages)
            if aborts:
                producer.flush(TIMEOUT_S)  # what was not sent yet would not be aborted
            end(producer, commit=not aborts)
        except KafkaException as problem:
            if not problem.args[0].txn_requires_abort():
                raise
            print(problem, file=sys.stderr, flush=True)
            end(producer, commit=False)
            aborts = True
        where = {
            place.partition: place.offset for place in consumer.position(consumer.assignment())
        }
        print(
            f"transaction {number}: {'aborted' if aborts else 'committed'} at {where}", flush=True
        )
        if aborts:
            rewind(consumer)


if __name__ == "__main__":
    run(job_from_command_line())
