"""One machine with a broker that starts, dies and starts again, while its clients live on."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tools.simulation.disk import SimulatedDisk
from tools.simulation.history import History, Loss, Stored

from ottla.broker.broker import Broker
from ottla.config.broker_config import BrokerConfig
from ottla.metadata.changes import partition_key
from ottla.metadata.controller import NewTopic
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.model.errors import ApiError, StorageError
from ottla.model.ids import TopicPartition
from ottla.record.batch import batches, verify_crc
from ottla.record.records import read_records
from ottla.storage.checkpoints import CLEAN_SHUTDOWN
from ottla.storage.roots import LogsError
from ottla.testing.clock import LoopClock
from ottla.testing.lives import LIFE, DiedError, Life
from ottla.testing.network import MemoryNetwork
from ottla.testing.simulated import simulated_system
from ottla.testing.workers import SimulatedWorkers

BROKER, PORT = "10.0.0.1", 9092
TOPIC = "t"
OFFSETS = "__consumer_offsets"
NODE = 1
FORESEEN = (DiedError, StorageError, ApiError, OSError)
START_LIMIT_S = 60.0
SETTINGS = {
    "node.id": str(NODE),
    "log.dirs": "/data",
    "listeners": f"PLAINTEXT://{BROKER}:{PORT}",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "group.initial.rebalance.delay.ms": "0",
}


def _forget(line: str) -> None:
    """Nobody wants to know."""


class World:
    """Made on a virtual loop; `shape` says how this world differs from others."""

    def __init__(
        self, seed: int, shape: "Any", history: History, trace: Callable[[str], None] | None
    ):
        self.seed = seed
        self.shape = shape
        self.history = history
        self.trace = trace if trace is not None else _forget
        self.loop = asyncio.get_running_loop()
        self.chance = random.Random(f"world {seed}")
        self.bootstrap = [(BROKER, PORT)]
        """Where clients begin."""
        self.elected: tuple[str, ...] = (TOPIC,)
        """The topics that another broker leads for a moment in an election."""
        self.network = MemoryNetwork(
            seed,
            max_delay_ms=shape.delay_ms,
            max_piece=shape.max_piece,
            coalesce=shape.coalesce,
            trace=trace,
        )
        self.disk = SimulatedDisk(self.chance)
        self.disk.cold = shape.cold
        self.clock = LoopClock(self.loop)
        self.disk.now_ms = self.clock.now_ms
        self.database = MemoryDatabase()
        self.broker: Broker | None = None
        self.life: Life | None = None
        self.lives: list[Life] = []
        self.died = asyncio.Event()
        self._store: MemoryStore | None = None
        self._starts = 0
        self._flushed: dict[int, int] = {}
        self._cut_at: dict[int, float] = {}
        """When power failed since a partition was last served."""

    # Living and dying

    async def start(self) -> bool:
        """Start a broker on what there is; False if it died or failed meanwhile."""
        assert self.life is None
        self._starts += 1
        life = self.life = Life(self.loop)
        self.lives.append(life)
        self.died.clear()
        self.network.boot(BROKER)
        starting = self.loop.create_task(self._start(), context=life.context.copy())
        dying = self.loop.create_task(self.died.wait())
        await asyncio.wait(
            (starting, dying), timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED
        )
        dying.cancel()
        if starting.done() and not life.ended:
            try:
                starting.result()
            except (LogsError, StorageError, ApiError, OSError) as error:
                self.trace(f"the broker did not start: {error}")
            else:
                self._note_losses()
                return True
        self.kill(power=False)
        return False

    async def _start(self) -> None:
        shape = self.shape
        system = simulated_system(
            self.seed * 1_000 + self._starts,
            clock=self.clock,
            network=self.network,
            host=BROKER,
        )
        system.workers = SimulatedWorkers(
            self.loop, self.seed + self._starts, max_duration_ms=shape.job_ms
        )
        self._store = MemoryStore(system.transport_clock, self.database)
        configs = {"retention.ms": "-1", **shape.topic_configs}
        broker = Broker(
            BrokerConfig({**SETTINGS, **shape.settings}),
            system,
            self.disk,
            lambda directory: self._store,  # type: ignore[arg-type, return-value]
            topics=[NewTopic(TOPIC, shape.partitions, 1, (), configs)],
            failed=self._failed,
            poison=True,
        )
        await broker.start()
        self.broker = broker
        await self._lead_again(broker, self._store)

    def _failed(self, reason: str) -> None:
        """The broker cannot go on; its process ends."""
        self.trace(f"the broker gives up: {reason}")
        self.loop.call_later(0.01, self.kill, False, self.life)

    def kill(self, power: bool, life: Life | None = None, *, clean: bool = False) -> None:
        """End the process, or the whole machine, at once; harmless when it is not running."""
        if self.life is None or (life is not None and life is not self.life):
            return
        self.trace(f"{self.loop.time():.6f} {'power cut' if power else 'death'}")
        for partition, log in self._logs():
            self._flushed[partition] = log.flushed_end_offset
        if not clean:
            self.history.deaths.append(self.loop.time())
        self.life.end()
        if self._store is not None:
            self._store._closed = True
        self.network.die(BROKER, silently=power)
        self.disk.dies = None
        if power:
            self.disk.power_cut()
            for number in self._flushed:
                self._cut_at.setdefault(number, self.loop.time())
        else:
            self.disk.process_death()
        self.life = self.broker = self._store = None
        self.died.set()

    async def stop(self) -> bool:
        """Stop the broker in good order; False if it died instead."""
        broker, life = self.broker, self.life
        if broker is None or life is None:
            return False
        stopping = self.loop.create_task(broker.stop(), context=life.context.copy())
        dying = self.loop.create_task(self.died.wait())
        await asyncio.wait((stopping, dying), timeout=60, return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        clean = (
            stopping.done()
            and not life.ended
            and stopping.exception() is None
            and not broker.logs.some_are_offline  # of which nothing more was written down
        )
        if not stopping.done() and not life.ended:
            self.history.stuck.append("the broker did not stop")
        self.kill(power=False, life=life, clean=clean)
        return clean

    @property
    def stopped_cleanly(self) -> bool:
        """Whether files are trusted as they were left: a start that fails does not change that."""
        return self.disk.exists(f"/data/{CLEAN_SHUTDOWN}")

    def _logs(self) -> list[tuple[int, Any]]:
        """(partition, log); the offsets topic's are numbered -1, -2, ..."""
        if self.broker is None:
            return []
        found = []
        for partition in self.broker.replicas:
            if partition.topic == TOPIC:
                found.append((partition.partition, partition.log))
            elif partition.topic == OFFSETS:
                found.append((-1 - partition.partition, partition.log))
        return sorted(found, key=lambda each: each[0])

    def topic_logs(self) -> list[tuple[int, Any]]:
        """(partition, log) of the topic, as far as there is a broker that has them."""
        return [(number, log) for number, log in self._logs() if number >= 0]

    def _note_losses(self) -> None:
        """After a power cut: where each log ends now. With fsync there is nothing to forgive."""
        for partition, log in self._logs():
            at = self._cut_at.pop(partition, None)
            if at is not None and not self.shape.durable:
                promised = self._flushed.get(partition, 0)
                self.history.losses.append(Loss(at, partition, log.log_end_offset, promised))

    # Elections

    def start_of(self, broker: int) -> int:
        """Which start of the broker this is: what it had in memory is gone with each."""
        return self._starts

    async def elect(self) -> None:
        """Another broker leads for a moment and this one drops what was not committed.

        In the durable mode that is what was not flushed: nobody was told that it is there.
        """
        store, life, broker = self._store, self.life, self.broker
        if store is None or broker is None or life is None:
            return
        self.history.elections.append(self.loop.time())
        task = self.loop.create_task(self._elect(broker, store), context=life.context.copy())
        await asyncio.wait((task,), timeout=5)

    async def _elect(self, broker: Broker, store: MemoryStore) -> None:
        led = [
            each
            for topic in self.elected
            for each in broker.replicas.of_topic(topic)
            if each.is_leader
        ]
        for leader in (NODE + 1, NODE):
            puts = []
            for name in self.elected:
                topic = broker.follower.image.topics.get(name)
                if topic is None:
                    continue
                for number, state in enumerate(topic.partitions):
                    state = state._replace(leader=leader, leader_epoch=state.leader_epoch + 1)
                    puts.append(partition_key(topic.topic_id, number, state))
            result = await store.transact((), puts)
            await broker.follower.reached(result.revision)
            if leader == NODE:
                continue
            for partition in led:
                if partition.log.directory.is_online:
                    # A full disk may have no room for the epochs of what is left: then all stays.
                    with suppress(ApiError, StorageError):
                        partition.log.truncate_to(partition.high_watermark, self.clock.now_ms())

    async def _lead_again(self, broker: Broker, store: MemoryStore) -> None:
        """End an election that a death has cut short: who led meanwhile is gone for good."""
        puts = []
        for topic in broker.follower.image.topics.values():
            for number, state in enumerate(topic.partitions):
                if state.leader == NODE + 1:
                    state = state._replace(leader=NODE, leader_epoch=state.leader_epoch + 1)
                    puts.append(partition_key(topic.topic_id, number, state))
        if puts:
            result = await store.transact((), puts)
            await broker.follower.reached(result.revision)

    # The end

    async def finish(self) -> None:
        """Stop in good order and take down what the files hold."""
        final = self.history.final
        logs = self.topic_logs()
        for number, log in logs:
            final.log_start[number] = log.log_start_offset
            final.log_end[number] = log.log_end_offset
        if len(logs) != self.shape.partitions:
            final.damage.append(f"{len(logs)} of {self.shape.partitions} partitions are there")
        if not await self.stop():
            final.damage.append("the broker did not stop in good order")
        for number in range(self.shape.partitions):
            final.log_start.setdefault(number, 0)
            final.log_end.setdefault(number, 0)
            final.records[number] = [
                stored
                for stored in self._stored(number)
                if stored.offset >= final.log_start[number]
            ]

    def _stored(self, number: int) -> list[Stored]:
        """Every record of a partition's files; what is wrong with them goes to `damage`."""
        damage = self.history.final.damage
        directory = f"/data/{TOPIC}-{number}"
        found: list[Stored] = []
        expected: int | None = None
        for name in self.disk.list(directory) if self.disk.exists(directory) else ():
            if not name.endswith(".log"):
                continue
            data = self.disk.read(f"{directory}/{name}")
            position = 0
            for header in batches(data):
                if not verify_crc(data, header.position, header.size):
                    damage.append(f"{number}@{header.base_offset}: a wrong checksum in {name}")
                if expected is not None and header.base_offset != expected:
                    damage.append(f"{number}: {header.base_offset} where {expected} is next")
                expected = header.next_offset
                position = header.end_position
                for record in read_records(data, header.position):
                    value = bytes(record.value or b"")
                    found.append(Stored(record.offset, value, header.producer_id))
            if position != len(data):
                damage.append(f"{number}: {len(data) - position} bytes behind the end of {name}")
        end = self.history.final.log_end[number]
        if expected is not None and expected != end:
            damage.append(f"{number}: the files end at {expected}, the log at {end}")
        return found

    # What nobody foresaw

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        error = context.get("exception")
        if not isinstance(error, DiedError) and not self._is_dead():
            self.history.unexpected.append(f"{context.get('message')}: {error!r}")

    def log(self, record: logging.LogRecord) -> None:
        """Everything logged is in the trace; an exception nobody foresaw is a violation."""
        if self._is_dead():
            return
        self.trace(f"log {record.name} {record.levelname} {record.getMessage()}")
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if not isinstance(error, FORESEEN):
                self.history.unexpected.append(f"{record.getMessage()}: {error!r}")

    def _is_dead(self) -> bool:
        life = LIFE.get()
        return life is not None and life.ended

    def partition(self, number: int) -> TopicPartition:
        return TopicPartition(TOPIC, number)
