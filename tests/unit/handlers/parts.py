"""A broker small enough to hold in the hand: topics over logs in memory, and one who asks."""

from collections.abc import Callable, Generator
from functools import partial
from types import SimpleNamespace
from typing import Any

from tests.unit.replica.parts import alone
from tests.unit.storage.parts import CountingRandomness, batch, make_log

from ottla.handlers.fetch_sessions import FetchSessions
from ottla.handlers.timeouts import Timeouts
from ottla.metadata.image import BrokerImage, Endpoint, Image, PartitionImage, TopicImage
from ottla.model.ids import Uuid
from ottla.model.workers import Lane
from ottla.record.batch import read_header
from ottla.record.validate import ProduceRules
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.clock import ManualClock

LED = PartitionImage(1, 0, 0, (1,), (1,))
PLENTY = 1 << 30


def id_of(name: str, incarnation: int = 0) -> Uuid:
    return name.encode().ljust(15, b".") + bytes([incarnation])


class Reply:
    """An answer that comes later: `answers` has it when it came."""

    def __init__(self, *, blocking: bool) -> None:
        self.blocking = blocking
        self.abandoned = False
        self.at_head = True
        self.answers: list[Any] = []
        self.pending = self
        self._begin: Callable[[], None] | None = None

    def respond(self, response: Any) -> None:
        self.answers.append(response)

    def begin_at_head(self, begin: Callable[[], None]) -> None:
        if self.at_head:
            begin()
        else:
            self._begin = begin

    def reach_head(self) -> None:
        """Every earlier answer has left."""
        self.at_head = True
        if self._begin is not None:
            self._begin()


class Job:
    """A job of `Jobs`, and its result once it ran."""

    def __init__(self, lane: Lane, job: Callable[[], Any]) -> None:
        self.lane = lane
        self._job = job
        self._callbacks: list[Callable[[Job], object]] = []
        self._outcome: Callable[[], Any] | None = None

    def add_done_callback(self, callback: "Callable[[Job], object]") -> None:
        self._callbacks.append(callback)

    def result(self) -> Any:
        assert self._outcome is not None
        return self._outcome()

    def __await__(self) -> Generator[None, None, Any]:
        while self._outcome is None:
            yield
        return self.result()

    def run(self) -> None:
        try:
            value = self._job()
        except Exception as error:
            self._outcome = partial(_throw, error)
        else:
            self._outcome = lambda: value
        self._tell()

    def fail(self, error: Exception) -> None:
        """Deliver `error` instead of running the job."""
        self._outcome = partial(_throw, error)
        self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback(self)


def _throw(error: Exception) -> Any:
    raise error


class Jobs:
    """Workers that work when told to."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []

    def submit(self, lane: Lane, job: Callable[[], Any]) -> Job:
        self.waiting.append(Job(lane, job))
        return self.waiting[-1]

    def run_all(self) -> None:
        while self.waiting:
            self.waiting.pop(0).run()


class Brokerlet:
    """The parts of `BrokerViews` that fetch and produce use."""

    def __init__(self, *, fetch_max_bytes: int = PLENTY, slots: int = 100) -> None:
        self.image = Image(
            brokers={1: BrokerImage(1, 1, "r", (Endpoint("PLAINTEXT", "host", 9092),))}
        )
        self.broker_id = 1
        self.replicas = Replicas()
        self.clock = ManualClock()
        self.transport_clock = ManualClock()
        self.produce_timeouts = Timeouts(self.transport_clock)
        self.config = SimpleNamespace(fetch_max_bytes=fetch_max_bytes, replica_selector_class=None)
        self.answers = SimpleNamespace(left=PLENTY)
        self.workers = Jobs()
        self.throttles = None
        self.fetch_sessions = FetchSessions(slots, CountingRandomness())
        self.flushes: list[Partition] = []
        self.disk: MemoryDisk | None = None
        """Where the first partition of a new topic lies; None: on a disk of its own."""
        self._soon: list[Callable[[], object]] = []

    def soon(self, callback: Callable[[], object]) -> None:
        self._soon.append(callback)

    def turn(self) -> None:
        """One turn of the loop."""
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()

    def create(
        self, name: str, partitions: int = 1, config: LogConfig | None = None, incarnation: int = 0
    ) -> None:
        topic_id = id_of(name, incarnation)
        for number in range(partitions):
            partition = Partition(
                name,
                number,
                topic_id,
                make_log(self.disk, config) if number == 0 else make_log(None, config),
                rules=ProduceRules(),
                request_flush=self.flushes.append,
            )
            partition.become_leader(alone(0))
            self.replicas.add(partition)
        topic = TopicImage(name, topic_id, (LED,) * partitions, {})
        self._change({**self.image.topics, name: topic}, name)

    def delete(self, name: str) -> None:
        for partition in self.replicas.of_topic(name):
            self.replicas.remove(partition)
            partition.resign()
        self._change({k: v for k, v in self.image.topics.items() if k != name}, name)

    def _change(self, topics: dict[str, TopicImage], name: str) -> None:
        ids = {topic.topic_id: topic.name for topic in topics.values()}
        self.image = Image(brokers=self.image.brokers, topics=topics, topic_names=ids)
        self.fetch_sessions.dirty_topics([name])

    def partition(self, name: str, number: int = 0) -> Partition:
        found = self.replicas.find_by_name(name, number)
        assert found is not None
        return found

    def append(self, name: str, number: int = 0, count: int = 1, **options: Any) -> None:
        data = batch(count, **options)
        self.partition(name, number).append(memoryview(data), read_header(data), 0)


class Asker:
    """Stands for `Context`: one connection, whose requests may stand behind others."""

    def __init__(self, broker: Brokerlet, version: int) -> None:
        self.broker = broker
        self.api_version = version
        self.client_id = "c"
        self.nothing_before = True
        self.detached = 0
        self.connection = SimpleNamespace(detach=self._detach)
        self.client = SimpleNamespace(leaders={})
        self.replies: list[Reply] = []

    def _detach(self) -> None:
        self.detached += 1

    def later(self, *, blocking: bool) -> Reply:
        self.replies.append(Reply(blocking=blocking))
        self.replies[-1].at_head = self.nothing_before
        return self.replies[-1]

    def authorize(self, operation: str, resource_type: str, name: str) -> bool:
        return True

    def address_of(self, broker_id: int) -> tuple[str, int]:
        return "host", 9092
