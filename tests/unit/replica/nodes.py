"""Brokers that each have a replica of one partition, joined by calls instead of links."""

from types import SimpleNamespace
from typing import Any

from tests.unit.handlers.parts import Asker, Brokerlet

from ottla.handlers.fetch import fetch
from ottla.metadata.image import BrokerImage, Image, PartitionImage
from ottla.model.ids import BrokerId
from ottla.record.batch import batches
from ottla.record.records import read_records
from ottla.record.validate import ProduceRules
from ottla.replica.fetch_plan import FetchPlan, Followed
from ottla.replica.partition import Partition
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.wire.generated.fetch import FetchRequest, FetchResponse

BACKOFF_MS = 100
NEVER_WAIT: Any = SimpleNamespace(
    replica_fetch_backoff_ms=BACKOFF_MS,
    replica_fetch_max_bytes=1 << 20,
    replica_fetch_min_bytes=1,
    replica_fetch_response_max_bytes=1 << 20,
    replica_fetch_wait_max_ms=0,
)


class Node:
    """A broker with a replica of partition 0 of "t"."""

    def __init__(self, broker_id: BrokerId, config: LogConfig | None = None) -> None:
        self.broker_id = broker_id
        self.epoch = 10 * broker_id
        """Of its registration; raised with each incarnation."""
        self.broker = Brokerlet()
        self.broker.broker_id = broker_id
        self.broker.create("t", config=config)
        self.partition = self.broker.partition("t")
        self.partition.resign()
        self.failures: list[Partition] = []
        self.resting: list[Followed] = []
        self.plan = self._new_plan()
        self.follows: BrokerId = -1

    def _new_plan(self) -> FetchPlan:
        self.resting.clear()
        return FetchPlan(
            self.broker_id,
            now_ms=lambda: 0,
            rest=lambda followed, delay_ms: self.resting.append(followed),
            failed=lambda partition, error: self.failures.append(partition),
        )

    @property
    def log(self) -> Log:
        return self.partition.log

    def know(self, nodes: dict[BrokerId, "Node"]) -> None:
        """Learn which brokers there are, in which incarnations."""
        brokers = {
            each.broker_id: BrokerImage(each.broker_id, each.epoch, None, ())
            for each in nodes.values()
        }
        image = self.broker.image
        self.broker.image = Image(
            brokers=brokers, topics=image.topics, topic_names=image.topic_names
        )

    def learn(self, state: PartitionImage) -> None:
        """Take the role that a state gives."""
        if state.leader == self.broker_id:
            self.partition.become_leader(state)
        else:
            self.partition.become_follower(state)
        if self.follows != self.partition.leader:
            self.plan = self._new_plan()
            self.follows = self.partition.leader
        if not self.partition.is_leader and self.partition.leader >= 0:
            self.plan.add(self.partition)

    def restart(self, high_watermark: int) -> None:
        """Begin anew with what the log has; the checkpoint says `high_watermark`."""
        old = self.partition
        old.resign()
        self.broker.replicas.remove(old)
        log = old.log
        log.high_watermark = high_watermark
        self.partition = Partition(
            "t",
            0,
            old.topic_id,
            log,
            rules=ProduceRules(),
            request_flush=self.broker.flushes.append,
        )
        self.partition.min_isr = old.min_isr
        self.broker.replicas.add(self.partition)
        self.broker.fetch_sessions = type(self.broker.fetch_sessions)(
            100, self.broker.fetch_sessions._randomness
        )
        self.epoch += 1
        self.plan = self._new_plan()
        self.follows = -1

    def flush(self) -> None:
        self.log.flush()
        self.partition.advance_high_watermark(0)

    def wake(self) -> None:
        """Who rested has rested enough."""
        resting, self.resting = self.resting, []
        for followed in resting:
            self.plan.rested(followed)

    def ask(self) -> FetchRequest:
        self.plan.ask_as(self.epoch)
        return self.plan.request(NEVER_WAIT)

    def serve(self, request: FetchRequest) -> FetchResponse:
        answer: Any = fetch(Asker(self.broker, 18), request)  # type: ignore[arg-type]
        self.broker.turn()
        return answer if isinstance(answer, FetchResponse) else answer.answers[0]

    def take(self, response: FetchResponse) -> None:
        for _ in self.plan.take(response, BACKOFF_MS):
            pass

    def fetch_from(self, leader: "Node") -> None:
        """A whole round."""
        self.wake()
        self.take(leader.serve(self.ask()))

    def records(self) -> dict[int, tuple[int, bytes | None]]:
        """(leader epoch, value) of every record, by offset."""
        found: dict[int, tuple[int, bytes | None]] = {}
        offset = self.log.log_start_offset
        while offset < self.log.log_end_offset:
            result = self.log.read(offset, 1 << 20)
            for header in batches(result.records):
                for record in read_records(result.records, header.position):
                    found[record.offset] = header.leader_epoch, record.value
            offset = result.next_offset
        return found
