"""Replication against an obvious model: what was committed once is there for ever.

Three brokers have a partition. At random, records are appended to whoever believes that it
leads, followers ask, are served, hear or do not hear the answer, ISRs are proposed, decided by
a store and told, leaders are elected, brokers learn of all that late, and begin anew
with what their log has. The model is what any leader's high watermark has covered: an offset
has one value for ever, every member of the ISR that the store knows has all of them, and in the
end, when everybody hears of everything, all logs are the same.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
from tests.unit.replica.nodes import Node
from tests.unit.replica.parts import among
from tests.unit.storage.parts import batch

from ottla.metadata.election import change_isr, resigned, settle
from ottla.metadata.image import PartitionImage
from ottla.model.errors import ApiError
from ottla.record.batch import read_header
from ottla.replica.isr import joiners
from ottla.replica.leadership import Leadership
from ottla.storage.log_config import LogConfig
from ottla.wire.generated.fetch import FetchRequest, FetchResponse

BROKERS = (1, 2, 3)
STEPS = 250
SEEDS = 60
SMALL = LogConfig(segment_bytes=700, index_interval_bytes=150)


class InFlight(NamedTuple):
    leader: int
    request: FetchRequest
    response: FetchResponse | None = None


class Proposed(NamedTuple):
    leadership: Leadership
    before: PartitionImage
    after: PartitionImage
    made: bool | None = None
    """None: the store has not decided."""


class Cluster:
    def __init__(self, seed: int, *, durable: bool) -> None:
        self.random = random.Random(seed)
        self.durable = durable
        config = SMALL._replace(flush_messages=1) if durable else SMALL
        self.min_isr = self.random.choice([1, 1, 2, 2, 3])
        self.nodes = {broker: Node(broker, config) for broker in BROKERS}
        self.states = [among(1)._replace(revision=1)]
        self.seen = dict.fromkeys(BROKERS, 0)
        self.in_flight: dict[int, InFlight] = {}
        self.proposed: dict[int, Proposed] = {}
        self.committed: dict[int, tuple[int, bytes | None]] = {}
        self.acked: dict[int, bytes] = {}
        self.written = 0
        self.steps = self._steps()
        for node in self.nodes.values():
            node.know(self.nodes)
            node.partition.min_isr = self.min_isr
            node.learn(self.state)

    @property
    def state(self) -> PartitionImage:
        return self.states[-1]

    def put(self, state: PartitionImage) -> None:
        """The store has a newer state."""
        self.states.append(state._replace(revision=self.state.revision + 1))
        leader = self.nodes.get(state.leader)
        if leader is not None and state.leader_epoch != self.states[-2].leader_epoch:
            self.check_has_all(leader)

    # Steps

    def _steps(self) -> dict[Callable[[int], None], float]:
        """What may happen, and how often: each seed has favourites of its own."""
        steps: dict[Callable[[int], None], float] = {
            self.produce: 8,
            self.fetch: 20,
            self.ask: 8,
            self.serve: 8,
            self.answer: 8,
            self.lose: 1,
            self.learn: 9,
            self.elect: 2,
            self.propose: 5,
            self.decide: 8,
            self.tell: 6,
            self.restart: 1,
            self.flush: 9,
            self.delete: 1,
        }
        return {step: weight * self.random.choice([0.2, 1, 1, 4]) for step, weight in steps.items()}

    def step(self) -> None:
        (step,) = self.random.choices(list(self.steps), list(self.steps.values()))
        who = self._who(step)
        if who:
            step(self.random.choice(who))
            self.note()

    def _who(self, step: Callable[[int], None]) -> list[int]:
        """The brokers to which it may happen."""
        if step in (self.produce, self.propose, self.delete):
            return [broker for broker in BROKERS if self.nodes[broker].partition.is_leader]
        if step in (self.decide, self.tell):
            return list(self.proposed)
        if step in (self.serve, self.answer, self.lose):
            return list(self.in_flight)
        if step == self.learn:
            return [broker for broker in BROKERS if self.seen[broker] + 1 < len(self.states)]
        return list(BROKERS)

    def produce(self, broker: int) -> None:
        node = self.nodes[broker]
        partition = node.partition
        if not partition.is_leader:
            return
        count = self.random.randint(1, 3)
        self.written += 1
        value = f"{broker}:{self.written}".encode()
        data = batch(count, value=value)
        if partition.is_under_min_isr and self.random.random() < 0.5:
            return  # acks=all is refused
        result = partition.append(memoryview(data), read_header(data), 0)

        def acknowledged(error: ApiError | None) -> None:
            if error is None:
                for offset in range(result.base_offset, result.last_offset + 1):
                    assert self.acked.setdefault(offset, value) == value

        if not partition.is_under_min_isr:
            partition.when_committed(result.last_offset + 1, acknowledged)

    def fetch(self, broker: int) -> None:
        """All three without anything between them."""
        for step in (self.ask, self.serve, self.answer):
            step(broker)

    def ask(self, broker: int) -> None:
        node = self.nodes[broker]
        node.wake()
        if broker in self.in_flight or node.partition.is_leader or node.partition.leader < 0:
            return
        if node.plan.unflushed():
            return
        self.in_flight[broker] = InFlight(node.partition.leader, node.ask())

    def serve(self, broker: int) -> None:
        flight = self.in_flight.get(broker)
        if flight is None or flight.response is not None:
            return
        response = self.nodes[flight.leader].serve(flight.request)
        self.in_flight[broker] = flight._replace(response=response)

    def answer(self, broker: int) -> None:
        flight = self.in_flight.get(broker)
        if flight is None or flight.response is None:
            return
        del self.in_flight[broker]
        node = self.nodes[broker]
        if node.follows == flight.leader:
            node.take(flight.response)
            self.place(node)

    def place(self, node: Node) -> None:
        leader = self.nodes[node.partition.leader] if node.partition.leader > 0 else None
        for followed in list(node.plan.lost):
            if leader is None or not leader.partition.is_leader:
                node.plan.let_rest(followed, 100)
            else:
                epoch = leader.partition.leader_epoch
                log = leader.log
                node.plan.place(followed, epoch, log.log_start_offset, log.log_end_offset, 100)

    def lose(self, broker: int) -> None:
        """The link breaks: the request may have been served or not."""
        if self.in_flight.pop(broker, None) is not None:
            self.nodes[broker].plan.begin_anew()

    def learn(self, broker: int) -> None:
        newest = len(self.states) - 1
        if self.seen[broker] < newest:
            self.seen[broker] = self.random.randint(self.seen[broker] + 1, newest)
            self.follow(broker)

    def follow(self, broker: int) -> None:
        node = self.nodes[broker]
        before = node.follows
        node.know(self.nodes)
        node.learn(self.states[self.seen[broker]])
        if node.follows != before:
            self.in_flight.pop(broker, None)

    def elect(self, broker: int) -> None:
        """The controller misses a broker, which may live: it leaves the ISR, and another leads."""
        usable = set(BROKERS) - {broker}
        if self.random.random() < 0.3:
            usable = {self.random.choice(BROKERS)}
        after = settle(self.state, usable, self.min_isr)
        if after is not self.state:
            self.put(after)

    def lead_anew(self, broker: int) -> None:
        """Whoever led has begun anew, so somebody, the same perhaps, leads in another epoch."""
        after = settle(resigned(self.state, broker), BROKERS, self.min_isr)
        self.put(after)

    def propose(self, broker: int, *, drop: float = 0.3) -> None:
        node = self.nodes[broker]
        leadership = node.partition.leadership
        if leadership is None or broker in self.proposed:
            return
        before = leadership.state
        members = set(before.isr)
        for member in before.isr:
            if member != broker and self.random.random() < drop:
                members.discard(member)
        found = joiners(
            leadership,
            high_watermark=node.partition.high_watermark,
            epoch_start=node.partition.epoch_start,
        )
        members |= {
            follower.broker_id
            for follower in found
            if follower.broker_epoch == self.nodes[follower.broker_id].epoch
        }
        after = change_isr(before, members, self.min_isr)
        if after is not before:
            node.partition.propose_isr(after.isr)
            self.proposed[broker] = Proposed(leadership, before, after)

    def decide(self, broker: int) -> None:
        """The store compares; a member that was added must be of the incarnation that fetched."""
        change = self.proposed.get(broker)
        if change is None or change.made is not None:
            return
        added = set(change.after.isr) - set(change.before.isr)
        made = change.before.revision == self.state.revision and all(
            change.leadership.followers[member].broker_epoch == self.nodes[member].epoch
            for member in added
        )
        if made:
            self.put(change.after)
            change = change._replace(after=self.state)
        self.proposed[broker] = change._replace(made=made)

    def tell(self, broker: int) -> None:
        change = self.proposed.get(broker)
        if change is None or change.made is None:
            return
        del self.proposed[broker]
        partition = self.nodes[broker].partition
        if not change.made:
            self.seen[broker] = len(self.states) - 1
            self.follow(broker)
        if partition.leadership is change.leadership:
            partition.settle_isr(change.after if change.made else None)

    def restart(self, broker: int) -> None:
        """It leads in no epoch it led in before; its high watermark may be an old one."""
        node = self.nodes[broker]
        high_watermark = self.random.randint(
            node.log.log_start_offset, node.partition.high_watermark
        )
        node.restart(high_watermark)
        self.in_flight.pop(broker, None)
        self.proposed.pop(broker, None)
        if self.state.leader == broker:
            self.lead_anew(broker)
        for flight_of, flight in list(self.in_flight.items()):
            if flight.leader == broker:
                self.lose(flight_of)
        self.seen[broker] = len(self.states) - 1
        self.follow(broker)

    def flush(self, broker: int) -> None:
        if self.durable:
            self.nodes[broker].flush()

    def delete(self, broker: int) -> None:
        partition = self.nodes[broker].partition
        if partition.is_leader and partition.high_watermark > partition.log.log_start_offset:
            start = self.random.randint(partition.log.log_start_offset, partition.high_watermark)
            partition.advance_log_start(start)

    # Checks

    def note(self) -> None:
        """What the leaders' high watermarks cover is committed."""
        for node in self.nodes.values():
            partition = node.partition
            if partition.is_leader and partition.high_watermark > len(self.committed):
                for offset, record in node.records().items():
                    if offset < partition.high_watermark:
                        assert self.committed.setdefault(offset, record) == record, offset
                for offset in range(partition.high_watermark):
                    assert offset in self.committed, "it was deleted before anybody saw it"

    def check(self) -> None:
        for node in self.nodes.values():
            for offset, record in node.records().items():
                if offset < node.partition.high_watermark:
                    assert self.committed[offset] == record, (node.broker_id, offset)
        for member in self.state.isr:
            self.check_has_all(self.nodes[member])

    def check_has_all(self, node: Node) -> None:
        found = node.records()
        for offset, record in self.committed.items():
            if offset >= node.log.log_start_offset:
                assert found.get(offset) == record, (node.broker_id, offset, found.get(offset))

    # The end

    def heal(self) -> None:
        self.in_flight.clear()
        for broker in list(self.proposed):
            self.decide(broker)
            self.tell(broker)
        self.put(settle(self.state, BROKERS, self.min_isr))
        for broker, node in self.nodes.items():
            self.seen[broker] = len(self.states) - 1
            self.follow(broker)
            node.plan.begin_anew()
        leader = self.nodes[self.state.leader]
        for _ in range(40):
            for node in self.nodes.values():
                if node is not leader:
                    node.wake()
                    if self.durable:
                        node.flush()
                    node.plan.unflushed()
                    node.take(leader.serve(node.ask()))
                    self.place(node)
            if self.durable:
                leader.flush()
            self.propose(leader.broker_id, drop=0)
            self.decide(leader.broker_id)
            self.tell(leader.broker_id)
            self.note()
        self.check()
        start = max(node.log.log_start_offset for node in self.nodes.values())
        theirs = {o: record for o, record in leader.records().items() if o >= start}
        for node in self.nodes.values():
            mine = {o: record for o, record in node.records().items() if o >= start}
            assert mine == theirs, node.broker_id
            assert node.partition.high_watermark == leader.log.log_end_offset
        for offset, value in self.acked.items():
            assert self.committed[offset][1] == value, "acknowledged, and not there"


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("part", range(3))
def test_what_was_committed_once_is_there_for_ever(durable: bool, part: int) -> None:
    for seed in range(part, SEEDS, 3):
        cluster = Cluster(seed, durable=durable)
        try:
            for number in range(STEPS):
                cluster.step()
                if number % 10 == 9:
                    cluster.check()
            cluster.heal()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
