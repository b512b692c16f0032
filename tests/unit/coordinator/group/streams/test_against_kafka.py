"""What a streams group writes is what Kafka 4.3.1 writes, record by record.

`tests/goldens/groups/streams/` is what it wrote while it had the heartbeats of
`tests.support.streams_conversation`; here our shard has the same.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.support import streams_conversation as conversation
from tests.support.group_world import CountingRandomness

from ottla.coordinator.group.records import ModernStored, decode, encode
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.streams import heartbeat
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.outcome import Waiter
from ottla.metadata.image import ConfigResource, Image, PartitionImage, TopicImage
from ottla.model.isolation import ResourceType
from ottla.record.batch import batches
from ottla.record.records import read_records

GOLDENS = Path(__file__).parents[4] / "goldens" / "groups" / "streams"
CALLER = Caller("raw", "/127.0.0.1", 0)
ONE = PartitionImage(1, 0, 0, (1,), (1,))
TARGET = 21
Stored = tuple[bytes, bytes | None]


def new_shard() -> GroupShard:
    """With the topics Kafka had."""
    topics = {}
    for name, topic_id in json.loads((GOLDENS / "topics.json").read_text()).items():
        count = conversation.TOPICS[name]
        topics[name] = TopicImage(name, bytes.fromhex(topic_id), (ONE,) * count, {})
    image = Image(
        topics=topics,
        topic_names={topic.topic_id: name for name, topic in topics.items()},
        configs={ConfigResource(ResourceType.GROUP, conversation.GROUP): conversation.SETTINGS},
    )
    return GroupShard(Surroundings(GroupSettings(), CountingRandomness(), image=image))


def written() -> list[Stored]:
    """Key and value of each record in Kafka's log."""
    data = (GOLDENS / "streamers.log").read_bytes()
    found = []
    for header in batches(data):
        for row in read_records(data, header.position):
            assert row.key is not None
            found.append((bytes(row.key), None if row.value is None else bytes(row.value)))
    return found


def record(stored: Stored) -> ModernStored:
    found = decode(*stored)
    assert isinstance(found, ModernStored)
    return found


def shown(records: list[ModernStored]) -> list[str]:
    """Without times; the targets computed at once, which Kafka writes as they come, by member."""
    lines: list[str] = []
    run: list[str] = []
    for found in records:
        value: Any = found.value
        if hasattr(value, "assignment_timestamp"):
            assert value.assignment_timestamp >= 0
            value.assignment_timestamp = 0
        if found.record_type == TARGET:
            run.append(f"{found.key} {value}")
            continue
        lines += [*sorted(run), f"{found.key} {value}"]
        run = []
    return lines


async def converse(shard: GroupShard) -> list[ModernStored]:
    made: list[ModernStored] = []

    async def send(request: Any) -> Any:
        outcome = heartbeat.heartbeat(shard, request, CALLER, Waiter(), 1)
        for one in outcome.records:
            shard.apply(one, len(made), -1)
            assert isinstance(one, ModernStored)
            made.append(record(encode(one)))
        ((_, answer),) = outcome.answers
        return answer

    await conversation.streamers(conversation.Members(send))
    return made


def test_a_streams_group_writes_what_kafkas_does() -> None:
    theirs = [record(stored) for stored in written()]
    assert {found.record_type for found in theirs} == {17, 19, 20, 21, 22, 23}
    assert shown(asyncio.run(converse(new_shard()))) == shown(theirs)


def test_kafkas_records_come_back_byte_for_byte() -> None:
    for stored in written():
        assert encode(record(stored)) == stored


def test_a_streams_group_of_kafkas_is_taken_over_in_its_epoch() -> None:
    """The records until somebody leaves; the first heartbeats raise nothing."""
    shard = new_shard()
    records = [record(stored) for stored in written()]
    alive = next(n for n, found in enumerate(records) if found.value is None)
    for offset, found in enumerate(records[:alive]):
        shard.apply(found, offset, -1)
    shard.loaded(0)
    group = shard.groups[conversation.GROUP]
    assert isinstance(group, StreamsGroup)
    assert group.state_name == "Stable"
    assert sorted(group.members) == ["a", "b"]
    epoch = group.epoch
    fields = conversation.beating(conversation.GROUP, "a", group.members["a"].epoch)
    request = conversation.build(conversation.StreamsGroupHeartbeatRequest, 0, fields)
    outcome = heartbeat.heartbeat(shard, request, CALLER, Waiter(), 1)
    assert not outcome.records
    assert group.epoch == epoch
