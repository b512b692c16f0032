"""`ottla consume`: topics to standard output."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from ottla.cli.connect import Failure, brokers_option, run
from ottla.cli.offset_range import END, Anchor, Bound, OffsetRange, parse_range, resolve
from ottla.cli.output import echo_bytes
from ottla.cli.record_format import Shown, compile_format
from ottla.cli.record_json import record_json
from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer, FetchedBatch
from ottla.client.offsets import bounds, list_offsets, partitions_of
from ottla.model.ids import Offset, TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.record.records import Record

Print = Callable[[FetchedBatch, Record, int], bytes]
POLL_MS = 1_000


@click.command(
    epilog="""\b
Examples:
  ottla consume rides                        all there is, then what comes
  ottla consume rides -o start:end           all there is, then stop
  ottla consume rides -o -10:end             the last 10 of each partition
  ottla consume rides -o @-1h -n 100         100 records from an hour ago on
  ottla consume rides -g billing             as a member of a group
  ottla consume rides -f '%p/%o %k %v\\n'

\b
Offsets (-o):
  start end     the ends of the log         42     from offset 42 on
  +10 -10       10 after its start, 10 before its end
  FROM:TO       stop before TO; :end, 10:20, -10:end
  @TIME @T:T    by time: @-1h, @-1h:-10m, @2026-05-01:end, @1767225600000

\b
Format (-f), `json` unless given:
  %t topic  %k key  %v value  %p partition  %o offset  %d timestamp  %i how many so far
  %T %K %V  sizes  %H how many headers  %h{%k=%v }  each header
  %e leader epoch  %a{compression}  %x %y producer id and epoch
  %[ %| %]  log start, last stable offset, high watermark   %%  percent sign
  {hex} {base64} {json} {unpack[>I]} after a text; {hex32} {big32} {little64} after a number;
  %d{iso} %d{strftime[%F %T]}; \\t \\n \\r \\\\ \\xNN
"""
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...")
@brokers_option
@click.option(
    "-o",
    "--offset",
    "offset",
    metavar="OFFSET",
    help="Where to begin, and to stop.  [default: start]",
)
@click.option("-n", "--num", type=click.IntRange(1), help="Stop after so many records.")
@click.option("-e", "--exit", "leave", is_flag=True, help="Stop at the end, as with -o ...:end.")
@click.option(
    "-p", "--partition", "partitions", multiple=True, metavar="N[,N...]", help="Only these."
)
@click.option("-g", "--group", help="Read as a member of this group, and commit.")
@click.option("-f", "--format", "form", default="json", metavar="FORMAT", help="How to print them.")
@click.option("-r", "--regex", is_flag=True, help="TOPICs are regular expressions.")
@click.option("--filter-key", metavar="REGEX", help="Only records whose key matches.")
@click.option("--filter-value", metavar="REGEX", help="Only records whose value matches.")
@click.option(
    "--read-uncommitted", is_flag=True, help="Show records of open and aborted transactions."
)
@click.option("--print-control", is_flag=True, help="Show control records too.")
def consume(topics: tuple[str, ...], brokers: str, offset: str | None, **flags: Any) -> None:
    """Print records of topics."""
    try:
        span = parse_range(offset or "start", time.time_ns() // 1_000_000)
    except ValueError as error:
        raise click.UsageError(f"--offset: {error}") from None
    if flags["leave"] and span.to is None:
        span = span._replace(to=END)
    if flags["group"] is not None:
        if flags["partitions"]:
            raise click.UsageError("A group decides on partitions: leave out --partition.")
        if span.to is not None and span.to != END:
            raise click.UsageError("A group reads on and on: only -e or ...:end can stop it.")
    try:
        write = _printer(flags["form"])
    except ValueError as error:
        raise click.UsageError(f"--format: {error}") from None
    try:
        keep = _filter(flags["filter_key"], flags["filter_value"])
        patterns = [re.compile(topic) for topic in topics] if flags["regex"] else None
    except re.error as error:
        raise click.UsageError(f"{error.pattern!r} is no regular expression: {error}.") from None
    wanted = _partition_numbers(flags["partitions"])
    out = _Out(write, keep, flags["num"])

    async def action(view: ClusterView) -> None:
        names = list(topics) if patterns is None else await _matching(view, patterns)
        stop_on_signals()
        try:
            if flags["group"] is not None:
                await _consume_in_group(view, names, flags["group"], span, out)
            else:
                await _consume(view, names, wanted, span, out, flags)
        except asyncio.CancelledError:
            pass
        finally:
            out.flush()

    run(brokers, action)


def stop_on_signals() -> None:
    """SIGINT and SIGTERM end the reading, which is a normal end."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _partition_numbers(texts: Sequence[str]) -> list[int]:
    try:
        return [int(number) for text in texts for number in text.split(",")]
    except ValueError:
        raise click.UsageError("--partition: write a number, or several with commas.") from None


def _printer(form: str) -> Print:
    if form == "json":
        return lambda batch, record, number: record_json(batch.partition, record).encode() + b"\n"
    write = compile_format(form)

    def show(batch: FetchedBatch, record: Record, number: int) -> bytes:
        header = batch.header
        return write(
            Shown(
                record,
                batch.partition.topic,
                batch.partition.partition,
                number,
                header.leader_epoch,
                header.attributes,
                header.producer_id,
                header.producer_epoch,
                batch.log_start_offset,
                batch.last_stable_offset,
                batch.high_watermark,
            )
        )

    return show


