"""Have the heartbeats of `tests.support.newer_conversation` answered by a real Kafka.

    python -m tests.interop.newer_goldens 127.0.0.1:9092 its/data

writes `tests/goldens/groups/newer/`: the batches of each group as they stand in
`__consumer_offsets`, and the ids of the topics. The broker must be new, without topics.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.interop.group_goldens import Sockets
from tests.support import newer_conversation as conversation
from tests.support.raw_client import RawClient

from ottla.coordinator.routing import partition_for
from ottla.record.batch import batches
from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

GOLDENS = Path(__file__).parent.parent / "goldens" / "groups" / "newer"
GROUP_CONFIG = 32
PAUSE_S = 0.1
"""What Kafka does behind a heartbeat is done when the next comes."""


async def capture(host: str, port: int) -> dict[str, bytes]:
    """Have the conversation; return the topics' ids."""
    client = await RawClient.connect(Sockets(), host, port)  # type: ignore[arg-type]
    topics = [
        CreatableTopic(name=name, num_partitions=count, replication_factor=1)
        for name, count in conversation.TOPICS.items()
    ]
    created: Any = await client.call(CreateTopicsRequest(topics=topics, timeout_ms=10_000), 7)
    for group, name in (
        (conversation.CONSUMERS, "consumer.assignment.interval.ms"),
        (conversation.SHARERS, "share.assignment.interval.ms"),
    ):
        row = AlterableConfig(name=name, config_operation=0, value="0")
        resource = AlterConfigsResource(
            resource_type=GROUP_CONFIG, resource_name=group, configs=[row]
        )
        await client.call(IncrementalAlterConfigsRequest(resources=[resource]), 1)
    for kind, key in (0, "x"), (2, "x:AAAAAAAAAAAAAAAAAAAAAQ:0"):
        while True:
            asked = FindCoordinatorRequest(key_type=kind, coordinator_keys=[key])
            found: Any = await client.call(asked, 6)
            if not found.coordinators[0].error_code:
                break
            await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(3)

    async def send(request: Any) -> Any:
        answer = await client.call(request, 1)
        await asyncio.sleep(PAUSE_S)
        return answer

    members = conversation.Members(send)
    await conversation.consumers(members)
    await conversation.sharers(members)
    await asyncio.sleep(1)
    client.close()
    return {topic.name: topic.topic_id for topic in created.topics}


def main() -> None:
    host, _, port = sys.argv[1].partition(":")
    topic_ids = asyncio.run(capture(host, int(port)))
    GOLDENS.mkdir(exist_ok=True)
    for group in (conversation.CONSUMERS, conversation.SHARERS):
        folder = Path(sys.argv[2]) / f"__consumer_offsets-{partition_for(group, 50)}"
        data = (folder / f"{0:020}.log").read_bytes()
        (GOLDENS / f"{group}.log").write_bytes(data)
        print(f"{group}: {sum(1 for _ in batches(data))} batches, {len(data)} bytes")
    text = json.dumps({name: topic_id.hex() for name, topic_id in topic_ids.items()})
    (GOLDENS / "topics.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
