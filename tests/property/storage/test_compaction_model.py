"""Compaction against the obvious one: batches as lists, rules as sentences.

Random histories of keys, deletions, idempotent and transactional producers with
commits and aborts, time passing, several passes, a death in the middle. What is
left must be, batch for batch, what the model leaves; and whatever was done, who
reads everything committed sees the last value of each key.
"""

import contextlib
import random
from dataclasses import dataclass, field, replace

import pytest
from tests.unit.storage.compaction.parts import compact
from tests.unit.storage.parts import PARTITION, ROOT, CountingRandomness

from ottla.model.ids import TopicPartition, Uuid
from ottla.model.isolation import CompressionType
from ottla.record.batch import BatchHeader, read_header
from ottla.record.builder import build_batch
from ottla.record.control import build_end_txn_marker
from ottla.record.records import Record, read_records
from ottla.storage.compaction.survey import Resources
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.testing.power import Died, PowerDisk
from ottla.testing.randomness import SeededRandomness

RETENTION_MS = 1_000
CONFIG = LogConfig(
    segment_bytes=1_200,
    index_interval_bytes=100,
    retention_ms=-1,
    cleanup_policy=frozenset({"compact"}),
    delete_retention_ms=RETENTION_MS,
)
KEYS = [b"a", b"b", b"c", b"dd"]
IDEMPOTENT, TRANSACTIONAL = (1, 2), (11, 12)


@dataclass
class Batch:
    """A batch as the model keeps it."""

    base: int
    last: int
    producer: int
    epoch: int
    sequence: int
    records: list[Record]
    marker: bool | None = None
    """Committed, aborted; None: no marker."""
    transaction: int | None = None
    """Numbers transactions; a marker has that of the one it ends."""
    horizon: int | None = None


