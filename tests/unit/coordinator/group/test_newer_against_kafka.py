"""What a consumer group and a share group write is what Kafka 4.3.1 writes, record by record.

`tests/goldens/groups/newer/` is what it wrote while it had the heartbeats of
`tests.support.newer_conversation`; here our shard has the same. The first heartbeat of a
share group's member differs on purpose, so of those records it is the form that is compared.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support import newer_conversation as conversation
from tests.support.group_world import CountingRandomness

from ottla.coordinator.group import consumer_requests
from ottla.coordinator.group.assignors import ASSIGNORS
from ottla.coordinator.group.records import ModernStored, decode, encode
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.group.topics_hash import topics_hash
from ottla.coordinator.outcome import Waiter
from ottla.coordinator.share.group import ShareGroup
from ottla.metadata.image import ConfigResource, Image, PartitionImage, TopicImage
from ottla.model.isolation import ResourceType
from ottla.record.batch import batches
from ottla.record.records import read_records

GOLDENS = Path(__file__).parents[3] / "goldens" / "groups" / "newer"
CALLER = Caller("raw", "/127.0.0.1", 1)
ONE = PartitionImage(1, 0, 0, (1,), (1,))
TARGET_EPOCH, TARGET = 6, 7
Stored = tuple[bytes, bytes | None]


def image() -> Image:
    """The topics Kafka had."""
    topics = {}
    for name, topic_id in json.loads((GOLDENS / "topics.json").read_text()).items():
        count = conversation.TOPICS[name]
        topics[name] = TopicImage(name, bytes.fromhex(topic_id), (ONE,) * count, {})
    at_once = {"consumer.assignment.interval.ms": "0"}
    return Image(
        topics=topics,
        topic_names={topic.topic_id: name for name, topic in topics.items()},
        configs={ConfigResource(ResourceType.GROUP, conversation.CONSUMERS): at_once},
    )


def written(group: str) -> list[Stored]:
    """Key and value of each record in Kafka's log."""
    data = (GOLDENS / f"{group}.log").read_bytes()
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


def shown(found: ModernStored) -> str:
    """Without times; topics by id, partitions by number."""
    value: Any = found.value
    if hasattr(value, "assignment_timestamp"):
        assert value.assignment_timestamp >= 0
        value.assignment_timestamp = 0
    for name in ("topic_partitions", "assigned_partitions", "partitions_pending_revocation"):
        if hasattr(value, name):
            rows = getattr(value, name)
            rows.sort(key=lambda row: row.topic_id)
            for row in rows:
                epochs = getattr(row, "assignment_epochs", None)
                if epochs:
                    row.assignment_epochs = [at for _, at in sorted(zip(row.partitions, epochs))]
                row.partitions.sort()
    return f"{found.key} {value}"


def assignor(records: list[ModernStored]) -> Any:
    """Assigns as Kafka did, which is free to choose: what it did for the next epoch, each time."""
    targets: list[dict[str, Any]] = [{}]
    for one in records:
        key: Any = one.key
        if one.record_type == TARGET:
            value: Any = one.value
            rows = None if value is None else value.topic_partitions
            targets[-1][key.member_id] = {row.topic_id: tuple(row.partitions) for row in rows or ()}
        elif one.record_type == TARGET_EPOCH:
            targets.append(dict(targets[-1]))
    left = iter(targets)
    return lambda members, counts: {
        name: mine for name, mine in next(left).items() if name in members
    }


async def ours() -> list[str]:
    surroundings = Surroundings(GroupSettings(), CountingRandomness(), image=image())
    shard = GroupShard(surroundings)
    lines: list[str] = []

    async def send(request: Any) -> Any:
        outcome = consumer_requests.heartbeat(shard, request, CALLER, Waiter(), 1)
        for one in outcome.records:
            shard.apply(one, len(lines), -1)
            assert isinstance(one, ModernStored)
            lines.append(shown(record(encode(one))))
        ((_, answer),) = outcome.answers
        return answer

    await conversation.consumers(conversation.Members(send))
    return lines


def test_a_consumer_group_writes_what_kafkas_does(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = [record(stored) for stored in written(conversation.CONSUMERS)]
    monkeypatch.setitem(ASSIGNORS, "uniform", assignor(theirs))
    kafkas = [shown(record(stored)) for stored in written(conversation.CONSUMERS)]
    assert asyncio.run(ours()) == kafkas
    assert {decode(*stored).record_type for stored in written(conversation.CONSUMERS)} >= {  # type: ignore[union-attr]
        *(3, 5, 6, 7, 8)
    }


@pytest.mark.parametrize("group", [conversation.CONSUMERS, conversation.SHARERS])
def test_kafkas_records_come_back_byte_for_byte(group: str) -> None:
    for stored in written(group):
        assert encode(record(stored)) == stored


def test_a_share_group_of_kafkas_is_taken_over_in_its_epoch() -> None:
    surroundings = Surroundings(GroupSettings(), CountingRandomness(), image=image())
    shard = GroupShard(surroundings)
    for offset, stored in enumerate(written(conversation.SHARERS)):
        shard.apply(record(stored), offset, -1)
    group = shard.groups[conversation.SHARERS]
    assert isinstance(group, ShareGroup)
    (member,) = group.members.values()
    assert (member.member_id, member.topics) == ("f", ("bills", "orders"))
    assert dict(group.initialized.values()) == {
        "orders": (0, 1, 2),
        "bills": (0, 1),
    }
    assert group.metadata_hash == topics_hash(image(), member.topics)
