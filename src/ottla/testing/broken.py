"""Brokers that are wrong on purpose, to prove that a checker sees it.

Reachable only by tests: `ottla serve` breaks itself when `OTTLA_BREAK` names
one of these, and says so. Each takes the assembled broker before it listens.
"""

import logging
from collections.abc import Callable

from ottla.broker.broker import Broker
from ottla.record.batch import BatchHeader
from ottla.record.checksum import Buffer
from ottla.record.validate import ProducedBatch
from ottla.replica.partition import Partition
from ottla.storage.log import AppendResult

log = logging.getLogger("ottla.broken")


def ack_before_write(broker: Broker) -> None:
    """Acknowledge a batch, and write it one turn of the loop later."""
    real_append = Partition.append
    ends: dict[Partition, int] = {}

    def append(
        self: Partition, batch: Buffer, produced: BatchHeader | ProducedBatch, now_ms: int
    ) -> AppendResult:
        base_offset = ends.get(self, self.log.log_end_offset)
        ends[self] = self.high_watermark = base_offset + produced.last_offset_delta + 1
        copy = memoryview(bytearray(batch))
        broker.views.soon(lambda: real_append(self, copy, produced, now_ms))
        return AppendResult(base_offset, ends[self] - 1, -1, self.log.log_start_offset)

    Partition.append = append  # type: ignore[method-assign]


BROKEN: dict[str, Callable[[Broker], None]] = {"ack_before_write": ack_before_write}


def breaker(name: str) -> Callable[[Broker], None]:
    """Raise ValueError unless `name` is one of `BROKEN`."""
    if name not in BROKEN:
        raise ValueError(f"OTTLA_BREAK={name}: there is only {', '.join(BROKEN)}")
    log.warning("this broker is broken on purpose: %s", name)
    return BROKEN[name]
