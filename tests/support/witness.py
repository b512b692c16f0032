"""A well-behaved client that must go on being served while another one misbehaves."""

from itertools import count

from tests.support.raw_client import RawClient

from ottla.net.network import Network
from ottla.record.batch import batches
from ottla.record.builder import build_batch
from ottla.record.records import Record, read_records
from ottla.wire.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)

PRODUCE_VERSION = 11
FETCH_VERSION = 12
NOW_MS = 1_700_000_000_000
NONE = 0
TOPIC_ALREADY_EXISTS = 36


def batch(*values: bytes, timestamp_ms: int = NOW_MS, **options: object) -> bytes:
    """One batch of records without keys."""
    records = [Record(offset=0, timestamp=timestamp_ms, key=None, value=value) for value in values]
    return build_batch(records, **options)  # type: ignore[arg-type]


def produce_request(
    topic: str, records: bytes, *, acks: int = -1, transactional_id: str | None = None
) -> ProduceRequest:
    data = PartitionProduceData(index=0, records=records)
    return ProduceRequest(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=30_000,
        topic_data=[TopicProduceData(name=topic, partition_data=[data])],
    )


def fetch_request(topic: str, offset: int, **options: int) -> FetchRequest:
    partition = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1 << 20)
    return FetchRequest(topics=[FetchTopic(topic=topic, partitions=[partition])], **options)


async def create_topic(client: RawClient, name: str, partitions: int = 1, **configs: str) -> int:
    """Return the error code. Records of 2023 are kept: their timestamps are always the same."""
    topic = CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=1,
        configs=[
            CreatableTopicConfig(name=key, value=value)
            for key, value in {"retention.ms": "-1", **configs}.items()
        ],
    )
    response = await client.call(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), 5)
    code: int = response.topics[0].error_code
    return code


class Witness:
    """Writes a record and reads it back, on one connection that stays open throughout."""

    def __init__(self, client: RawClient, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._numbers = count()

    @classmethod
    async def open(cls, network: Network, host: str, port: int, topic: str) -> "Witness":
        client = await RawClient.connect(network, host, port)
        assert await create_topic(client, topic) in (NONE, TOPIC_ALREADY_EXISTS)
        for _ in range(1_000):  # until the broker has heard of the topic
            produced = await client.call(produce_request(topic, batch(b"first")), PRODUCE_VERSION)
            if produced.responses[0].partition_responses[0].error_code == NONE:
                break
        return cls(client, topic)

    async def check(self) -> None:
        """Assert that a record written now is read back as it was written."""
        value = b"witness %d" % next(self._numbers)
        produced = await self._client.call(
            produce_request(self._topic, batch(value)), PRODUCE_VERSION
        )
        (answer,) = produced.responses[0].partition_responses
        assert answer.error_code == 0, answer
        fetched = await self._client.call(
            fetch_request(self._topic, answer.base_offset), FETCH_VERSION
        )
        (data,) = fetched.responses[0].partitions
        assert data.error_code == 0, data
        first = next(batches(data.records))
        (record,) = read_records(memoryview(data.records)[: first.size])
        assert (record.offset, bytes(record.value or b"")) == (answer.base_offset, value)

    def close(self) -> None:
        self._client.close()
