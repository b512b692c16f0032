"""Apply a whole log to a shard, a slice at a time."""

import logging
from collections.abc import Iterator
from typing import Any

from ottla.coordinator.outcome import Buffer, LogPort, Shard
from ottla.model.errors import ProtocolError
from ottla.model.ids import NO_PRODUCER_ID, Offset
from ottla.record.batch import BatchHeader, batches
from ottla.record.control import read_end_txn_marker
from ottla.record.records import decode_records, records_of

log = logging.getLogger(__name__)

READ_BYTES = 1 << 18
"""Read from the log at once."""

RECORDS_PER_SLICE = 200
"""Applied between two yields, so that the loop is not held over a few ms."""


def replay(shard: Shard[Any], port: LogPort, name: str) -> Iterator[Offset]:
    """Apply the log from its start; yield, after each slice and at last, up to where it was applied.

    Records that cannot be decoded are logged and passed over, as are types
    that the shard does not know. `name` is the partition's, for the log.

    Raises:
        ApiError: a batch is not whole; the log cannot be loaded.
    """
    position = port.log_start_offset
    since_yield = 0
    while True:
        # A copy: slices of it outlive this turn of the loop.
        buffer = bytes(port.read(position, READ_BYTES))
        start = position
        for header in batches(buffer):
            if header.last_offset < start:
                continue
            for _ in _replay_batch(shard, buffer, header, start, name):
                since_yield += 1
                if since_yield == RECORDS_PER_SLICE:
                    since_yield = 0
                    yield position
            position = header.next_offset
        if position == start:
            return
        yield position


def _replay_batch(
    shard: Shard[Any], buffer: Buffer, header: BatchHeader, start: Offset, name: str
) -> Iterator[None]:
    """Apply the records of one batch from `start` on; yield for each."""
    producer_id = header.producer_id if header.is_transactional else NO_PRODUCER_ID
    for record in decode_records(records_of(buffer, header), header):
        yield
        if record.offset < start:
            continue
        if header.is_control:
            marker = read_end_txn_marker(record)
            if marker is not None:
                shard.apply_marker(header.producer_id, marker.committed)
            continue
        if record.key is None:
            continue
        try:
            decoded = shard.decode(record.key, record.value)
        except ProtocolError as error:
            log.error("%s: the record at offset %d is passed over: %s", name, record.offset, error)
            continue
        if decoded is not None:
            shard.apply(decoded, record.offset, producer_id)