def _filter(key: str | None, value: str | None) -> Callable[[Record], bool] | None:
    if key is None and value is None:
        return None
    key_pattern = None if key is None else re.compile(key.encode())
    value_pattern = None if value is None else re.compile(value.encode())

    def keep(record: Record) -> bool:
        return not (
            (key_pattern and not key_pattern.search(record.key or b""))
            or (value_pattern and not value_pattern.search(record.value or b""))
        )

    return keep


class _Out:
    """Standard output: which records, how, and how many more."""

    def __init__(
        self, write: Print, keep: Callable[[Record], bool] | None, limit: int | None
    ) -> None:
        self._write = write
        self._keep = keep
        self._limit = limit
        self._number = 0

    @property
    def full(self) -> bool:
        return self._limit is not None and self._number >= self._limit

    def show(self, batch: FetchedBatch, end: Offset | None = None) -> Offset:
        """Print a batch up to `end` or the limit; the offset after the last record looked at."""
        lines = []
        next_offset = batch.header.next_offset
        for record in batch.records:
            if end is not None and record.offset >= end:
                break
            if self.full:
                next_offset = record.offset
                break
            if self._keep is None or self._keep(record):
                self._number += 1
                lines.append(self._write(batch, record, self._number))
        echo_bytes(b"".join(lines))
        return next_offset

    def flush(self) -> None:
        sys.stdout.buffer.flush()


async def _matching(view: ClusterView, patterns: Sequence["re.Pattern[str]"]) -> list[str]:
    await view.refresh(None)
    names = [
        name
        for name, topic in sorted(view.topics.items())
        if not topic.internal and any(pattern.fullmatch(name) for pattern in patterns)
    ]
    if not names:
        raise Failure("no topic matches", "`ottla topic list` shows what there is")
    return names


async def _consume(
    view: ClusterView,
    topics: Sequence[str],
    numbers: Sequence[int],
    span: OffsetRange,
    out: _Out,
    flags: dict[str, Any],
) -> None:
    isolation = (
        IsolationLevel.READ_UNCOMMITTED
        if flags["read_uncommitted"]
        else IsolationLevel.READ_COMMITTED
    )
    partitions = []
    for topic in topics:
        known = await partitions_of(view, topic)
        for number in numbers:
            await view.leader(TopicPartition(topic, number))
        partitions += [each for each in known if not numbers or each.partition in numbers]
    begin, ends = await _offsets(view, partitions, span, isolation)
    left = {each for each in partitions if ends is None or begin[each] < ends[each]}
    async with Consumer(view, isolation=isolation, control=flags["print_control"]) as consumer:
        consumer.assign({each: begin[each] for each in partitions if each in left})
        while left and not out.full:
            for batch in await consumer.poll(POLL_MS):
                if batch.partition in left and not out.full:
                    out.show(batch, None if ends is None else ends[batch.partition])
            out.flush()
            if ends is not None:
                reached = {
                    each for each, offset in consumer.positions().items() if offset >= ends[each]
                }
                consumer.drop(reached)
                left -= reached


async def _offsets(
    view: ClusterView,
    partitions: Sequence[TopicPartition],
    span: OffsetRange,
    isolation: IsolationLevel,
) -> tuple[dict[TopicPartition, Offset], dict[TopicPartition, Offset] | None]:
    """Where each partition begins, and where it ends if it shall."""
    starts, ends = await bounds(view, partitions, isolation=isolation)

    async def of(bound: Bound) -> dict[TopicPartition, Offset]:
        at_time: dict[TopicPartition, Offset] = {}
        if bound.anchor is Anchor.TIME:
            listed = await list_offsets(view, dict.fromkeys(partitions, bound.number))
            at_time = {each: found.offset for each, found in listed.items()}
        return resolve(bound, starts, ends, at_time)

    begin = await of(span.begin)
    if span.to is None:
        return begin, None
    if span.to.anchor is Anchor.OFFSET:
        return begin, dict.fromkeys(partitions, span.to.number)
    return begin, await of(span.to)


async def _consume_in_group(
    view: ClusterView, topics: Sequence[str], group: str, span: OffsetRange, out: _Out
) -> None:
    from ottla.client.group_member import GroupMember

    for topic in topics:
        await view.topic(topic)

    async def first(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Offset]:
        begin, _ = await _offsets(
            view, partitions, OffsetRange(span.begin, None), IsolationLevel.READ_COMMITTED
        )
        return begin

    async with GroupMember(view, group, topics, first_offsets=first) as member:
        ends: dict[TopicPartition, Offset] = {}
        while not out.full:
            batches = await member.poll(POLL_MS)
            for batch in batches:
                if out.full:
                    break
                member.read_up_to(batch.partition, out.show(batch))
            out.flush()
            if span.to is not None and member.stable:
                if not ends.keys() >= member.positions().keys():
                    _, ends = await bounds(view, member.positions())
                if all(offset >= ends[each] for each, offset in member.positions().items()):
                    return
