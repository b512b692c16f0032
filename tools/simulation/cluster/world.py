"""Three machines, one metadata store, and a network between them and their clients."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from tools.simulation.cluster.history import ClusterHistory, Held, Leads, Replica
from tools.simulation.cluster.machine import PORT, TOPIC, Machine
from tools.simulation.history import Stored
from tools.simulation.world import FORESEEN

from ottla.metadata.changes import from_snapshot
from ottla.metadata.image import Image
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.model.errors import PeerError
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.record.batch import batches, verify_crc
from ottla.record.records import read_records
from ottla.testing.clock import LoopClock
from ottla.testing.lives import LIFE, DiedError
from ottla.testing.network import MemoryNetwork

BROKERS = (1, 2, 3)
LOOKS_EVERY_S = 0.05
UNCLEAN = ("though it may lack committed", "lost records that were committed")


def _forget(line: str) -> None:
    """Nobody wants to know."""


class ClusterWorld:
    """Made on a virtual loop; `shape` says how this world differs from others."""

    may_have_holes = False
    """Whether compaction takes records out of logs."""

    def __init__(
        self, seed: int, shape: Any, history: ClusterHistory, trace: Callable[[str], None] | None
    ) -> None:
        self.seed = seed
        self.shape = shape
        self.history = history
        self.trace = trace if trace is not None else _forget
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock(self.loop)
        self.network = MemoryNetwork(
            seed,
            max_delay_ms=shape.delay_ms,
            max_piece=shape.max_piece,
            coalesce=shape.coalesce,
            trace=trace,
        )
        self._database = MemoryDatabase()
        self.store = MemoryStore(LoopClock(self.loop, start_ms=0), self._database)
        self.aimed_at = TOPIC
        """The topic whose leaders, logs and states faults and moves are about."""
        self._image: Image | None = None
        self.store_is_down = False
        self.machines = {broker: Machine(self, broker) for broker in BROKERS}
        self.bootstrap = [(machine.host, PORT) for machine in self.machines.values()]
        random.Random(f"bootstrap {seed}").shuffle(self.bootstrap)

    async def start(self) -> bool:
        """Start all of them side by side."""
        return all(await asyncio.gather(*(machine.start() for machine in self.machines.values())))

    # Looking

    async def look(self) -> None:
        """Take down, for ever, who leads and who has what."""
        last: dict[int, tuple[Any, ...]] = {}
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            await self.look_now(last)

    async def look_now(self, last: dict[int, tuple[Any, ...]]) -> None:
        history = self.history
        for machine in self.machines.values():
            if machine.broker is None:
                continue
            for name in {TOPIC: None, self.aimed_at: None}:
                for each in machine.broker.replicas.of_topic(name):
                    if each.is_leader:
                        epoch, life = each.leader_epoch, machine.starts
                        leads = Leads(name, each.partition, epoch, machine.id, life)
                        history.leaders.setdefault(leads, self.loop.time())
        topic = (await self.image()).topics.get(TOPIC)
        if topic is None:
            return
        ends = {machine.id: machine.ends() for machine in self.machines.values()}
        for number, state in enumerate(topic.partitions):
            sure = tuple(each for each in state.elr if each not in state.doubtful)
            eligible = (*state.isr, *sure) or state.elr or (state.last_known_leader,)
            eligible = tuple(each for each in eligible if each not in state.offline_replicas)
            of_all = {broker: ends[broker].get(number) for broker in state.replicas}
            now = (eligible, of_all, history.seen.get(number, 0))
            if last.get(number) != now:
                last[number] = now
                history.held.append(Held(self.loop.time(), number, *now))

    async def image(self) -> Image:
        """What is in the store now; made anew only where something was written meanwhile."""
        if self._image is None or self._image.revision != self._database.revision:
            self._image = from_snapshot(await self.store.load())
        return self._image

    def start_of(self, broker: int) -> int:
        """Which start of which broker this is: what it had in memory is gone with each."""
        return broker * 10_000 + self.machines[broker].starts

    def partition(self, number: int) -> TopicPartition:
        return TopicPartition(TOPIC, number)

    # The end

    def unsettled(self, image: Image) -> str:
        """What is not yet as it should be once everything is healed; "" if all is."""
        brokers = [m.broker for m in self.machines.values() if m.broker is not None]
        if len(brokers) < len(self.machines):
            return "not all brokers run"
        for broker in brokers:
            if broker.follower.image.revision != image.revision:
                return f"broker {broker.config.node_id} has not followed all of the metadata"
        if image.controller_id == NO_BROKER or len(image.brokers) < len(self.machines):
            return f"controller {image.controller_id}, brokers {sorted(image.brokers)}"
        for topic in image.topics.values():
            for number, state in enumerate(topic.partitions):
                if state.adding or state.removing:
                    return f"{topic.name}-{number} is moved: {state}"
                if state.leader == NO_BROKER or set(state.isr) != set(state.replicas):
                    return f"{topic.name}-{number}: {state}"
                found = [
                    m.broker.replicas.find_by_name(topic.name, number)
                    for m in self.machines.values()
                    if m.id in state.replicas and m.broker is not None
                ]
                if any(each is None for each in found):
                    return f"{topic.name}-{number} is not on all brokers"
                ends = [(x.high_watermark, x.log.log_end_offset) for x in found if x is not None]
                if len({end for pair in ends for end in pair}) > 1:
                    return f"{topic.name}-{number}: (high watermark, end) are {ends}"
        return ""

    async def settled(self, limit_s: float) -> None:
        """Wait until all is as it should be."""
        until = self.loop.time() + limit_s
        while why := self.unsettled(await self.image()):
            if self.loop.time() > until:
                self.history.stuck.append(f"{limit_s:g} s after all was healed: {why}")
                return
            await asyncio.sleep(0.25)

    async def finish(self) -> None:
        """Take down what the files hold; nobody writes any more."""
        history, final = self.history, self.history.final
        topic = (await self.image()).topics[TOPIC]
        for machine in self.machines.values():
            if machine.broker is None:
                continue
            history.topics[machine.id] = {
                each.name: len(each.partitions)
                for each in machine.broker.follower.image.topics.values()
            }
            for each in machine.broker.replicas.of_topic(TOPIC):
                history.replicas[each.partition, machine.id] = Replica(
                    each.log.log_start_offset,
                    each.high_watermark,
                    each.log.log_end_offset,
                    self._batches(machine, each.partition),
                    tuple(each.log.leader_epochs),
                )
        for number, state in enumerate(topic.partitions):
            replica = history.replicas.get((number, state.leader))
            final.log_start[number] = 0 if replica is None else replica.log_start
            final.log_end[number] = 0 if replica is None else replica.log_end
            final.records[number] = [] if replica is None else _records(replica)

    def _batches(self, machine: Machine, number: int) -> dict[int, tuple[int, bytes]]:
        """What a replica's files hold; what is wrong with them goes to `damage`."""
        damage = self.history.final.damage
        directory = f"/data/{TOPIC}-{number}"
        name_of = f"broker {machine.id}, {number}"
        found: dict[int, tuple[int, bytes]] = {}
        expected: int | None = None
        for name in machine.disk.list(directory) if machine.disk.exists(directory) else ():
            if not name.endswith(".log"):
                continue
            data = machine.disk.read(f"{directory}/{name}")
            for header in batches(data):
                if not verify_crc(data, header.position, header.size):
                    damage.append(f"{name_of}@{header.base_offset}: a wrong checksum in {name}")
                if expected is not None and (
                    header.base_offset < expected
                    or (header.base_offset > expected and not self.may_have_holes)
                ):
                    damage.append(f"{name_of}: {header.base_offset} where {expected} is next")
                expected = header.next_offset
                found[header.base_offset] = (
                    header.next_offset,
                    bytes(data[header.position : header.end_position]),
                )
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
        message = record.getMessage()
        life = LIFE.get()
        who = [m.id for m in self.machines.values() if life is not None and m.life is life]
        self.trace(f"{self.loop.time():.6f} log {who} {record.name} {record.levelname} {message}")
        if any(words in message for words in UNCLEAN):
            self.history.unclean.append(f"{who} at {self.loop.time():.3f} s: {message}")
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if not isinstance(error, (*FORESEEN, PeerError)):
                self.history.unexpected.append(f"{who}: {message}: {error!r}")

    def _is_dead(self) -> bool:
        life = LIFE.get()
        return life is not None and life.ended


def _records(replica: Replica) -> list[Stored]:
    found = []
    for _, (_, data) in sorted(replica.batches.items()):
        for header in batches(data):
            for record in read_records(data, header.position):
                if record.offset >= replica.log_start:
                    value = bytes(record.value or b"")
                    found.append(Stored(record.offset, value, header.producer_id))
    return found