@dataclass
class Model:
    batches: list[Batch] = field(default_factory=list)
    aborted: set[int] = field(default_factory=set)

    def compact(self, start: int, end: int, now: int, last: dict[int, tuple[int, int]]) -> None:
        """The rules, one by one."""
        before = [batch for batch in self.batches if batch.base < end]
        lasts: dict[bytes, int] = {}
        for batch in before:
            if batch.marker is None and batch.transaction not in self.aborted:
                for record in batch.records:
                    if record.key is not None and record.offset >= start:
                        lasts[record.key] = record.offset
        left = []
        for batch in before:
            if batch.marker is not None:
                others = [
                    b for b in before if b.transaction == batch.transaction and b.marker is None
                ]
                needless = not batch.records or not others or batch.transaction is None
                gone = needless and batch.horizon is not None and batch.horizon <= now
                kept = [] if gone else batch.records
                new_horizon = needless
            elif batch.transaction in self.aborted:
                kept, new_horizon = [], False
            else:
                expired = batch.horizon is not None and batch.horizon <= now
                kept = [
                    record
                    for record in batch.records
                    if record.key is not None
                    and record.offset >= lasts.get(record.key, -1)
                    and not (record.value is None and expired)
                ]
                new_horizon = any(record.value is None for record in kept)
            if not kept:
                offset, epoch = last.get(batch.producer, (-2, -2))
                is_last = batch.last == offset or (
                    offset == -1 and batch.marker is not None and batch.epoch == epoch
                )
                if not is_last and batch.last + 1 != end:
                    continue
                batch.records, batch.horizon = [], None
            else:
                batch.records = kept
                if new_horizon and batch.horizon is None:
                    batch.horizon = now + RETENTION_MS
            left.append(batch)
        self.batches[: len(before)] = left


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = PowerDisk(SeededRandomness(seed), page_bytes=64)
        self.now = 10_000
        self.model = Model()
        self.sequences: dict[int, int] = {}
        self.epochs: dict[int, int] = dict.fromkeys(TRANSACTIONAL, 0)
        self.open: dict[int, int] = {}
        self.transactions = 0
        self.clean: int | None = None
        self.history: list[Batch] = []
        self.logs = self.load()
        self.logs.create(PARTITION, bytes(range(16)), CONFIG, self.now).ensure_made()
        self.disk.sync_all()

    def load(self) -> Logs:
        logs = Logs(self.disk, [ROOT], CountingRandomness())
        logs.start()
        logs.identify("cluster", 1)

        def decide(partition: TopicPartition, topic_id: Uuid | None) -> LogConfig:
            return CONFIG

        logs.load(decide, self.now)
        return logs

    @property
    def log(self) -> Log:
        log = self.logs.get(PARTITION)
        assert log is not None
        return log

    # Writing.

    def append(self) -> None:
        choose = self.random
        records = [
            (choose.choice(KEYS), choose.random() < 0.7, choose.randrange(30))
            for _ in range(choose.randint(1, 4))
        ]
        producer = choose.choice([-1, -1, -1, *IDEMPOTENT, *TRANSACTIONAL, *TRANSACTIONAL])
        codec = choose.choice([CompressionType.NONE, CompressionType.GZIP])
        made = [
            Record(
                timestamp=self.now + later,
                key=key,
                value=b"%d" % (self.log.log_end_offset + at) * 8 if full else None,
            )
            for at, (key, full, later) in enumerate(records)
        ]
        transaction = None
        if producer in TRANSACTIONAL:
            if producer not in self.open:
                self.transactions += 1
                self.open[producer] = self.transactions
            transaction = self.open[producer]
        epoch = self.epochs.get(producer, 0) if producer >= 0 else -1
        sequence = self.sequences.get(producer, 0) if producer >= 0 else -1
        data = bytearray(
            build_batch(
                made,
                producer_id=producer,
                producer_epoch=epoch,
                base_sequence=sequence,
                transactional=transaction is not None,
                compression=codec,
            )
        )
        result = self.log.append(data, read_header(data), 0, self.now)
        self.committed()
        base = result.base_offset
        if producer >= 0:
            self.sequences[producer] = sequence + len(made)
        self.model.batches.append(
            Batch(
                base,
                result.last_offset,
                producer,
                epoch,
                sequence,
                [record._replace(offset=base + at) for at, record in enumerate(made)],
                transaction=transaction,
            )
        )
        self.history.append(replace(self.model.batches[-1]))

    def end_transaction(self) -> None:
        """Under the second version of transactions the epoch rises with each end."""
        producer = self.random.choice(TRANSACTIONAL)
        committed = self.random.random() < 0.5
        self.epochs[producer] += 1
        self.sequences[producer] = 0
        marker = bytearray(
            build_end_txn_marker(
                committed=committed,
                coordinator_epoch=0,
                timestamp=self.now,
                producer_id=producer,
                producer_epoch=self.epochs[producer],
            )
        )
        result = self.log.append(marker, read_header(marker), 0, self.now)
        self.committed()
        transaction = self.open.pop(producer, None)
        if transaction is not None and not committed:
            self.model.aborted.add(transaction)
        record = next(iter(read_records(bytes(marker))))
        self.model.batches.append(
            Batch(
                result.base_offset,
                result.last_offset,
                producer,
                self.epochs[producer],
                -1,
                [record._replace(offset=result.base_offset)],
                marker=committed,
                transaction=transaction,
            )
        )

    def committed(self) -> None:
        self.log.high_watermark = self.log.log_end_offset

    def roll(self) -> None:
        self.log.roll(self.now)

    def wait(self) -> None:
        self.now += self.random.choice([10, 600, 2_000])

    # Compacting.

    def bounds(self) -> tuple[int, int]:
        """Where the dirty part begins, and what may not be touched."""
        log = self.log
        bases = [segment.base_offset for segment in log.segments]
        stable = log.last_stable_offset
        end = max(base for base in bases if base <= min(stable, bases[-1]))
        return (log.log_start_offset if self.clean is None else self.clean), end

    def last_records(self) -> dict[int, tuple[int, int]]:
        return {
            p.producer_id: (p.batches[-1].last_offset if p.batches else -1, p.producer_epoch)
            for p in self.log.producers
        }

    def compact(self) -> None:
        if self.random.random() < 0.5:
            self.clean = None
        self.log.flush()
        start, end = self.bounds()
        last = self.last_records()
        done = compact(self.log, self.now, self.clean)
        if done is None:
            return
        assert done == end
        self.model.compact(start, end, self.now, last)
        self.clean = done

    def compact_with_a_small_map(self) -> None:
        """Not all dirty keys fit: the rest is left for the next time."""
        keys = self.random.randint(1, 4)
        self.log.flush()
        start, end = self.bounds()
        before = self.offsets()
        done = compact(
            self.log, self.now, self.clean, Resources(key_map_bytes=24 * keys, load_factor=1.0)
        )
        if done is None or done <= start:
            return
        assert start < done <= end
        assert self.offsets() <= before
        self.follow_the_log()
        self.clean = done

    def die_while_compacting(self) -> None:
        self.log.flush()
        before = self.offsets()
        self.disk.dies_at = self.disk.operations + self.random.randrange(150)
        with contextlib.suppress(Died):
            compact(self.log, self.now, self.clean)
        if self.random.random() < 0.7:
            self.disk.power_cut()
        else:
            self.disk.process_death()
        self.logs = self.load()
        self.committed()
        assert self.offsets() <= before
        self.follow_the_log()

    # What is left.

    def actual(self) -> list[tuple[BatchHeader, list[Record]]]:
        found = []
        offset = self.log.log_start_offset
        while offset < self.log.log_end_offset:
            result = self.log.read(offset, 1 << 20)
            assert result.cold is None
            if not result.records:
                break
            position = 0
            while position < len(result.records):
                header = read_header(result.records, position)
                found.append((header, list(read_records(result.records, position))))
                position = header.end_position
            offset = result.next_offset
        return found

    def offsets(self) -> set[int]:
        return {record.offset for _, records in self.actual() for record in records}

    def follow_the_log(self) -> None:
        """What was done in part is not modelled: go on from what is there."""
        known = {batch.base: batch for batch in self.model.batches}
        batches = []
        for header, records in self.actual():
            batch = known[header.base_offset]
            originals = {record.offset: record for record in batch.records}
            assert [originals[record.offset] for record in records] == records
            batch.records, batch.horizon = records, header.delete_horizon_ms
            batches.append(batch)
        self.model.batches = batches
        self.clean = None

    def batches_agree(self) -> None:
        actual = self.actual()
        expected = self.model.batches
        assert [h.base_offset for h, _ in actual] == [batch.base for batch in expected]
        for (header, records), batch in zip(actual, expected, strict=True):
            assert header.last_offset == batch.last
            assert header.producer_id == batch.producer
            assert header.producer_epoch == batch.epoch
            assert header.base_sequence == batch.sequence
            assert header.delete_horizon_ms == batch.horizon
            assert records == batch.records

    def readers_see_the_last_values(self) -> None:
        """As a client does it: skip what the aborted transactions of the answer say."""
        log = self.log
        end = log.last_stable_offset
        aborted = log.aborted_transactions(log.log_start_offset, end)
        view = {}
        for header, records in self.actual():
            is_aborted = any(
                a.producer_id == header.producer_id
                and a.first_offset <= header.base_offset <= a.last_offset
                for a in aborted
            )
            skipped = header.is_control or (header.is_transactional and is_aborted)
            if header.base_offset < end and not skipped:
                view.update({record.key: record.value for record in records})
        whole: dict[bytes | None, bytes | None] = dict.fromkeys(KEYS)
        for batch in self.history:
            if batch.base < end and batch.transaction not in self.model.aborted:
                whole.update({record.key: record.value for record in batch.records})
        assert {key: view.get(key) for key in KEYS} == whole

    def producers_can_be_rebuilt(self) -> None:
        """Without any snapshot, from what compaction left."""
        log = self.log
        log.flush()
        last = {
            p.producer_id: (p.last_sequence, p.producer_epoch, p.transaction_first_offset)
            for p in log.producers
        }
        self.logs.release()
        for path in [path for path in self.disk.files if path.endswith(".snapshot")]:
            self.disk.remove(path)
        self.disk.process_death()
        self.logs = self.load()
        self.committed()
        rebuilt = {
            p.producer_id: (p.last_sequence, p.producer_epoch, p.transaction_first_offset)
            for p in self.log.producers
        }
        assert rebuilt == last


def live(seed: int, steps: int) -> None:
    world = World(seed)
    weights = {
        world.append: 12,
        world.end_transaction: 4,
        world.roll: 3,
        world.wait: 2,
        world.compact: 2,
        world.compact_with_a_small_map: 0.3,
        world.die_while_compacting: 0.6,
        world.producers_can_be_rebuilt: 0.4,
    }
    moves, shares = list(weights), list(weights.values())
    for _ in range(steps):
        move = world.random.choices(moves, shares)[0]
        move()
        if move not in (world.append, world.end_transaction, world.roll, world.wait):
            world.batches_agree()
            world.readers_see_the_last_values()


@pytest.mark.parametrize("seed", range(30))
def test_compaction_leaves_what_the_rules_say(seed: int) -> None:
    live(seed, 300)
