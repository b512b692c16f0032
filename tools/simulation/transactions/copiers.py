"""Clients that write in transactions: a feeder, copiers with their zombies, one who dies for good."""

import asyncio
import random
from collections.abc import Callable
from typing import NamedTuple

from tools.simulation.history import Outcome
from tools.simulation.readers import view_of
from tools.simulation.transactions.history import (
    Attempt,
    Initiated,
    Moved,
    TransactionHistory,
    Wrote,
)
from tools.simulation.world import TOPIC, World

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer
from ottla.client.groups import Groups
from ottla.client.producer import Delivery
from ottla.client.transactional_producer import FencedError, TransactionalProducer
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel

INPUT = 0
TIMEOUTS_S = (1.0, 3.0, 10.0)
ABORTS = 0.15
STALLS = 0.12


class Job(NamedTuple):
    """Who copies what: `source` is None for who has values of its own."""

    transactional_id: str
    source: int | None
    outputs: tuple[int, ...]
    peeks_at: int

    @property
    def group(self) -> str:
        return f"group-{self.transactional_id}"


class Client:
    """One life of a client, on one host: transactions until there is nothing left to do."""

    def __init__(
        self,
        world: World,
        history: TransactionHistory,
        job: Job,
        life: int,
        host: str,
        target: Callable[[], int | None],
        is_newest: Callable[[int], bool] = lambda life: True,
    ) -> None:
        """`target`: where the source ends, once that is known. `is_newest` of a life: who is
        not, and is fenced, knows that its work is done by another.
        """
        self.chance = random.Random(f"{job.transactional_id} {life} {world.seed}")
        self.job = job
        self._world = world
        self._history = history
        self._life = life
        self._host = host
        self._target = target
        self._is_newest = is_newest
        self._timeout_s = self.chance.choice(TIMEOUTS_S)
        self._numbers = 0
        self._position = 0
        self._committed = 0
        self._born = 0.0
        self._stalls_left = 2
        self._left = self.chance.randint(4, 9)

    async def run(self) -> None:
        """Until all is copied, or another life of this transactional id has taken over."""
        while True:
            try:
                await self._live()
                return
            except FencedError:
                if not self._is_newest(self._life):
                    return
            except (ApiError, PeerError):
                await asyncio.sleep(0.2)

    async def _live(self) -> None:
        world = self._world
        async with view_of(world, self._host) as view:
            producer = TransactionalProducer(
                view,
                self.job.transactional_id,
                timeout_ms=round(self._timeout_s * 1000),
                linger_ms=self.chance.choice((0, 5)),
                now_ms=world.clock.now_ms,
                below=self.chance.randrange,
            )
            async with Consumer(
                view, isolation=IsolationLevel.READ_COMMITTED, max_wait_ms=1_000
            ) as consumer:
                await self._take_over(view, producer)
                while not await self._work(view, producer, consumer):
                    await self._take_over(view, producer)

    async def _take_over(self, view: ClusterView, producer: TransactionalProducer) -> None:
        """Begin an epoch, and look where to go on."""
        start = self._world.loop.time()
        await producer.init()
        assert producer.identity is not None
        self._born = self._world.loop.time()
        self._history.initiated.append(
            Initiated(self.job.transactional_id, producer.identity, start, self._born)
        )
        if self.job.source is not None:
            source = TopicPartition(TOPIC, self.job.source)
            found = await Groups(view).committed(self.job.group, [source], stable=True)
            self._position = self._committed = found[source].offset if source in found else 0

    async def _work(
        self, view: ClusterView, producer: TransactionalProducer, consumer: Consumer
    ) -> bool:
        """Transactions, until all is done (True), or the producer must begin anew."""
        chance = self.chance
        while True:
            count, read = await self._input(consumer)
            if not count:
                if self._is_done():
                    return True
                await asyncio.sleep(0.1)
                continue
            attempt = self._begin(producer)
            attempt.read += read
            try:
                await self._transact(view, producer, attempt, count)
            except FencedError:
                raise
            except (ApiError, PeerError):
                if not await self._give_up(producer, attempt):
                    return False
            if attempt.commits and attempt.outcome is Outcome.OK:
                self._committed = self._position
            else:
                self._position = self._committed
            await asyncio.sleep(chance.choice((0.0, 0.02, 0.2)))

    def _is_done(self) -> bool:
        target = self._target()
        if self.job.source is None:
            return not self._left
        return target is not None and self._position >= target

    async def _input(self, consumer: Consumer) -> tuple[int, list[bytes]]:
        """How many records to write, and what was read for them."""
        if self.job.source is None:
            if not self._left:
                return 0, []
            self._left -= 1
            return self.chance.randint(1, 3), []
        source = TopicPartition(TOPIC, self.job.source)
        consumer.assign({source: self._position})
        read = [
            bytes(record.value or b"")
            for batch in await consumer.poll(1_000)
            for record in batch.records
        ]
        self._position = consumer.positions()[source]
        return len(read), read

    # One transaction

    def _begin(self, producer: TransactionalProducer) -> Attempt:
        producer.begin()
        assert producer.identity is not None
        self._numbers += 1
        job = self.job
        attempt = Attempt(
            f"{job.transactional_id}.{self._life}.{self._numbers}",
            job.transactional_id,
            producer.identity,
            self._timeout_s,
            self._born,
            self._world.loop.time(),
        )
        self._history.attempts.append(attempt)
        return attempt

    async def _transact(
        self, view: ClusterView, producer: TransactionalProducer, attempt: Attempt, count: int
    ) -> None:
        chance, job = self.chance, self.job
        for number in range(count):
            await self._write(producer, attempt, number)
            await self._perhaps_stall()
        if chance.random() < 0.3:
            await producer.flush()
            attempt.read += await self._peek(view)
        if job.source is not None:
            attempt.moved = Moved(job.group, job.source, self._committed, self._position)
            await producer.send_offsets(
                job.group, {TopicPartition(TOPIC, job.source): self._position}
            )
        await self._perhaps_stall()
        await self._end(producer, attempt, commits=chance.random() >= ABORTS)

    async def _write(self, producer: TransactionalProducer, attempt: Attempt, number: int) -> None:
        value = f"{attempt.name}:{number}".encode()
        partition = self.chance.choice(self.job.outputs)
        loop = self._world.loop
        start = loop.time()
        done = await producer.send(TOPIC, value, partition=partition)

        def note(future: "asyncio.Future[Delivery]") -> None:
            outcome = Outcome.UNKNOWN
            if not future.cancelled() and future.exception() is None:
                outcome = Outcome.OK
            attempt.wrote.append(Wrote(value, partition, start, loop.time(), outcome))

        done.add_done_callback(note)

    async def _perhaps_stall(self) -> None:
        if self._stalls_left and self.chance.random() < STALLS:
            self._stalls_left -= 1
            await asyncio.sleep(self.chance.choice((0.1, 0.5, self._timeout_s + 0.5)))

    async def _peek(self, view: ClusterView) -> list[bytes]:
        """What is to be read of others in the midst of a transaction."""
        place = TopicPartition(TOPIC, self.job.peeks_at)
        read: list[bytes] = []
        async with Consumer(
            view, isolation=IsolationLevel.READ_COMMITTED, max_wait_ms=50
        ) as consumer:
            consumer.assign({place: 0})
            for batch in await consumer.poll(50):
                read += [bytes(record.value or b"") for record in batch.records]
        return read

    async def _end(
        self, producer: TransactionalProducer, attempt: Attempt, *, commits: bool
    ) -> None:
        if commits:
            await producer.flush()
            if producer.failure is not None:
                raise producer.failure
        attempt.commits, attempt.ends = commits, self._world.loop.time()
        await (producer.commit() if commits else producer.abort())
        if producer.identity == attempt.producer:  # nothing was sent, so nobody was asked
            attempt.commits = None
            return
        attempt.end, attempt.outcome = self._world.loop.time(), Outcome.OK

    async def _give_up(self, producer: TransactionalProducer, attempt: Attempt) -> bool:
        """Abort what cannot be committed; False where only a new epoch helps."""
        if attempt.commits is not None:
            return False
        try:
            await self._end(producer, attempt, commits=False)
        except FencedError:
            raise
        except (ApiError, PeerError):
            return False
        return True


