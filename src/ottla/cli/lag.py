"""How far behind a group is in time, and how fast records come in.

A count of records says little: ten may be a second or a week. What tells is the
age of the oldest record that was not read, and the rate at which more are written.
"""

from collections.abc import Mapping

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer
from ottla.client.offsets import list_offsets
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import Offset, TopicPartition
from ottla.model.isolation import ListOffsetsTimestamp

RATE_WINDOW_S = 60
PEEK_BYTES = 64 * 1024
"""Of a partition at once: it is only the first record that matters."""

PEEK_PATIENCE_MS = 2_000
MARKERS_PASSED_OVER = 20
"""Fetches that may bring control batches alone."""

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


async def lag_times(
    view: ClusterView, positions: Mapping[TopicPartition, Offset], now_ms: int
) -> dict[TopicPartition, float]:
    """The age in seconds of the first record at or after each position.

    A partition is left out where that cannot be read, or has no time.
    """
    ages: dict[TopicPartition, float] = {}
    if not positions:
        return ages
    async with Consumer(
        view, reset=int(ListOffsetsTimestamp.EARLIEST), partition_max_bytes=PEEK_BYTES
    ) as consumer:
        consumer.assign(positions)
        try:
            for _ in range(len(positions) + MARKERS_PASSED_OVER):
                fetched = await consumer.poll(PEEK_PATIENCE_MS) if consumer.positions() else []
                if not fetched:
                    break
                for batch in fetched:
                    if batch.records and batch.partition in consumer.positions():
                        consumer.drop([batch.partition])
                        if batch.records[0].timestamp >= 0:
                            age_ms = max(0, now_ms - batch.records[0].timestamp)
                            ages[batch.partition] = age_ms / 1000
        except (ApiError, PeerError):
            pass  # who may describe a group may perhaps not read its topics
    return ages


async def write_rates(
    view: ClusterView, ends: Mapping[TopicPartition, Offset], now_ms: int
) -> dict[TopicPartition, float]:
    """Records a second written to each partition, going by their times in the last minute."""
    since = now_ms - RATE_WINDOW_S * 1000
    found = await list_offsets(view, dict.fromkeys(ends, since))
    return {
        partition: (max(0, end - found[partition].offset) if found[partition].offset >= 0 else 0)
        / RATE_WINDOW_S
        for partition, end in ends.items()
    }


def age_text(seconds: float) -> str:
    """`0s`, `0.4s`, `12s`, `3m12s`, `2h5m`, `3d4h`: the two largest units."""
    if 0 < seconds < 10:
        return f"{seconds:.1f}s"
    if seconds == 0:
        return "0s"
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts)
