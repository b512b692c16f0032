"""Batches made by others: by Kafka's own classes, and by clients through a real Kafka.

`python -m tools.probes.record_goldens [--port N]` rewrites
`tests/goldens/record/batches.json`, a name and the hexadecimal bytes of a batch
each. Every batch holds the records `FEW` or `MANY`; the latter only compressed.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

from confluent_kafka import Producer
from tools.kafka.jars import java
from tools.probes.produce import Broker, create, kafka, stored

from ottla.record.records import Record

GOLDEN = Path(__file__).parents[2] / "tests/goldens/record/batches.json"
START_MS = 1_700_000_000_000

FEW = [
    Record(0, START_MS, b"key", b"value", (("a", b"1"), ("ä", None), ("", b""))),
    Record(1, START_MS + 5, None, b"no key"),
    Record(2, START_MS - 10, b"no value", None),
    Record(3, START_MS + 100_000, b"", b""),
]
MANY = [
    Record(i, START_MS + 37 * i, b"key%d" % i, bytes([ord("a") + i % 26]) * 500) for i in range(400)
]


def by_java() -> dict[str, str]:
    source = Path(__file__).with_name("RecordGoldens.java")
    done = subprocess.run(java(str(source)), capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads("{" + done.stdout.rstrip().rstrip(",") + "}")
    return found


def by_librdkafka(port: int) -> dict[str, str]:
    found = {}
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        for name, records in (("few", FEW), ("many", MANY)):
            topic = f"librdkafka-{codec}-{name}-{time.time_ns()}"
            broker = Broker(port)
            create(broker, topic, {})
            producer = Producer(
                {
                    "bootstrap.servers": f"127.0.0.1:{port}",
                    "compression.type": codec,
                    "linger.ms": 500,
                    "enable.idempotence": name == "many",
                }
            )
            for record in records:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition=0,
                    timestamp=record.timestamp,
                    headers=list(record.headers),
                )
            producer.flush(10)
            found[f"librdkafka {codec} {name}"] = stored(broker, topic).hex()
            broker.close()
    return found


def by_aiokafka() -> dict[str, str]:
    from aiokafka.record.default_records import DefaultRecordBatchBuilder

    found = {}
    for number, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        for name, records in (("few", FEW), ("many", MANY)):
            builder = DefaultRecordBatchBuilder(2, number, False, -1, -1, -1, 10_000_000)
            for record in records:
                builder.append(
                    record.offset, record.timestamp, record.key, record.value, list(record.headers)
                )
            found[f"aiokafka {codec} {name}"] = bytes(builder.build()).hex()
    return found


def by_kafka_python() -> dict[str, str]:
    from kafka.record.default_records import DefaultRecordBatchBuilder

    found = {}
    for number, codec in enumerate(("none", "gzip", "snappy", "lz4")):
        for name, records in (("few", FEW), ("many", MANY)):
            builder = DefaultRecordBatchBuilder(2, number, False, -1, -1, -1, 10_000_000)
            for record in records:
                builder.append(
                    record.offset, record.timestamp, record.key, record.value, list(record.headers)
                )
            found[f"kafka-python {codec} {name}"] = bytes(builder.build()).hex()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of a Kafka that runs already")
    found = by_java() | by_aiokafka() | by_kafka_python()
    with kafka(parser.parse_args().port) as port:
        found |= by_librdkafka(port)
    found = {name: batch for name, batch in found.items() if "none many" not in name}
    GOLDEN.write_text(json.dumps(found, indent=0) + "\n")
    print(f"{len(found)} batches written to {GOLDEN}")


if __name__ == "__main__":
    main()
