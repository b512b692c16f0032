"""Stored stretches of records: newer ones over older ones."""

from collections.abc import Iterable

from ottla.coordinator.share.runs import StateBatch
from ottla.model.ids import Offset


def merged(
    old: Iterable[StateBatch], new: Iterable[StateBatch], start_offset: Offset
) -> tuple[StateBatch, ...]:
    """`old` with `new` over it, in order, from `start_offset` on; equal neighbours become one.

    `new` may overlap itself; the later one counts.
    """
    rows = list(old)
    for batch in new:
        rows = _over(rows, batch)
    rows.sort()
    joined: list[StateBatch] = []
    for row in rows:
        if row.last_offset < start_offset:
            continue
        if row.first_offset < start_offset:
            row = row._replace(first_offset=start_offset)
        last = joined[-1] if joined else None
        if last is not None and last.last_offset + 1 == row.first_offset and last[2:] == row[2:]:
            joined[-1] = last._replace(last_offset=row.last_offset)
        else:
            joined.append(row)
    return tuple(joined)


def _over(rows: list[StateBatch], batch: StateBatch) -> list[StateBatch]:
    """What is left of `rows` beside `batch`, and `batch`."""
    left: list[StateBatch] = []
    for row in rows:
        if row.last_offset < batch.first_offset or row.first_offset > batch.last_offset:
            left.append(row)
            continue
        if row.first_offset < batch.first_offset:
            left.append(row._replace(last_offset=batch.first_offset - 1))
        if row.last_offset > batch.last_offset:
            left.append(row._replace(first_offset=batch.last_offset + 1))
    left.append(batch)
    return left
