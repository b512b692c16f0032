"""The load as a process of its own: `python -m benchmarks.load KIND OPTIONS`.

OPTIONS is one JSON object, and so is what it prints: how many records, how
many seconds from the first to the last, and what of CPU the client took.
"""

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Producer

from benchmarks import closed_loop, transaction_loop
from benchmarks.librdkafka import BulkConsumer, BulkProducer

DEADLINE_S = 120.0

Options = dict[str, Any]


def produce(options: Options) -> int:
    """Send `records` of `size` bytes to `topic`, and wait for every acknowledgement.

    By as many `producers` as are asked for, each in a thread: librdkafka's calls let go of the
    interpreter, so they run beside each other.
    """
    count = int(options.get("producers", 1))
    share = options["records"] // count
    value = os.urandom(options["size"] // 2).hex().encode()
    producers = [BulkProducer(options["settings"], options["topic"]) for _ in range(count)]
    for producer in producers:
        # The first record finds the topic and its leaders; that is not part of the load.
        producer.send(1, b"first", batch=1)
        producer.flush(DEADLINE_S)

    def send(producer: BulkProducer) -> None:
        keyed = bool(options.get("keyed"))
        producer.send(share, value, options["partitions"], keyed=keyed)
        producer.flush(DEADLINE_S)

    with ThreadPoolExecutor(count) as threads:
        clock.start()
        for done in [threads.submit(send, producer) for producer in producers]:
            done.result()
        clock.stop()
    for producer in producers:
        producer.close()
    return share * count


def consume(options: Options) -> int:
    """Read `records` records of `topic` from its beginning.

    librdkafka waits for half a second before it asks for the offset to begin at, whatever the
    broker does: the clock starts with the first records, and counts those behind them.
    """
    consumer = BulkConsumer(options["settings"], options["topic"], options["partitions"])
    clock.start()
    consumer.start()
    first = 0
    while first <= options["partitions"]:  # each has an event or so that is no record
        first += consumer.count()
        if clock.so_far() > DEADLINE_S:
            raise RuntimeError("no records came")
    clock.start()
    seen = first
    while seen < options["records"]:
        came = consumer.count()
        if not came and clock.so_far() > DEADLINE_S:
            raise RuntimeError(f"{seen} of {options['records']} records came")
        seen += came
    clock.stop()
    consumer.close()
    return seen - first


def closed(options: Options) -> int:
    """Producers that wait for each answer, for `seconds`: see `closed_loop`."""
    acknowledged, seconds = asyncio.run(closed_loop.run(options))
    clock.seconds = seconds
    return acknowledged


def committing(options: Options) -> int:
    """Transactional producers without a library, for `seconds`: see `transaction_loop`."""
    committed, seconds = asyncio.run(transaction_loop.run(options))
    clock.seconds = seconds
    return committed


def transactions(options: Options) -> int:
    """Producers that begin, send `records` and commit, again and again for `seconds`."""
    value = os.urandom(options["size"] // 2).hex().encode()
    topic, records = options["topic"], range(options["records"])
    producers = []
    for number in range(options["producers"]):
        identity = f"{topic}-{number}"
        producers.append(
            Producer({"bootstrap.servers": options["bootstrap"], "transactional.id": identity})
        )

    def transaction(producer: Producer) -> None:
        producer.begin_transaction()
        for _ in records:
            producer.produce(topic, value)
        producer.commit_transaction(DEADLINE_S)

    for producer in producers:
        # The first finds coordinator, leaders and its producer id.
        producer.init_transactions(DEADLINE_S)
        transaction(producer)
    until = time.perf_counter() + options["seconds"]

    def run(producer: Producer) -> int:
        count = 0
        while time.perf_counter() < until:
            transaction(producer)
            count += 1
        return count

    with ThreadPoolExecutor(len(producers)) as threads:
        clock.start()
        count = sum(threads.map(run, producers))
        clock.stop()
    return count


class Clock:
    """Wall and CPU time between start and stop."""

    seconds = 0.0
    cpu_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def so_far(self) -> float:
        """Seconds since `start`."""
        return time.perf_counter() - self._wall

    def stop(self) -> None:
        """End."""
        self.seconds, self.cpu_s = self.so_far(), time.process_time() - self._cpu


clock = Clock()


if __name__ == "__main__":
    kinds = {
        "produce": produce,
        "consume": consume,
        "closed": closed,
        "committing": committing,
        "transactions": transactions,
    }
    count = kinds[sys.argv[1]](json.loads(sys.argv[2]))
    print(
        json.dumps({"records": count, "seconds": clock.seconds, "client_cpu_s": clock.cpu_s}),
        flush=True,
    )
