"""Logs, partitions and group commit on a disk that fails, beside the model of what they hold.

`LogWorld` has one method for each thing that can happen: an append, a worker
finishing its job, retention, a restart, a death at some operation to come. A
test says which happen, from a seed or from Hypothesis; after every death the
world starts the logs again and compares them with the model.
"""

from collections.abc import Callable, Generator
from enum import Enum
from typing import Any, Generic, TypeVar

from ottla.metadata.image import PartitionImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition, Uuid
from ottla.model.isolation import CompressionType
from ottla.model.randomness import Randomness
from ottla.model.workers import Lane, Later
from ottla.record.batch import read_header
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.record.validate import ProduceRules
from ottla.replica.flusher import Flusher
from ottla.replica.partition import Partition
from ottla.storage.log import Log
from ottla.storage.log_config import INT64_MAX, LogConfig
from ottla.storage.logs import Fate, Logs
from ottla.storage.removals import FilesJob
from ottla.storage.roots import LogsError
from ottla.testing.clock import ManualClock
from ottla.testing.log_model import LogModel, Wrong
from ottla.testing.power import PowerDisk

T = TypeVar("T")

ROOT = "/data"
TOPIC = "t"
CONFIG = LogConfig(
    segment_bytes=1500,
    index_interval_bytes=150,
    segment_index_bytes=400,
    retention_ms=-1,
    flush_messages=INT64_MAX,
    file_delete_delay_ms=50,
)


class Death(Enum):
    PROCESS = "process"
    """kill -9: what was written is there."""
    POWER = "power"
    """What was not synced may be lost."""


class _Job(Generic[T]):
    """A job for a worker that has not run it yet."""

    def __init__(self, run: Callable[[], T]) -> None:
        self._run = run
        self._callbacks: list[Callable[[Later[Any]], object]] = []
        self._value: T
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._value = self._run()
        except Exception as error:
            self._error = error
        for callback in self._callbacks:
            callback(self)

    def add_done_callback(self, callback: Callable[[Later[Any]], object], /) -> None:
        self._callbacks.append(callback)

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value

    def __await__(self) -> Generator[Any, None, T]:
        raise NotImplementedError


class _Workers:
    def __init__(self) -> None:
        self.jobs: list[_Job[Any]] = []

    def submit(self, lane: Lane, job: Callable[[], T], /) -> Later[T]:
        queued = _Job(job)
        self.jobs.append(queued)
        return queued


class Slot:
    """One partition: what runs, and what it must be."""

    def __init__(self, number: int, topic_id: Uuid) -> None:
        self.name = TopicPartition(TOPIC, number)
        self.topic_id = topic_id
        self.recreated = False
        """Since the last start: until the next one it is known that one of this name was deleted."""
        self.model = LogModel()
        self.partition: Partition | None = None
        self.epoch = 0
        self.acknowledged = 0
        """Everything below it was acknowledged."""
        self.shown = 0
        """The high watermark when leadership began."""
        self.sequences: dict[int, int] = {}
        self.last: dict[int, tuple[bytes, int]] = {}
        """By producer: its last batch as it was sent, and the offset it got."""

    @property
    def log(self) -> Log:
        assert self.partition is not None
        return self.partition.log

    def acknowledge(self, model: LogModel, end: int, error: ApiError | None) -> None:
        if error is None and model is self.model:
            self.acknowledged = max(self.acknowledged, end)

    def forget(self) -> None:
        """After a crash or a cut the log says which sequence comes next."""
        self.last.clear()
        self.sequences = {
            producer.producer_id: producer.last_sequence + 1 for producer in self.log.producers
        }


