"""A record every millisecond until told to stop: how long each took, as librdkafka saw it.

`python -m benchmarks.probe BOOTSTRAP TOPIC`: prints `probing` once records
flow, stops at the end of stdin, then prints one JSON object.
"""

import json
import sys
import threading
import time
from typing import Any

from confluent_kafka import Producer

PERIOD_S = 0.001
WARM_UP = 200


def main(bootstrap: str, topic: str) -> None:
    """Probe until stdin says so."""
    latencies: list[float] = []
    failures: list[str] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            failures.append(error.str())
        else:
            latencies.append(message.latency())

    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 0, "batch.num.messages": 1, "acks": "all"}
    )
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    sent = 0
    due = time.perf_counter()
    while not stop.is_set():
        producer.produce(topic, b"probe", partition=0, on_delivery=delivered)
        sent += 1
        if sent == WARM_UP:
            producer.flush(60)
            latencies.clear()
            print("probing", flush=True)
            due = time.perf_counter()
        due += PERIOD_S
        producer.poll(max(0.0, due - time.perf_counter()))
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
    producer.flush(60)
    latencies.sort()
    print(
        json.dumps(
            {
                "probes": len(latencies),
                "probe_failures": len(failures),
                "probe_median_ms": latencies[len(latencies) // 2] * 1000,
                "probe_p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
                "probe_max_ms": latencies[-1] * 1000,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