class Lives:
    """The lives of one job, one after the other: the one before may go on as a zombie."""

    def __init__(
        self,
        world: World,
        history: TransactionHistory,
        job: Job,
        hosts: list[str],
        target: Callable[[], int | None],
    ) -> None:
        self._world = world
        self._history = history
        self._job = job
        self._hosts = hosts
        self._target = target
        self._newest = 0
        self._chance = random.Random(f"lives {job.transactional_id} {world.seed}")

    async def run(self) -> None:
        """Until the last life has done the work, and no other goes on."""
        chance = self._chance
        running: list[asyncio.Task[None]] = []
        for life in range(chance.randint(1, 3)):
            if life:
                await asyncio.wait(running, timeout=chance.choice((0.3, 1.0, 3.0)))
                if chance.random() < 0.3:
                    for each in running:
                        each.cancel()  # dies with what it has open
                    if chance.random() < 0.5:
                        await asyncio.sleep(chance.choice((0.5, 4.0)))
            self._newest = life
            running.append(asyncio.create_task(self._client(life).run()))
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    def _client(self, life: int) -> Client:
        host = self._hosts[life % len(self._hosts)]
        return Client(
            self._world,
            self._history,
            self._job,
            life,
            host,
            self._target,
            lambda life: life == self._newest,
        )


class Leaver(Client):
    """Writes in one transaction, and is never heard of again."""

    async def _transact(
        self, view: ClusterView, producer: TransactionalProducer, attempt: Attempt, count: int
    ) -> None:
        for number in range(count):
            await self._write(producer, attempt, number)
        await asyncio.Event().wait()

    async def run(self) -> None:
        task = asyncio.create_task(super().run())
        await asyncio.wait((task,), timeout=self.chance.uniform(0.5, 3.0))
        task.cancel()
