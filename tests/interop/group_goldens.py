"""Have the conversation of `tests.support.group_conversation` with a real Kafka.

    python -m tests.interop.group_goldens 127.0.0.1:9092

writes `tests/goldens/groups/kafka.txt`. The broker must be new, with
`group.initial.rebalance.delay.ms=0` and no topics.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from tests.support.group_conversation import TOPICS, Conversation, converse
from tests.support.raw_client import RawClient

from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.message import Message

GOLDEN = Path(__file__).parent.parent / "goldens" / "groups" / "kafka.txt"


class Sockets:
    """The one thing `RawClient` needs of a network."""

    async def connect(self, host: str, port: int, factory: Any) -> Any:
        return await asyncio.get_running_loop().create_connection(factory, host, port)


async def capture(host: str, port: int) -> list[str]:
    clients: dict[str, RawClient] = {}

    async def send(name: str, request: Message, version: int) -> Any:
        if name not in clients:
            clients[name] = await RawClient.connect(Sockets(), host, port)  # type: ignore[arg-type]
        clients[name].send(request, version, client_id=name)
        return await clients[name].receive()

    topics = [
        CreatableTopic(name=name, num_partitions=count, replication_factor=1)
        for name, count in TOPICS.items()
    ]
    created: Any = await send("c", CreateTopicsRequest(topics=topics, timeout_ms=10_000), 7)
    topic_ids = {topic.name: topic.topic_id for topic in created.topics}
    for _ in range(100):
        found: Any = await send("c", FindCoordinatorRequest(coordinator_keys=["x"]), 4)
        if not found.coordinators[0].error_code:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    talk = Conversation(send, topic_ids)

    async def begin(asking: Any) -> Any:
        task = asyncio.get_running_loop().create_task(asking)
        await asyncio.sleep(0.5)
        return task

    await converse(talk, begin)
    return talk.lines


def main() -> None:
    host, _, port = sys.argv[1].partition(":")
    lines = asyncio.run(capture(host, int(port)))
    GOLDEN.write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} lines in {GOLDEN.name}")


if __name__ == "__main__":
    main()
