"""The answers to a long conversation about groups are those of the real Kafka.

`tests/goldens/groups/kafka.txt` is what Kafka 4.3.1 answered, and
`consumer_offsets/` what it wrote; see
`tests/interop/group_goldens.py`. Here the same requests, encoded and decoded
in their versions, go to our handlers.
"""

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.group_conversation import TOPICS, Conversation, converse
from tests.support.group_world import CountingRandomness
from tests.support.log_port import MemoryPort

from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.records import GroupStored, OffsetStored
from ottla.coordinator.group.records import decode as decode_record
from ottla.coordinator.group.settings import GroupSettings
from ottla.handlers import group_offsets, groups
from ottla.metadata.image import Image, PartitionImage, TopicImage
from ottla.record.batch import batches
from ottla.record.records import read_records
from ottla.testing.clock import ManualClock
from ottla.wire.apis import response_class
from ottla.wire.codec import decode, encode
from ottla.wire.message import Message

GOLDENS = Path(__file__).parents[3] / "goldens" / "groups"
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

HANDLERS: dict[int, Any] = {
    8: group_offsets.offset_commit,
    9: group_offsets.offset_fetch,
    11: groups.join_group,
    12: groups.heartbeat,
    13: groups.leave_group,
    14: groups.sync_group,
    15: groups.describe_groups,
    16: groups.list_groups,
    42: groups.delete_groups,
    47: group_offsets.offset_delete,
}


def image() -> Image:
    topics = {}
    for number, (name, count) in enumerate(TOPICS.items(), 1):
        partition = PartitionImage(0, 0, 0, (0,), (0,))
        topic_id = number.to_bytes(16, "big")
        topics[name] = TopicImage(name, topic_id, (partition,) * count, {})
    return Image(
        topics=topics, topic_names={topic.topic_id: name for name, topic in topics.items()}
    )


def by_group(logs: Iterable[bytes]) -> dict[str, list[str]]:
    """What was written for each group, in order, without times, by number of member id."""
    written: dict[str, list[str]] = {}
    for data in logs:
        for header in batches(data):
            if header.is_control:
                continue
            for row in read_records(data, header.position):
                record = decode_record(row.key or b"", row.value)
                if isinstance(record, GroupStored | OffsetStored):
                    written.setdefault(record.group_id, []).append(shown(record))
    return {group_id: numbered(lines) for group_id, lines in written.items()}


def numbered(lines: list[str]) -> list[str]:
    """Write #0, #1 and so on for member ids, in order of appearance."""
    numbers: dict[str, int] = {}
    return [
        UUID.sub(lambda found: f"#{numbers.setdefault(found[0], len(numbers))}", line)
        for line in lines
    ]


def shown(record: GroupStored | OffsetStored) -> str:
    if isinstance(record, OffsetStored):
        committed = record.committed
        what = None if committed is None else committed[:3]
        return f"{record.topic}-{record.partition} {what}"
    if record.value is not None:
        assert record.value.current_state_timestamp > 0
        record.value.current_state_timestamp = 0
    return repr(record.value)


async def ours() -> tuple[list[str], list[bytes]]:
    ports = [MemoryPort() for _ in range(3)]
    settings = GroupSettings(group_initial_rebalance_delay_ms=0)
    coordinator = GroupCoordinator(
        settings,
        ManualClock(),
        ManualClock(),
        CountingRandomness(),
        partition_count=3,
        gather_quiet_ms=0,
    )
    for partition, port in enumerate(ports):
        coordinator.load(partition, port)
    for _ in range(4):
        await asyncio.sleep(0)
    broker = SimpleNamespace(
        groups=coordinator,
        image=image(),
        transport_clock=ManualClock(),
        config=BrokerConfig({}),
    )

    async def send(name: str, request: Message, version: int) -> Any:
        context = SimpleNamespace(
            broker=broker,
            api_version=version,
            client_id=name,
            client_host="127.0.0.1",
            authorize=lambda *asked: True,
        )
        key = request.API_KEY  # type: ignore[attr-defined]
        received, _ = decode(type(request), version, encode(request, version))
        response = await HANDLERS[key](context, received)
        return decode(response_class(key), version, encode(response, version))[0]

    talk = Conversation(
        send, {topic.name: topic.topic_id for topic in broker.image.topics.values()}
    )

    async def begin(asking: Any) -> Any:
        task = asyncio.get_running_loop().create_task(asking)
        await asyncio.sleep(0)
        return task

    await asyncio.wait_for(converse(talk, begin), 20)
    coordinator.close()
    return talk.lines, [port.read(0, 1 << 30) for port in ports]


def test_a_conversation_goes_as_with_kafka() -> None:
    answers, logs = asyncio.run(ours())
    assert answers == (GOLDENS / "kafka.txt").read_text().splitlines()
    kafka = by_group(path.read_bytes() for path in sorted(GOLDENS.glob("consumer_offsets/*.log")))
    # Made by others than the conversation; "bad" is a group only to Kafka.
    for group_id in ("newer", "txn", "open", "bad"):
        kafka.pop(group_id, None)
    assert by_group(logs) == kafka
