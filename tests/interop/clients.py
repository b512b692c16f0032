"""Three client libraries behind one shape, so that a test is written once.

A producer sends records to one partition and gives back their offsets; a
consumer takes records from one partition. Both stay open as long as the test
wants: a restart of the broker in between is theirs to survive.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple, Protocol

import aiokafka
import confluent_kafka

import kafka

DEADLINE_S = 60.0
LARGEST = 4 << 20

#: An hour ago: retention looks at the time of records.
RECENT_MS = int(time.time() - 3600) * 1000

Headers = tuple[tuple[str, bytes], ...]


class Record(NamedTuple):
    """What is sent, and must come back."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int = RECENT_MS


class Sender(AbstractContextManager["Sender"], Protocol):
    """An open producer."""

    def send(self, topic: str, records: Iterable[Record], partition: int = 0) -> list[int]:
        """Send and wait for every acknowledgement; the offsets, in order of the records."""


class Taker(AbstractContextManager["Taker"], Protocol):
    """An open consumer of one partition."""

    def take(self, count: int) -> list[tuple[int, Record]]:
        """The next `count` records with their offsets."""


class Client(Protocol):
    """One client library."""

    name: str

    def sender(self, bootstrap: str, compression: str = "none", idempotent: bool = False) -> Sender:
        """Open a producer with acks=all."""

    def taker(self, bootstrap: str, topic: str, partition: int = 0, offset: int = 0) -> Taker:
        """Open a consumer that begins at `offset`."""


def _unfinished(count: int, wanted: int) -> TimeoutError:
    return TimeoutError(f"{count} of {wanted} records within {DEADLINE_S:g} s")


class ConfluentSender(ExitStack):
    """librdkafka's producer."""

    def __init__(self, bootstrap: str, compression: str, idempotent: bool) -> None:
        super().__init__()
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": compression,
                "enable.idempotence": idempotent,
                "message.max.bytes": LARGEST,
                "acks": "all",
                "linger.ms": 20,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "message.timeout.ms": int(DEADLINE_S * 1000),
            }
        )

    def send(self, topic: str, records: Iterable[Record], partition: int = 0) -> list[int]:
        """Send and wait; a delivery that failed is raised."""
        outcomes: list[Any] = []

        def into(place: int) -> Callable[[Any, Any], None]:
            def delivered(error: Any, message: Any) -> None:
                outcomes[place] = error or message.offset()

            return delivered

        for place, record in enumerate(records):
            outcomes.append(None)
            self._producer.produce(
                topic,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp=record.timestamp,
                partition=partition,
                on_delivery=into(place),
            )
            self._producer.poll(0)
        if self._producer.flush(DEADLINE_S):
            raise _unfinished(sum(outcome is not None for outcome in outcomes), len(outcomes))
        for outcome in outcomes:
            if not isinstance(outcome, int):
                raise confluent_kafka.KafkaException(outcome)
        return outcomes


class ConfluentTaker(ExitStack):
    """librdkafka's consumer."""

    def __init__(self, bootstrap: str, topic: str, partition: int, offset: int) -> None:
        super().__init__()
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "none",
                "enable.auto.commit": False,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "check.crcs": True,
            }
        )
        self.callback(self._consumer.close)
        self._consumer.assign([confluent_kafka.TopicPartition(topic, partition, offset)])

    def take(self, count: int) -> list[tuple[int, Record]]:
        """The next records."""
        taken: list[tuple[int, Record]] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(taken) < count:
            if time.monotonic() > deadline:
                raise _unfinished(len(taken), count)
            message = self._consumer.poll(0.5)
            if message is None or message.error():
                continue
            headers = tuple(message.headers() or ())
            record = Record(message.key(), message.value(), headers, message.timestamp()[1])
            taken.append((message.offset(), record))
        return taken


class Confluent:
    """librdkafka through confluent-kafka."""

    name = "confluent"

    def sender(self, bootstrap: str, compression: str = "none", idempotent: bool = False) -> Sender:
        """Open a producer."""
        return ConfluentSender(bootstrap, compression, idempotent)

    def taker(self, bootstrap: str, topic: str, partition: int = 0, offset: int = 0) -> Taker:
        """Open a consumer."""
        return ConfluentTaker(bootstrap, topic, partition, offset)


class OwnLoop(ExitStack):
    """An event loop that runs only inside our calls."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self.callback(self._runner.close)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine to its end."""

        async def bounded() -> Any:
            return await asyncio.wait_for(work, DEADLINE_S)

        return self._runner.run(bounded())


