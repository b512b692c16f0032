"""A consumer group that reads while the cluster is disturbed, and what its members must never see.

Members commit what they have read. Together they leave nothing out, none begins
behind a commit that was acknowledged, and what is committed in the end is the end. A record may
come again to another member after a rebalance; how often that was is counted.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from tools.cluster.journal import Journal
from tools.cluster.load import END_S, IMPATIENT, consumer, is_transient
from tools.subject.wait import until

ASKED_S = 10.0


class Members:
    """So many members of one group, each a thread."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, count: int, journal: Journal
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self.count = count
        self._journal = journal
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.group = f"{topic}-readers"
        self.repeated = 0
        """Records that came again."""
        self.assignments = 0
        """How often a member was given partitions."""
        self._given: dict[int, int] = {}
        """How many each was given last, by member."""
        self.refused: Counter[str] = Counter()
        """Commits, by error; the next one says all that they did."""
        self._next = [0] * partitions
        self._committed = [0] * partitions
        self._threads = [
            threading.Thread(target=self._run, name=f"member {n}") for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        member = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": self.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 100,
                "error_cb": self._told,
                **IMPATIENT,
            }
        )
        member.subscribe([self._topic], on_assign=self._assigned)
        while not self._stop.is_set():
            messages = member.consume(500, 0.1)
            for message in messages:
                error = message.error()
                if error is None:
                    self._take(message)
                else:
                    self._told(error)
            if messages:
                self._commit(member)
        self._commit(member)
        member.close()

    def _commit(self, member: Consumer) -> None:
        """Commit what was read, and wait: what librdkafka sends again without being waited for may
        overtake a later commit, and undo it.
        """
        try:
            places = member.commit(asynchronous=False)
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() != KafkaError._NO_OFFSET:
                with self._lock:
                    self.refused[error.name()] += 1
            return
        with self._lock:
            for place in places or ():
                if place.error is None:
                    known = self._committed[place.partition]
                    self._committed[place.partition] = max(known, place.offset)
                else:
                    self.refused[place.error.name()] += 1

    def _assigned(self, member: Consumer, places: list[TopicPartition]) -> None:
        with self._lock:
            self.assignments += 1
            self._given[id(member)] = len(places)

    @property
    def is_settled(self) -> bool:
        """Whether they share all partitions: one that came first had all of them for a moment."""
        with self._lock:
            given = self._given.values()
            return len(given) == self.count and sum(given) == len(self._next)

    def _take(self, message: Any) -> None:
        number, offset = message.partition(), message.offset()
        with self._lock:
            expected, committed = self._next[number], self._committed[number]
            self._next[number] = max(expected, offset + 1)
            self.repeated += offset < expected
        if offset > expected:
            self._journal.complain("group", f"{number}@{offset} came, @{expected} never did")
        if offset < committed:
            self._journal.complain("group", f"{number}@{offset} came, committed was @{committed}")

    def _told(self, error: KafkaError) -> None:
        if not is_transient(error):
            self._journal.complain("group", f"{error.name()} {error.str()}")

    def await_end(self, ends: Mapping[int, int]) -> None:
        """Let them read up to those offsets, which they must, and commit that."""
        try:
            until(
                "the group has read everything",
                lambda: all(self._next[number] >= end for number, end in ends.items()),
                END_S,
            )
        except TimeoutError:
            self._journal.complain("group", f"is at {self._next}, the ends are {ends}")
            return
        self.stop()
        asking = consumer(self._bootstrap, **{"group.id": self.group})
        places = [TopicPartition(self._topic, number) for number in ends]
        told = {each.partition: each.offset for each in asking.committed(places, timeout=ASKED_S)}
        asking.close()
        if any(told[number] < end for number, end in ends.items()):
            self._journal.complain("group", f"committed is {told}, the ends are {dict(ends)}")

    def stop(self) -> None:
        """Commit, and leave."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