class LogWorld:
    """A broker's logs, and what they must be."""

    def __init__(
        self, randomness: Randomness, *, durable: bool, partitions: int = 2, page_bytes: int = 512
    ) -> None:
        """`durable`: acknowledge what was flushed, as with `flush.messages=1`."""
        self.randomness = randomness
        self.disk = PowerDisk(randomness, page_bytes)
        self.disk.now_ms = lambda: self.now_ms
        self.now_ms = 1_000
        self.config = CONFIG._replace(flush_messages=1) if durable else CONFIG
        self.durable = durable
        self.slots = [Slot(number, randomness.uuid()) for number in range(partitions)]
        self.death = Death.PROCESS
        """What the death that is coming will be."""
        self.deaths = 0
        self.lost = 0
        """Batches that nobody had deleted, no promise covered, and power cuts took."""
        self.values = 0
        self._boot()

    # Starting.

    def _boot(self) -> None:
        self.workers = _Workers()
        self.flusher = Flusher(self.workers, ManualClock(), self._failed)
        self.logs = Logs(self.disk, [ROOT], self.randomness)
        try:
            self.logs.start()
            self.logs.identify("cluster", 1)
        except LogsError as error:
            raise Wrong(str(error)) from error
        self.logs.load(self._decide, self.now_ms, lambda name: self.slots[name.partition].topic_id)
        self._check_online()
        for slot in self.slots:
            slot.recreated = False
            slot.partition = None
            if self.logs.get(slot.name) is not None:
                self._lead(slot)
        self.logs.make_directories(len(self.slots))

    def _check_online(self) -> None:
        for directory in self.logs.directories:
            if not directory.is_online:
                raise Wrong(f"offline: {directory.offline_reason}")

    def _failed(self, partition: Partition, error: BaseException) -> None:
        raise Wrong(f"{partition}: {error!r}") from error

    def _decide(self, name: TopicPartition, topic_id: Uuid | None) -> LogConfig | Fate:
        slot = self.slots[name.partition]
        if topic_id == slot.topic_id or (topic_id is None and not slot.recreated):
            return self.config
        return Fate.DELETE

    def _lead(self, slot: Slot) -> None:
        log = self.logs.get(slot.name)
        if log is None:
            log = self.logs.create(slot.name, slot.topic_id, self.config, self.now_ms)
        slot.partition = Partition(
            TOPIC,
            slot.name.partition,
            slot.topic_id,
            log,
            rules=ProduceRules(),
            request_flush=self.flusher.request,
        )
        slot.shown = slot.partition.high_watermark
        slot.epoch += 1
        us = (1,)
        slot.partition.become_leader(PartitionImage(1, slot.epoch, 0, us, us))

    # Dying.

    def die_in(self, operations: int, death: Death) -> None:
        """Let the operation on the disk that is so many away be the last."""
        self.disk.dies_at = self.disk.operations + operations
        self.death = death

    def die(self, death: Death) -> None:
        """Die between two operations."""
        self.death = death
        self.disk.was_dead = True
        self._revive()

    def act(self, action: Callable[[], None]) -> None:
        """Do it; if the process dies meanwhile, start again and compare."""
        try:
            action()
        except BaseException:
            if not self.disk.was_dead:
                raise
        if self.disk.was_dead:
            self._revive()

    def _promised(self, slot: Slot) -> int:
        if slot.partition is None:
            return 0
        if self.death is Death.PROCESS:
            return slot.model.end
        flushed = slot.log.flushed_end_offset
        return max(flushed, slot.acknowledged) if self.durable else flushed

    def _revive(self) -> None:
        self.deaths += 1
        promised = [self._promised(slot) for slot in self.slots]
        in_order = True
        while self.disk.was_dead:
            if self.death is Death.POWER:
                self.disk.power_cut()
                in_order = in_order and self.disk.in_order
            else:
                self.disk.process_death()
            if self.randomness.below(4) == 0:
                # It may die while it recovers, too; a dead machine forgives nothing less.
                self.disk.dies_at = self.disk.operations + 1 + self.randomness.below(30)
            try:
                self._boot()
                for slot in self.slots:
                    if slot.partition is not None:
                        assert slot.log.segments
            except BaseException:
                if not self.disk.was_dead:
                    raise
        self.disk.dies_at = None
        for slot, least in zip(self.slots, promised, strict=True):
            self._compare(slot, least, in_order)

    def _compare(self, slot: Slot, promised: int, in_order: bool) -> None:
        if slot.partition is None:
            self._lead(slot)
        model, log = slot.model, slot.log
        asked = max(model.asked, model.begin)
        before = [base for base, sent in model.sent.items() if sent.end > asked]
        model.check_survival(log, promised, in_order=in_order)
        model.adopt(log)
        self.lost += sum(base not in model.sent for base in before)
        slot.acknowledged = min(slot.acknowledged, model.end)
        slot.partition = None
        self._lead(slot)
        slot.forget()
        for producer, state in list(log.producers.producers.items()):
            if state.batches and state.batches[-1].base_offset >= max(model.begin, model.asked):
                self._check_repeated(slot, producer)

    def _check_repeated(self, slot: Slot, producer: int) -> None:
        base = slot.log.producers.producers[producer].batches[-1].base_offset
        again = slot.model.sent[base].data
        result = slot.log.append(bytearray(again), read_header(again), slot.epoch, self.now_ms)
        if not result.duplicate or result.base_offset != base:
            raise Wrong(f"{slot.log}: the batch at {base} was taken twice")

    # Writing.

    def produce(
        self,
        slot: Slot,
        *,
        producer: int | None = None,
        count: int = 1,
        size: int = 50,
        compression: CompressionType = CompressionType.NONE,
        timestamp_ms: int | None = None,
    ) -> None:
        at_ms = self.now_ms if timestamp_ms is None else timestamp_ms
        self.values += 1
        value = self.values.to_bytes(4, "big") * (1 + size // 4)
        sequence = -1 if producer is None else slot.sequences.get(producer, 0)
        data = build_batch(
            [Record(timestamp=at_ms + more, key=b"k", value=value) for more in range(count)],
            compression=compression,
            producer_id=-1 if producer is None else producer,
            producer_epoch=-1 if producer is None else 0,
            base_sequence=sequence,
        )
        base = self._append(slot, data)
        if producer is not None:
            slot.sequences[producer] = sequence + count
            slot.last[producer] = (data, base)

    def _append(self, slot: Slot, data: bytes) -> int:
        model, partition = slot.model, self._partition(slot)
        stamped = bytearray(data)
        stamped[0:8] = model.end.to_bytes(8, "big")
        stamped[12:16] = slot.epoch.to_bytes(4, "big")
        model.begin_append(bytes(stamped))
        written = bytearray(data)
        result = partition.append(written, read_header(data), self.now_ms)
        if result.duplicate or result.base_offset != model.end:
            raise Wrong(f"{slot.log}: appended at {result.base_offset}, not {model.end}")
        model.complete_append(bytes(written))
        end = model.end
        partition.when_committed(end, lambda error: slot.acknowledge(model, end, error))
        return result.base_offset

    def _partition(self, slot: Slot) -> Partition:
        if slot.partition is None:
            self._lead(slot)
        assert slot.partition is not None
        return slot.partition

    def send_again(self, slot: Slot, producer: int) -> None:
        """A client that heard nothing sends its last batch once more."""
        if producer not in slot.last:
            return
        data, base = slot.last[producer]
        result = self._partition(slot).append(bytearray(data), read_header(data), self.now_ms)
        if not result.duplicate or result.base_offset != base:
            raise Wrong(f"{slot.log}: a repeated batch got {result}, not {base}")

    def leave_a_gap(self, slot: Slot, producer: int) -> None:
        """A sequence is left out; nobody may take that."""
        if producer not in slot.last or producer not in slot.log.producers.producers:
            return
        data = build_batch(
            [Record(timestamp=self.now_ms, key=b"k", value=b"gap")],
            producer_id=producer,
            producer_epoch=0,
            base_sequence=slot.sequences[producer] + 1,
        )
        try:
            self._partition(slot).append(bytearray(data), read_header(data), self.now_ms)
        except ApiError as error:
            if error.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
                return
            raise
        raise Wrong(f"{slot.log}: a gap was taken")

    def roll(self, slot: Slot) -> None:
        self._partition(slot).log.roll(self.now_ms)

    # Flushing, and what else workers do.

    def flush(self, slot: Slot) -> None:
        self.flusher.request(self._partition(slot))

    def flush_now(self, slot: Slot) -> None:
        partition = self._partition(slot)
        partition.log.flush()
        partition.advance_high_watermark(0)
        if partition.log.is_open and partition.log.flushed_end_offset != slot.model.end:
            raise Wrong(f"{slot.log} is flushed to {slot.log.flushed_end_offset}")

    def checkpoint(self) -> None:
        for job in self.logs.checkpoint_jobs():
            self._submit(job)

    def _submit(self, job: FilesJob) -> None:
        self.workers.submit(Lane.UPKEEP, job.run)

    def work(self, index: int) -> None:
        """A worker runs one of the jobs that wait."""
        if self.workers.jobs:
            self.workers.jobs.pop(index % len(self.workers.jobs)).run()

    # Cutting.

    def truncate(self, slot: Slot, offset: int) -> None:
        """As a follower whose leader has other records from `offset` on."""
        log, model = self._partition(slot).log, slot.model
        if offset > model.end or offset < model.begin or not model.sent:
            return
        cut = model.begin_cut(offset)
        if cut < model.begin:
            return self.start_over(slot, offset)
        self._step_down(slot, cut)
        log.truncate_to(offset, self.now_ms)
        self._after_cut(slot)

    def start_over(self, slot: Slot, offset: int) -> None:
        """Drop everything, and go on at `offset`."""
        log, model = self._partition(slot).log, slot.model
        model.begin_cut(-1)
        model.asked = max(model.asked, offset)
        model.empty_at = offset
        self._step_down(slot, 0)
        log.truncate_fully_and_start_at(offset, self.now_ms)
        model.begin = model.asked = offset
        self._after_cut(slot)

    def _step_down(self, slot: Slot, end: int) -> None:
        self._partition(slot).resign()
        slot.acknowledged = min(slot.acknowledged, end)

    def _after_cut(self, slot: Slot) -> None:
        log, model = slot.log, slot.model
        model.complete_cut(log.log_end_offset)
        slot.partition = None
        self._lead(slot)
        slot.forget()

    def delete_records(self, slot: Slot, offset: int) -> None:
        partition, model = self._partition(slot), slot.model
        if not model.begin <= offset <= partition.high_watermark:
            return
        model.asked = max(model.asked, offset)
        partition.advance_log_start(offset)
        model.begin = max(model.begin, offset)

    def retain(self, slot: Slot, *, size: int = -1, age_ms: int = -1) -> None:
        """Let retention keep so many bytes, or so many milliseconds."""
        log, model = self._partition(slot).log, slot.model
        log.high_watermark = slot.partition.high_watermark if slot.partition else 0
        before = log.size_bytes
        asked, model.asked = model.asked, max(model.asked, log.high_watermark)
        log.config = self.config._replace(retention_bytes=size, retention_ms=age_ms)
        self.logs._expire(log, self.now_ms)
        log.config = self.config
        if log.log_start_offset > max(log.high_watermark, model.begin):
            raise Wrong(f"{log}: retention passed the high watermark")
        if age_ms < 0 and log.log_start_offset > model.begin and log.size_bytes < size:
            raise Wrong(f"{log}: retention left {log.size_bytes} of {before}, not {size}")
        model.retained_from(log.log_start_offset)
        model.asked = max(asked, model.begin)

    def remove_due(self) -> None:
        """Remove the files whose delay is over."""
        for job in self.logs.removal_jobs(self.now_ms):
            self._submit(job)

    def recreate(self, slot: Slot) -> None:
        """Delete the topic and create one of the same name: nothing of the old may be seen."""
        slot.topic_id = self.randomness.uuid()
        slot.recreated = True
        slot.model = LogModel()
        slot.acknowledged = 0
        slot.sequences.clear()
        slot.last.clear()
        if slot.partition is not None:
            slot.partition.resign()
            slot.partition = None
        self.logs.delete(slot.name, self.now_ms)
        self._lead(slot)

    # Stopping and looking.

    def restart(self) -> None:
        """Stop cleanly, and start again."""
        while self.workers.jobs:
            self.work(0)
        for slot in self.slots:
            if slot.partition is not None:
                slot.partition.resign()
        self.logs.close()
        self._check_online()
        self._boot()
        for slot in self.slots:
            self._partition(slot)
            slot.model.check_all(slot.log)
            slot.acknowledged = min(slot.acknowledged, slot.model.end)

    def check(self, slot: Slot) -> None:
        """Compare everything with the model."""
        if slot.partition is not None:
            slot.model.check_all(slot.log)
            shown = slot.partition.high_watermark
            if self.durable and shown > max(slot.log.flushed_end_offset, slot.shown):
                raise Wrong(f"{slot.partition} shows what is not flushed")
