"""Kill -9 of a broker with share groups: what was accepted stays so, and nothing else is lost."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from tests.recovery.test_kill9 import started
from tests.support.versions.ask_share import ack, beating
from tests.support.versions.build import build
from tests.support.versions.talk import NOT_READY, Talk, batch

from ottla.coordinator.share.state import AcknowledgeType
from ottla.wire.apis import request_class

GROUP, TOPIC, PARTITIONS, RECORDS, CYCLES = "g", "t", 2, 120, 3
INCREMENTAL_ALTER_CONFIGS, HEARTBEAT, FETCH, ACKNOWLEDGE = 44, 76, 78, 79
ACCEPT, RELEASE, REJECT = AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT

Place = tuple[int, int]
"""Partition and offset."""


class Seen:
    """What the members of all lives were given, and what of it the broker said it had stored."""

    def __init__(self) -> None:
        self.over: set[Place] = set()
        self.doubtful: set[Place] = set()
        """Acknowledged, and the answer did not come: the broker may have stored it, or not."""
        self.released: Counter[Place] = Counter()
        self.wrong: list[str] = []

    def delivered(self, place: Place, count: int) -> None:
        if place in self.over:
            self.wrong.append(f"{place} was over, and is delivered again")
        if count <= self.released[place]:
            self.wrong.append(f"{place}: delivery {count} after {self.released[place]} releases")


class Member:
    """A member of the group, in one life of the broker."""

    def __init__(self, talk: Talk, topic_id: bytes, name: str) -> None:
        self.talk = talk
        self.topic_id = topic_id
        self.name = name
        self.session = 0

    async def join(self) -> None:
        """Come back when something is assigned; what is, is for the member to say."""
        epoch, names = 0, [TOPIC]
        while True:
            said = beating(
                GROUP, self.name, epoch, subscribed_topic_names=names if not epoch else None
            )
            answer = await self.talk.tell(HEARTBEAT, 1, **said)
            if answer.error_code in NOT_READY:
                await asyncio.sleep(0.01)
                continue
            assert not answer.error_code, answer
            epoch = answer.member_epoch
            rows = answer.assignment.topic_partitions if answer.assignment is not None else []
            if rows:
                return

    async def fetch(self, seen: Seen, wait_ms: int = 100) -> list[Place]:
        """What is acquired now, all partitions together."""
        rows = [{"partition_index": n, "acknowledgement_batches": []} for n in range(PARTITIONS)]
        answer = await self.talk.tell(
            FETCH,
            1,
            **self._session(),
            max_wait_ms=wait_ms,
            min_bytes=1,
            max_bytes=1_000_000,
            max_records=40,
            batch_size=10,
            topics=[{"topic_id": self.topic_id, "partitions": rows}],
        )
        assert not answer.error_code, answer
        places = []
        for topic in answer.responses:
            for row in topic.partitions:
                assert row.error_code == 0 or row.error_code in NOT_READY, row
                for acquired in row.acquired_records:
                    for offset in range(acquired.first_offset, acquired.last_offset + 1):
                        place = row.partition_index, offset
                        seen.delivered(place, acquired.delivery_count)
                        places.append(place)
        return places

    def acknowledgement(self, said: dict[Place, AcknowledgeType]) -> dict[str, object]:
        """The fields of a ShareAcknowledge."""
        rows = []
        for number in range(PARTITIONS):
            acks = [ack(at, at, kind) for (part, at), kind in said.items() if part == number]
            rows.append({"partition_index": number, "acknowledgement_batches": acks})
        return {**self._session(), "topics": [{"topic_id": self.topic_id, "partitions": rows}]}

    async def acknowledge(self, seen: Seen, said: dict[Place, AcknowledgeType]) -> None:
        answer = await self.talk.tell(ACKNOWLEDGE, 1, **self.acknowledgement(said))
        assert not answer.error_code, answer
        assert not any(row.error_code for topic in answer.responses for row in topic.partitions)
        for place, kind in said.items():
            if kind is RELEASE:
                seen.released[place] += 1
            else:
                seen.over.add(place)

    def _session(self) -> dict[str, object]:
        epoch, self.session = self.session, self.session + 1
        return {"group_id": GROUP, "member_id": self.name, "share_session_epoch": epoch}


async def prepare(talk: Talk) -> bytes:
    """The topic with its records, and a group that begins at the earliest."""
    await talk.topic(TOPIC, PARTITIONS, whole_name=TOPIC)
    for number in range(PARTITIONS):
        for first in range(0, RECORDS, 10):
            await talk.append(TOPIC, batch(*(str(first + n) for n in range(10))), number)
    await talk.group_ready(GROUP)
    row = {"name": "share.auto.offset.reset", "config_operation": 0, "value": "earliest"}
    resource = {"resource_type": 32, "resource_name": GROUP, "configs": [row]}
    await talk.tell(INCREMENTAL_ALTER_CONFIGS, 1, resources=[resource])
    return talk.topic_id(TOPIC)


async def some(member: Member, seen: Seen, choice: random.Random) -> None:
    """Half of what is acquired is acknowledged and answered; of the rest nobody hears an answer."""
    places: list[Place] = []
    while not places:
        places = await member.fetch(seen)
    choice.shuffle(places)
    half = len(places) // 2
    kinds = [ACCEPT, ACCEPT, RELEASE, REJECT]
    said = {place: choice.choice(kinds) for place in sorted(places[:half])}
    await member.acknowledge(seen, said)
    late = dict.fromkeys(sorted(places[half : half + half // 2]), ACCEPT)
    seen.doubtful.update(late)
    connection = await member.talk.connection("ready")
    fields = member.acknowledgement(late)
    connection.send(build(request_class(ACKNOWLEDGE), 1, fields), 1)
    await connection.flushed()


async def drain(member: Member, seen: Seen) -> None:
    """Accept everything there is."""
    empty = 0
    while empty < 3:
        places = await member.fetch(seen)
        empty = 0 if places else empty + 1
        if places:
            await member.acknowledge(seen, dict.fromkeys(sorted(places), ACCEPT))


def test_what_was_accepted_stays_accepted_and_the_rest_comes_again(tmp_path: Path) -> None:
    choice, seen, topics = random.Random(7), Seen(), dict[bytes, str]()
    subject = started(tmp_path)

    async def life(number: int) -> None:
        talk = Talk(int(subject.bootstrap.rpartition(":")[2]), topics, FETCH, 1)
        topic_id = await prepare(talk) if number == 0 else talk.topic_id(TOPIC)
        member = Member(talk, topic_id, f"m{number}")
        await member.join()
        await (some(member, seen, choice) if number < CYCLES else drain(member, seen))
        if number < CYCLES:
            subject.kill9()
        talk.close()

    try:
        for number in range(CYCLES + 1):
            if number:
                subject.start()
            asyncio.run(life(number))
    finally:
        subject.kill9()
    everything = {(part, at) for part in range(PARTITIONS) for at in range(RECORDS)}
    assert not seen.wrong
    assert seen.over <= everything
    assert everything - seen.over <= seen.doubtful, "records are lost"
