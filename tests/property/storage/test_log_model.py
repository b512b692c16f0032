"""The log against the obvious one: a list of records, through every kind of restart."""

from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.storage.parts import PARTITION, ROOT, CountingRandomness, batch, whole

from ottla.model.errors import ApiError, ErrorCode
from ottla.record.batch import read_header
from ottla.record.records import read_records
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.timestamps import offset_for_timestamp

CONFIG = LogConfig(
    segment_bytes=1500, index_interval_bytes=150, retention_ms=-1, flush_messages=2**63 - 1
)
PRODUCERS = 3


class Entry(NamedTuple):
    """A record as the model keeps it."""

    batch: int
    """Base offset of its batch: what a truncation within it takes along."""
    timestamp: int
    value: bytes


class CrashingDisk(MemoryDisk):
    """After a power cut a log file is what was synced, what was written, or between."""

    tracks_durability = True
    truncated = False
    """A truncation that is not synced may be undone, which the model does not follow."""

    def crash(self, data: st.DataObject) -> None:
        for path, content in self.files.items():
            if not path.endswith(".log"):
                if data.draw(st.booleans()):
                    content.data = bytearray(content.synced)
                continue
            written, synced = content.data, content.synced
            kind = data.draw(st.sampled_from(["synced", "written", "cut", "zeroes"]))
            if self.truncated:
                kind = "written"
            if kind == "synced":
                content.data = bytearray(synced)
            elif kind != "written" and len(written) > len(synced):
                at = data.draw(st.integers(len(synced), len(written)))
                if kind == "cut":
                    del content.data[at:]
                else:
                    content.data[at:] = bytes(len(written) - at)
        self.process_death()
        self.boot += "+"


class LogMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.disk = CrashingDisk()
        self.now_ms = 1_000
        self.sequences = [0] * PRODUCERS
        self.last: dict[int, tuple[bytearray, int]] = {}
        self.entries: dict[int, Entry] = {}
        self.end = 0
        self.begin = 0
        self.epoch = 0
        self.logs = self.open()
        self.logs.create(PARTITION, b"t" * 16, CONFIG, self.now_ms)
        self.logs.make_directories(1)

    def open(self) -> Logs:
        logs = Logs(self.disk, [ROOT], CountingRandomness())
        logs.start()
        logs.identify("cluster", 1)
        logs.load(lambda partition, topic_id: CONFIG, self.now_ms, lambda partition: b"t" * 16)
        return logs

    @property
    def log(self) -> Log:
        log = self.logs.get(PARTITION)
        assert log is not None
        return log

    def batch_bounds(self, offset: int) -> int:
        """Where a truncation to `offset` really cuts: at the start of the batch that spans it."""
        entry = self.entries.get(offset)
        return offset if entry is None else entry.batch

    # Writing.

    @rule(
        count=st.integers(1, 4),
        size=st.integers(0, 250),
        producer=st.none() | st.integers(0, PRODUCERS - 1),
        later_ms=st.integers(-5, 40),
    )
    def append(self, count: int, size: int, producer: int | None, later_ms: int) -> None:
        self.now_ms += max(later_ms, 0)
        timestamp = self.now_ms + min(later_ms, 0)
        value = bytes([self.end % 251]) * size
        if producer is None:
            data = batch(count, timestamp=timestamp, value=value)
        else:
            sequence = self.sequences[producer]
            data = batch(
                count,
                timestamp=timestamp,
                value=value,
                producer_id=producer,
                producer_epoch=0,
                base_sequence=sequence,
            )
            self.sequences[producer] += count
            self.last[producer] = (bytearray(data), self.end)
        result = self.log.append(data, read_header(data), self.epoch, self.now_ms)
        assert not result.duplicate
        assert result.base_offset == self.end
        for at in range(count):
            self.entries[self.end + at] = Entry(self.end, timestamp + at, value)
        self.end += count
        self.log.high_watermark = self.end

    @rule(producer=st.integers(0, PRODUCERS - 1))
    def send_again(self, producer: int) -> None:
        if producer in self.last:
            data, offset = self.last[producer]
            result = self.log.append(bytearray(data), read_header(data), self.epoch, self.now_ms)
            assert result.duplicate
            assert result.base_offset == offset

    @rule(producer=st.integers(0, PRODUCERS - 1))
    def leave_a_gap(self, producer: int) -> None:
        if producer in self.last:
            sequence = self.sequences[producer] + 1
            data = batch(1, producer_id=producer, producer_epoch=0, base_sequence=sequence)
            try:
                self.log.append(data, read_header(data), self.epoch, self.now_ms)
            except ApiError as error:
                assert error.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER  # noqa: PT017
            else:
                raise AssertionError("a gap was accepted")

    @rule()
    def roll(self) -> None:
        self.log.roll(self.now_ms)

    @rule()
    def new_epoch(self) -> None:
        self.epoch += 1

    @rule()
    def flush(self) -> None:
        if self.log.flushed_end_offset < self.end:
            self.disk.truncated = False
        self.log.flush()
        assert self.log.flushed_end_offset == self.end

    # Cutting.

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.begin, self.end), label="offset")
        cut = self.batch_bounds(offset) if offset < self.end else offset
        if cut < self.begin:
            return
        changed = self.log.truncate_to(offset, self.now_ms)
        assert changed == (offset < self.end)
        self.disk.truncated = self.disk.truncated or changed
        self.cut_to(min(cut, self.end) if changed else self.end)

    def cut_to(self, end: int) -> None:
        self.end = end
        self.entries = {offset: entry for offset, entry in self.entries.items() if offset < end}
        self.forget_producers()

    def forget_producers(self) -> None:
        """After a cut only the log knows which sequence comes next: ask it."""
        self.last.clear()
        for producer in range(PRODUCERS):
            state = self.log.producers.producers.get(producer)
            self.sequences[producer] = 0 if state is None else state.last_sequence + 1

    @rule(gap=st.integers(0, 50))
    def start_over(self, gap: int) -> None:
        self.begin = self.end + gap
        self.log.truncate_fully_and_start_at(self.begin, self.now_ms)
        self.disk.truncated = True
        self.entries.clear()
        self.cut_to(self.begin)

    @rule(data=st.data())
    def delete_records(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.begin, self.end), label="offset")
        self.log.advance_log_start(offset)
        self.begin = max(self.begin, offset)
        self.log.apply_retention(self.now_ms)
        self.remove_files()

    @rule(limit=st.integers(0, 6000))
    def retain(self, limit: int) -> None:
        self.log.config = CONFIG._replace(retention_bytes=limit)
        before = self.log.size_bytes
        self.log.apply_retention(self.now_ms)
        self.log.config = CONFIG
        assert self.log.log_start_offset >= self.begin
        assert self.log.size_bytes >= min(before, limit) or self.log.log_start_offset == self.begin
        self.begin = self.log.log_start_offset
        self.remove_files()

    def remove_files(self) -> None:
        for path in [path for path in self.disk.files if path.endswith(".deleted")]:
            self.disk.remove(path)

    # Stopping.

    @rule()
    def restart(self) -> None:
        self.logs.close()
        self.disk.truncated = False
        self.logs = self.open()
        assert not self.log.is_open or self.end == 0
        remembered = {
            producer: sent for producer, sent in self.last.items() if sent[1] >= self.begin
        }
        self.last = remembered

    @rule()
    def die(self) -> None:
        for job in self.logs.checkpoint_jobs():
            job.run()
        self.disk.process_death()
        self.logs = self.open()
        assert self.logs.recovered[0].cut_at is None
        self.log.high_watermark = self.end
        self.last.clear()

    @rule(data=st.data(), checkpoint=st.booleans())
    def lose_power(self, data: st.DataObject, checkpoint: bool) -> None:
        if checkpoint:
            for job in self.logs.checkpoint_jobs():
                job.run()
        flushed = self.log.flushed_end_offset
        begin = self.begin
        self.disk.crash(data)
        self.logs = self.open()
        log = self.log
        assert log.log_end_offset >= flushed
        assert log.log_end_offset <= self.end
        self.begin = log.log_start_offset
        assert self.begin <= max(begin, flushed)
        self.cut_to(log.log_end_offset)
        log.high_watermark = self.end

    # Reading.

    @invariant()
    def ends_agree(self) -> None:
        if hasattr(self, "logs"):
            assert (self.log.log_start_offset, self.log.log_end_offset) == (self.begin, self.end)

    @rule(data=st.data(), max_bytes=st.integers(1, 3000), min_one=st.booleans())
    def read(self, data: st.DataObject, max_bytes: int, min_one: bool) -> None:
        offset = data.draw(st.integers(self.begin, self.end), label="offset")
        below = data.draw(st.integers(offset, self.end), label="below")
        result = self.log.read(offset, max_bytes, below=below, min_one=min_one)
        headers = whole(result.records)
        assert len(result.records) <= max_bytes or (min_one and len(headers) == 1)
        if not headers:
            assert result.next_offset == offset
            if offset < below and min_one and below == self.end:
                raise AssertionError("nothing came back")
            return
        assert headers[0].base_offset <= offset <= headers[0].last_offset
        assert headers[-1].next_offset == result.next_offset <= below
        for header in headers:
            for record in read_records(result.records, header.position):
                self.check(record.offset, record.timestamp, record.value)

    def check(self, offset: int, timestamp: int, value: bytes | None) -> None:
        entry = self.entries[offset]
        assert (timestamp, value) == (entry.timestamp, entry.value)

    @rule()
    def read_all(self) -> None:
        offset = self.begin
        seen = set()
        while offset < self.end:
            result = self.log.read(offset, 700)
            for header in whole(result.records):
                for record in read_records(result.records, header.position):
                    self.check(record.offset, record.timestamp, record.value)
                    seen.add(record.offset)
            assert result.next_offset > offset
            offset = result.next_offset
        assert seen >= set(range(self.begin, self.end))

    @precondition(lambda self: self.end > self.begin)
    @rule(data=st.data())
    def look_up_by_time(self, data: st.DataObject) -> None:
        timestamp = data.draw(st.integers(900, self.now_ms + 5), label="timestamp")
        expected = next(
            (
                offset
                for offset in range(self.begin, self.end)
                if self.entries[offset].timestamp >= timestamp
            ),
            None,
        )
        found = offset_for_timestamp(self.log, timestamp)
        assert (None if found is None else found.offset) == expected

    @rule()
    def epochs_agree(self) -> None:
        epochs = list(self.log.leader_epochs)
        assert epochs == sorted(epochs)
        assert len({epoch for epoch, _ in epochs}) == len(epochs)
        for offset in range(self.begin, self.end):
            result = self.log.read(offset, 1)
            assert (
                self.log.leader_epochs.epoch_of(offset) == read_header(result.records).leader_epoch
            )


LogMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLogAgainstModel = LogMachine.TestCase
