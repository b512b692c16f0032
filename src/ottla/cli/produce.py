"""`ottla produce`: standard input to a topic."""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import click

from ottla.cli.connect import Failure, brokers_option, run
from ottla.cli.output import echo_bytes
from ottla.cli.record_format import Shown, Writer, compile_format
from ottla.cli.record_input import RecordReader
from ottla.cli.record_json import InputRecord, looks_like_record, parse_record
from ottla.client.cluster_view import ClusterView
from ottla.client.producer import Delivery, Producer
from ottla.model.ids import TopicPartition
from ottla.model.isolation import Acks, CompressionType
from ottla.record.records import Record, RecordHeader

STANDARD_INPUT = 0
CHUNK_BYTES = 256 * 1024
CHUNKS_AHEAD = 4
MAX_IN_FLIGHT = 100_000
PLAIN = "%v\\n"
ACKS = {"all": Acks.ALL, "-1": Acks.ALL, "1": Acks.LEADER, "0": Acks.NONE}


@click.command(
    epilog="""\b
Examples:
  echo hello | ottla produce rides                     a record a line
  echo hello | ottla produce rides -k car-17 -H source:app
  ottla produce rides -f '%k %v\\n' < file              the first word is the key
  ottla produce rides -z zstd --idempotent < file
  ottla produce rides -k car-17 -Z < /dev/null         a tombstone for one key
  ottla consume rides -o start:end | ottla produce copy

\b
Format (-f), read over and over:
  %v value  %k key  %t topic  %p partition  %d timestamp in ms  %% percent sign
  %V %K %T  sizes: %K{big32}%k reads as many bytes as the size before it says
  %H %h{%k=%v,}  how many headers, then each
  {hex} {base64} {json}  how a text is encoded: %v{hex}
  {big8..64} {little8..64}  how a number is encoded; else it is decimal
  \\t \\n \\r \\\\ \\xNN  escapes
  json  one JSON object a line, as `ottla consume` prints them. Without -f, input
  that begins with such a line is read so; anything else is a value a line.
"""
)
@click.argument("topic", required=False)
@brokers_option
@click.option("-f", "--format", "form", metavar="FORMAT", help="How the input is cut into records.")
@click.option("-k", "--key", help="The key of every record that has none of its own.")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header; repeatable."
)
@click.option(
    "-z",
    "--compression",
    type=click.Choice([each.name.lower() for each in CompressionType]),
    default="none",
    show_default=True,
    help="Compress batches.",
)
@click.option("-Z", "--tombstone", is_flag=True, help="An empty value is null (a tombstone).")
@click.option("-p", "--partition", type=click.IntRange(0), help="Write to this partition.")
@click.option("--same-partition", is_flag=True, help="Write to the partition the input names.")
@click.option(
    "-a",
    "--acks",
    type=click.Choice(list(ACKS)),
    default="all",
    show_default=True,
    help="When a record counts as written.",
)
@click.option("-i", "--idempotent", is_flag=True, help="Never write a record twice on a retry.")
@click.option(
    "-o",
    "--output-format",
    "report",
    metavar="FORMAT",
    help="Print this for each record: '%p %o\\n' (%t %k %v %p %o %d %i as in consume).",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no summary.")
def produce(topic: str | None, brokers: str, form: str | None, **flags: Any) -> None:
    """Write records from standard input to TOPIC, which may be left out if the input names it."""
    headers = [_header(text) for text in flags.pop("headers")]
    if flags["idempotent"] and flags["acks"] not in ("all", "-1"):
        raise click.UsageError("--idempotent needs --acks all.")
    if flags["partition"] is not None and flags["same_partition"]:
        raise click.UsageError("Say either --partition or --same-partition.")
    try:
        reader = None if form in (None, "json") else RecordReader(form or "")
    except ValueError as error:
        raise click.UsageError(f"--format: {error}") from None
    try:
        report = compile_format(flags["report"]) if flags["report"] else None
    except ValueError as error:
        raise click.UsageError(f"--output-format: {error}") from None
    if flags["tombstone"] and sys.stdin.isatty() and flags["key"] is None:
        raise click.UsageError("--tombstone without --key needs keys in the input; see -f.")
    work = _Work(topic, form == "json", reader, headers, report, flags)
    delivered = run(brokers, work.run)
    if not flags["quiet"]:
        _summary(delivered)


def _header(text: str) -> RecordHeader:
    for separator in (":", "="):
        name, found, value = text.partition(separator)
        if found and name:
            return name, value.encode()
    raise click.UsageError(f"--header: {text!r} is not NAME:VALUE.")


class _Work:
    """One run of the command: input to records, records to the producer, answers to a report."""

    def __init__(
        self,
        topic: str | None,
        as_json: bool,
        reader: RecordReader | None,
        headers: Sequence[RecordHeader],
        report: Writer | None,
        flags: dict[str, Any],
    ) -> None:
        self._topic = topic
        self._as_json = as_json
        self._reader = reader
        self._headers = tuple(headers)
        self._report = report
        self._flags = flags
        self._key = None if flags["key"] is None else flags["key"].encode()
        self._in_flight: list[tuple[Record | None, asyncio.Future[Delivery]]] = []
        self._delivered: dict[TopicPartition, tuple[int, int, int]] = {}
        self._number = 0

    async def run(self, view: ClusterView) -> dict[TopicPartition, tuple[int, int, int]]:
        """Per partition: how many records, first and last offset."""
        flags = self._flags
        async with Producer(
            view,
            acks=ACKS[flags["acks"]],
            compression=CompressionType[flags["compression"].upper()],
            idempotent=flags["idempotent"],
        ) as producer:
            if self._topic is not None:
                await view.topic(self._topic, create=True)
            async for records in self._input():
                for record in _readable(records):
                    await self._send(producer, record)
                if len(self._in_flight) >= MAX_IN_FLIGHT or self._report:
                    await self._settle(producer)
            await self._settle(producer)
        return self._delivered

    async def _input(self) -> AsyncIterator[Iterator[InputRecord]]:
        lone = self._flags["tombstone"] and self._key is not None
        empty = True
        async for chunk in standard_input():
            if chunk:
                if empty and self._reader is None and not self._as_json:
                    self._as_json = looks_like_record(chunk.partition(b"\n")[0])
                empty = False
            if self._reader is None:
                self._reader = _JsonLines() if self._as_json else RecordReader(PLAIN)
            yield self._reader.feed(chunk)
        if empty and lone:
            yield iter([InputRecord(value=b"")])

    async def _send(self, producer: Producer, given: InputRecord) -> None:
        topic = self._topic or given.topic
        if topic is None:
            raise Failure("no topic is named", "Write `ottla produce TOPIC`")
        partition = given.partition if self._flags["same_partition"] else self._flags["partition"]
        value = None if self._flags["tombstone"] and not given.value else given.value
        record = Record(
            key=self._key if given.key is None else given.key,
            value=value,
            headers=given.headers + self._headers,
        )
        future = await producer.send(
            topic,
            record.value,
            key=record.key,
            headers=record.headers,
            partition=partition,
            timestamp_ms=given.timestamp,
        )
        self._in_flight.append((record if self._report else None, future))

    async def _settle(self, producer: Producer) -> None:
        """Wait for what is in flight and note where it went; the first failure is raised."""
        await producer.flush()
        settled, self._in_flight = self._in_flight, []
        await asyncio.gather(*(future for _, future in settled), return_exceptions=True)
        for record, future in settled:
            delivery = future.result()
            self._number += 1
            partition, offset = delivery.partition, delivery.offset
            count, first, _ = self._delivered.get(partition, (0, offset, offset))
            self._delivered[partition] = (count + 1, first, offset)
            if self._report is not None and record is not None:
                placed = record._replace(offset=offset, timestamp=delivery.timestamp)
                shown = Shown(placed, partition.topic, partition.partition, self._number)
                echo_bytes(self._report(shown))
        if self._report is not None:
            sys.stdout.buffer.flush()


def _readable(records: Iterator[InputRecord]) -> Iterator[InputRecord]:
    """The records, until one cannot be read: that is the user's to mend."""
    try:
        yield from records
    except ValueError as error:
        raise Failure(
            f"the input does not fit the format: {error}", "`ottla produce --help` explains -f"
        ) from None


class _JsonLines(RecordReader):
    """One JSON object a line; an empty line is passed over."""

    def __init__(self) -> None:
        super().__init__(PLAIN)
        self._line = 0

    def feed(self, data: bytes) -> Iterator[InputRecord]:
        for line in super().feed(data):
            self._line += 1
            if line.value and line.value.strip():
                try:
                    yield parse_record(line.value)
                except ValueError as error:
                    raise ValueError(f"line {self._line}: {error}") from None


async def standard_input() -> AsyncIterator[bytes]:
    """What comes in, as it comes; b"" last.

    A file is read directly. A pipe or a terminal is read by a daemon thread, so
    that a signal need not wait for input; it is a bounded number of chunks ahead.
    """
    if stat.S_ISREG(os.fstat(STANDARD_INPUT).st_mode):
        while chunk := os.read(STANDARD_INPUT, CHUNK_BYTES):
            yield chunk
        yield b""
        return
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    ahead = threading.Semaphore(CHUNKS_AHEAD)

    def read() -> None:
        while True:
            ahead.acquire()
            chunk = os.read(STANDARD_INPUT, CHUNK_BYTES)
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:
                return  # the loop is gone: nobody wants more
            if not chunk:
                return

    threading.Thread(target=read, name="standard input", daemon=True).start()
    while True:
        chunk = await chunks.get()
        yield chunk
        ahead.release()
        if not chunk:
            return


def _summary(delivered: dict[TopicPartition, tuple[int, int, int]]) -> None:
    total = sum(count for count, _, _ in delivered.values())
    click.echo(f"{total} record{'' if total == 1 else 's'} written", err=True)
    for partition, (count, first, last) in sorted(delivered.items()):
        where = f"offset {first}" if first == last else f"offsets {first} to {last}"
        if first < 0:
            where = "not acknowledged"
        click.echo(f"  {partition}: {count}, {where}", err=True)
