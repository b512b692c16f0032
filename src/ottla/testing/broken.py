"""Brokers that are wrong on purpose, to prove that a checker sees it.

Reachable only by tests: `broken(name)` for as long as its block lasts, and `ottla
serve` for good when `OTTLA_BREAK` names one of these; it says so. Each replaces
some of the broker's methods; the product knows nothing of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ottla.broker.broker import Broker
from ottla.model.errors import ApiError, StorageError
from ottla.model.isolation import IsolationLevel
from ottla.record import validate
from ottla.record.batch import BatchHeader
from ottla.record.checksum import Buffer
from ottla.record.validate import ProducedBatch
from ottla.replica.partition import Partition
from ottla.storage.log import AppendResult, Log
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.producer_state import ProducerStates
from ottla.storage.recovery import batches, opening
from ottla.storage.segment import Segment
from ottla.testing import broken_groups, broken_replication, broken_shares, broken_transactions
from ottla.testing.broken_transactions import Patch
from ottla.testing.dying import DYING

log = logging.getLogger("ottla.broken")


def ack_before_write(patch: Patch) -> None:
    """Acknowledge a batch, and write it one turn of the loop later."""
    real_append = Partition.append
    ends: dict[Partition, int] = {}

    def write(self: Partition, batch: Buffer, produced: Any, now_ms: int) -> None:
        try:
            real_append(self, batch, produced, now_ms)
        except (ApiError, StorageError):
            ends.pop(self, None)

    def append(
        self: Partition, batch: Buffer, produced: BatchHeader | ProducedBatch, now_ms: int
    ) -> AppendResult:
        base_offset = ends.get(self, self.log.log_end_offset)
        ends[self] = self.high_watermark = base_offset + produced.last_offset_delta + 1
        copy = memoryview(bytearray(batch))
        asyncio.get_running_loop().call_soon(write, self, copy, produced, now_ms)
        return AppendResult(base_offset, ends[self] - 1, -1, self.log.log_start_offset)

    patch(Partition, "append", append)


class _AnyNumber(int):
    """Differs from no checksum."""

    def __ne__(self, other: object) -> bool:
        return False


def skip_crc(patch: Patch) -> None:
    """Take every batch of a client for whole."""
    patch(validate, "crc32c", lambda data: _AnyNumber())


def recover_without_crc(patch: Patch) -> None:
    """Take every batch on the disk for whole when a log is recovered."""
    patch(batches, "verify_crc", lambda *arguments: True)


def skip_sequence_check(patch: Patch) -> None:
    """Append what idempotent producers send, whatever they sent before."""
    patch(ProducerStates, "check", lambda self, *arguments: None)


def serve_above_high_watermark(patch: Patch) -> None:
    """Let everything appended be read, flushed or not."""

    def readable_end(self: Partition, isolation: IsolationLevel) -> int:
        return self.log.log_end_offset

    patch(Partition, "readable_end", readable_end)


def forget_to_rebuild_index(patch: Patch) -> None:
    """Trust every offset index after a crash."""
    real_load, real_verify = OffsetIndex.load, batches.verify

    def load(self: OffsetIndex) -> bool:
        real_load(self)
        return True

    def verify(segment: Segment, *arguments: Any, **options: Any) -> tuple[int, str | None]:
        index = segment.offset_index
        offsets, positions, written = index._offsets, index._positions, index._written
        result = real_verify(segment, *arguments, **options)
        index._offsets, index._positions, index._written = offsets, positions, written
        return result

    patch(OffsetIndex, "load", load)
    patch(OffsetIndex, "fits", lambda self, size: True)
    patch(opening, "verify", verify)


def ack_duplicate_before_flush(patch: Patch) -> None:
    """Answer a batch that was sent again at once, though its original is not flushed yet."""
    real_append = Log.append

    def append(self: Log, *arguments: Any, **options: Any) -> AppendResult:
        result = real_append(self, *arguments, **options)
        return result._replace(last_offset=-1) if result.duplicate else result

    patch(Log, "append", append)


def keep_waits_across_epochs(patch: Patch) -> None:
    """Let who waits in one leader epoch be answered in the next."""
    patch(Partition, "_fail_waits", lambda self: None)


def name_no_aborted_transactions(patch: Patch) -> None:
    """Let who reads committed records take those of aborted transactions for committed."""
    patch(Log, "aborted_transactions", lambda self, start, end: [])


BROKEN: dict[str, Callable[[Patch], None]] = {
    switch.__name__: switch
    for switch in (
        ack_before_write,
        skip_crc,
        recover_without_crc,
        skip_sequence_check,
        serve_above_high_watermark,
        forget_to_rebuild_index,
        ack_duplicate_before_flush,
        keep_waits_across_epochs,
        name_no_aborted_transactions,
        *broken_transactions.SWITCHES,
        *broken_groups.SWITCHES,
        *broken_shares.SWITCHES,
        *broken_replication.SWITCHES,
    )
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Every broker of this process is wrong in this way until the block ends."""
    before: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, attribute: str, value: Any) -> None:
        before.append((owner, attribute, owner.__dict__[attribute]))
        setattr(owner, attribute, value)

    BROKEN[name](patch)
    try:
        yield
    finally:
        for owner, attribute, value in reversed(before):
            setattr(owner, attribute, value)


def breaker(name: str) -> Callable[[Broker], None]:
    """Break the assembled broker of this process for good, before it listens.

    Raises:
        ValueError: `name` is none of `BROKEN` and `DYING`.
    """
    switches = BROKEN | DYING
    if name not in switches:
        raise ValueError(f"OTTLA_BREAK={name}: there is only {', '.join(switches)}")
    log.warning("this broker is broken on purpose: %s", name)
    return lambda broker: switches[name](setattr)
