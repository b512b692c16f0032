"""Have the heartbeats of `tests.support.streams_conversation` answered by a real Kafka.

    python -m tests.interop.streams_goldens 127.0.0.1:9092 its/data

writes `tests/goldens/groups/streams/`: the batches of the group as they stand in
`__consumer_offsets`, and the ids of the topics. The broker must be new, without topics.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.interop.group_goldens import Sockets
from tests.support import streams_conversation as conversation
from tests.support.raw_client import RawClient
from tests.support.versions.build import build

from ottla.coordinator.routing import partition_for
from ottla.record.batch import batches
from ottla.wire.apis import request_class

GOLDENS = Path(__file__).parent.parent / "goldens" / "groups" / "streams"
CREATE_TOPICS, FIND_COORDINATOR, ALTER_CONFIGS = 19, 10, 44
GROUP_CONFIG = 32
PAUSE_S = 0.1
"""What Kafka does behind a heartbeat is done when the next comes."""


async def capture(host: str, port: int) -> dict[str, bytes]:
    """Have the conversation; return the topics' ids."""
    client = await RawClient.connect(Sockets(), host, port)  # type: ignore[arg-type]

    async def ask(key: int, version: int, **fields: Any) -> Any:
        return await client.call(build(request_class(key), version, fields), version)

    topics = [
        {"name": name, "num_partitions": count, "replication_factor": 1}
        for name, count in conversation.TOPICS.items()
    ]
    created = await ask(CREATE_TOPICS, 7, topics=topics, timeout_ms=10_000)
    rows = [
        {"name": name, "config_operation": 0, "value": value}
        for name, value in conversation.SETTINGS.items()
    ]
    resource = {
        "resource_type": GROUP_CONFIG,
        "resource_name": conversation.GROUP,
        "configs": rows,
    }
    await ask(ALTER_CONFIGS, 1, resources=[resource])
    while True:
        found = await ask(FIND_COORDINATOR, 6, key_type=0, coordinator_keys=["x"])
        if not found.coordinators[0].error_code:
            break
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(3)

    async def send(request: Any) -> Any:
        answer = await client.call(request, 0)
        await asyncio.sleep(PAUSE_S)
        return answer

    await conversation.streamers(conversation.Members(send))
    await asyncio.sleep(1)
    client.close()
    return {topic.name: topic.topic_id for topic in created.topics}


def main() -> None:
    host, _, port = sys.argv[1].partition(":")
    topic_ids = asyncio.run(capture(host, int(port)))
    GOLDENS.mkdir(exist_ok=True)
    folder = Path(sys.argv[2]) / f"__consumer_offsets-{partition_for(conversation.GROUP, 50)}"
    data = (folder / f"{0:020}.log").read_bytes()
    (GOLDENS / "streamers.log").write_bytes(data)
    print(f"{sum(1 for _ in batches(data))} batches, {len(data)} bytes")
    text = json.dumps({name: topic_id.hex() for name, topic_id in topic_ids.items()})
    (GOLDENS / "topics.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