class AioSender(OwnLoop):
    """aiokafka's producer."""

    def __init__(self, bootstrap: str, compression: str, idempotent: bool) -> None:
        super().__init__()

        async def opened() -> aiokafka.AIOKafkaProducer:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                compression_type=None if compression == "none" else compression,
                enable_idempotence=idempotent,
                max_request_size=LARGEST,
                acks="all",
                retry_backoff_ms=50,
            )
            await producer.start()
            return producer

        self._producer = self.wait(opened())
        self.callback(lambda: self.wait(self._producer.stop()))

    def send(self, topic: str, records: Iterable[Record], partition: int = 0) -> list[int]:
        """Send and wait."""

        async def sent() -> list[int]:
            waiting = [
                await self._producer.send(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    timestamp_ms=record.timestamp,
                    partition=partition,
                )
                for record in records
            ]
            return [metadata.offset for metadata in await asyncio.gather(*waiting)]

        offsets: list[int] = self.wait(sent())
        return offsets


class AioTaker(OwnLoop):
    """aiokafka's consumer."""

    def __init__(self, bootstrap: str, topic: str, partition: int, offset: int) -> None:
        super().__init__()
        place = aiokafka.TopicPartition(topic, partition)

        async def opened() -> aiokafka.AIOKafkaConsumer:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=bootstrap, enable_auto_commit=False, retry_backoff_ms=50
            )
            await consumer.start()
            consumer.assign([place])
            consumer.seek(place, offset)
            return consumer

        self._consumer = self.wait(opened())
        self.callback(lambda: self.wait(self._consumer.stop()))

    def take(self, count: int) -> list[tuple[int, Record]]:
        """The next records."""

        async def taken() -> list[tuple[int, Record]]:
            records: list[tuple[int, Record]] = []
            while len(records) < count:
                message = await self._consumer.getone()
                record = Record(
                    message.key, message.value, tuple(message.headers), message.timestamp
                )
                records.append((message.offset, record))
            return records

        records: list[tuple[int, Record]] = self.wait(taken())
        return records


class Aiokafka:
    """aiokafka, on asyncio."""

    name = "aiokafka"

    def sender(self, bootstrap: str, compression: str = "none", idempotent: bool = False) -> Sender:
        """Open a producer."""
        return AioSender(bootstrap, compression, idempotent)

    def taker(self, bootstrap: str, topic: str, partition: int = 0, offset: int = 0) -> Taker:
        """Open a consumer."""
        return AioTaker(bootstrap, topic, partition, offset)


class PythonSender(ExitStack):
    """kafka-python's producer."""

    def __init__(self, bootstrap: str, compression: str, idempotent: bool) -> None:
        super().__init__()
        self._producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            compression_type=None if compression == "none" else compression,
            enable_idempotence=idempotent,
            max_request_size=LARGEST,
            acks="all",
            linger_ms=20,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
            delivery_timeout_ms=int(DEADLINE_S * 1000),
        )
        self.callback(self._producer.close, timeout=5)

    def send(self, topic: str, records: Iterable[Record], partition: int = 0) -> list[int]:
        """Send and wait."""
        waiting = [
            self._producer.send(
                topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp_ms=record.timestamp,
                partition=partition,
            )
            for record in records
        ]
        return [future.get(timeout=DEADLINE_S).offset for future in waiting]


class PythonTaker(ExitStack):
    """kafka-python's consumer."""

    def __init__(self, bootstrap: str, topic: str, partition: int, offset: int) -> None:
        super().__init__()
        place = kafka.TopicPartition(topic, partition)
        self._consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
        )
        self.callback(self._consumer.close)
        self._consumer.assign([place])
        self._consumer.seek(place, offset)

    def take(self, count: int) -> list[tuple[int, Record]]:
        """The next records."""
        taken: list[tuple[int, Record]] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(taken) < count:
            if time.monotonic() > deadline:
                raise _unfinished(len(taken), count)
            polled = self._consumer.poll(timeout_ms=500, max_records=count - len(taken))
            for messages in polled.values():
                for message in messages:
                    record = Record(
                        message.key, message.value, tuple(message.headers), message.timestamp
                    )
                    taken.append((message.offset, record))
        return taken


class KafkaPython:
    """kafka-python, pure Python on threads."""

    name = "kafka-python"

    def sender(self, bootstrap: str, compression: str = "none", idempotent: bool = False) -> Sender:
        """Open a producer."""
        return PythonSender(bootstrap, compression, idempotent)

    def taker(self, bootstrap: str, topic: str, partition: int = 0, offset: int = 0) -> Taker:
        """Open a consumer."""
        return PythonTaker(bootstrap, topic, partition, offset)


CLIENTS: dict[str, Client] = {each.name: each for each in (Confluent(), Aiokafka(), KafkaPython())}
