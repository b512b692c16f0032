"""The parts of a Fetch answer that are no records, field by field as Kafka 4.3.1 fills them."""

import asyncio
import time
from typing import Any

import pytest
from tests.support.raw_client import RawClient
from tools.subject import Subject

from ottla.broker.system import SocketNetwork
from ottla.model.errors import ErrorCode
from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic

#: What is asked of an empty log: topic is there, partition, offset, leader epoch.
ASKED = {
    "above the end": (True, 0, 10, -1),
    "below the start": (True, 0, -5, -1),
    "a partition that is not": (True, 5, 0, -1),
    "a topic that is not": (False, 0, 0, -1),
    "an epoch yet to come": (True, 0, 0, 77),
    "nothing new": (True, 0, 0, -1),
}
NO_LOG = (-1, -1, -1)
BY_NAME, BY_ID = 12, 17

#: Error, (high watermark, last stable offset, log start), aborted transactions: null unless the
#: log was read for committed records, or was never reached.
ANSWERED = {
    "above the end": (ErrorCode.OFFSET_OUT_OF_RANGE, NO_LOG, None),
    "below the start": (ErrorCode.OFFSET_OUT_OF_RANGE, NO_LOG, None),
    "a partition that is not": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, NO_LOG, []),
    "a topic that is not": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, NO_LOG, []),
    "an epoch yet to come": (ErrorCode.UNKNOWN_LEADER_EPOCH, NO_LOG, None),
    "nothing new": (ErrorCode.NONE, (0, 0, 0), None),
}


async def ask(port: int, name: str, version: int, isolation: int, what: str) -> Any:
    there, partition, offset, epoch = ASKED[what]
    client = await RawClient.connect(SocketNetwork(asyncio.get_running_loop()), "127.0.0.1", port)
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    await client.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 5)
    metadata = MetadataRequest(topics=[MetadataRequestTopic(name=name)])
    while True:
        (found,) = (await client.call(metadata, 12)).topics
        if found.error_code == 0 and found.partitions[0].error_code == 0:
            break
    topic_id = found.topic_id if there else b"x" * 16
    wanted = FetchPartition(
        partition=partition, fetch_offset=offset, current_leader_epoch=epoch, partition_max_bytes=99
    )
    request = FetchRequest(
        max_wait_ms=1,
        min_bytes=1,
        isolation_level=isolation,
        session_epoch=-1,
        topics=[
            FetchTopic(topic=name if there else "nowhere", partitions=[wanted])
            if version == BY_NAME
            else FetchTopic(topic_id=topic_id, partitions=[wanted])
        ],
    )
    answer = None
    while answer is None or answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER:
        # Kafka tells clients of a new partition a little before it leads it.
        (topic_answer,) = (await client.call(request, version)).responses
        (answer,) = topic_answer.partitions
    client.close()
    return answer


@pytest.mark.parametrize("isolation", [0, 1])
@pytest.mark.parametrize("version", [BY_NAME, BY_ID])
@pytest.mark.parametrize("what", ASKED)
def test_what_comes_without_records(
    what: str, version: int, isolation: int, broker: Subject
) -> None:
    name = f"fetch-answers-{time.time_ns()}"
    answer = asyncio.run(ask(broker.port, name, version, isolation, what))
    error, offsets, aborted = ANSWERED[what]
    if what == "a topic that is not" and version == BY_ID:
        error = ErrorCode.UNKNOWN_TOPIC_ID
    if what == "nothing new" and isolation == 1:
        aborted = []
    assert answer.records is not None, "librdkafka does not take null records"
    assert len(answer.records) == 0
    assert answer.error_code == error
    found = (answer.high_watermark, answer.last_stable_offset, answer.log_start_offset)
    assert found == offsets
    assert answer.aborted_transactions == aborted
