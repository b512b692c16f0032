"""Brokers to talk to: their settings, and what they lived through before."""

import asyncio
from typing import Any

from tests.support.versions.normal import Masks
from tests.support.versions.talk import NOT_READY, Talk, batch
from tools.subject import Subject

COMMON = {
    "node.id": "1",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "2",
}

WORLDS = {
    "default": COMMON,
    "closed": {
        **COMMON,
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "false",
        "num.partitions": "4",
        "max.request.partition.size.limit": "3",
        "max.incremental.fetch.session.cache.slots": "0",
    },
    "restarted": COMMON,
}
"""Settings by the name of the world. In `restarted`, the broker was killed twice."""

AGED = "aged"
"""The topic that lived through the restarts: 3 records, then 2, then 1."""


class World:
    """A broker that scenarios talk to, one after the other."""

    def __init__(self, name: str, subject: Subject) -> None:
        """`subject` is not started."""
        self.name = name
        self.subject = subject
        self.topics: dict[bytes, str] = {}
        self.epochs: dict[int, str] = {}

    def begin(self) -> None:
        self.subject.start()
        asyncio.run(self._prepare())
        if self.name == "restarted":
            asyncio.run(self._add("a", "b", "c", create=True))
            self._crash()
            asyncio.run(self._add("d", "e"))
            self._crash()
            asyncio.run(self._add("f"))

    def _crash(self) -> None:
        self.subject.kill9()
        self.subject.start()

    def talk(self, api_key: int, version: int) -> Talk:
        talk = Talk(self.subject.port, self.topics, api_key, version)
        talk.masks.epochs = self.epochs
        return talk

    async def _prepare(self) -> None:
        """Have the coordinators' topics made and producer ids at hand, so that no scenario waits for them."""
        talk = self.talk(3, 0)
        try:
            for kind, key in (0, "g"), (1, "tx"), (2, "g:AAAAAAAAAAAAAAAAAAAAAQ:0"):
                while True:
                    answer = await talk.tell(10, 6, key_type=kind, coordinator_keys=[key])
                    if answer.coordinators[0].error_code not in NOT_READY:
                        break
                    await asyncio.sleep(0.05)
            await talk.group_ready("g")
            while True:
                answer = await talk.tell(22, 1, transactional_id=None, transaction_timeout_ms=0)
                if answer.error_code not in NOT_READY:
                    break
                await asyncio.sleep(0.05)
        finally:
            talk.close()

    async def _add(self, *values: str, create: bool = False) -> None:
        talk = self.talk(3, 0)
        try:
            if create:
                await talk.topic("", whole_name=AGED)
            await talk.led(AGED, 0)
            await talk.append(AGED, batch(*values))
            epoch = await _epoch(talk)
            self.epochs[epoch] = f"E{len(self.epochs)}"
        finally:
            talk.close()


async def _epoch(talk: Talk) -> int:
    """The leader epoch now."""
    asked: dict[str, Any] = {"topics": [{"name": AGED}], "allow_auto_topic_creation": False}
    answer = await talk.tell(3, 12, **asked)
    return int(answer.topics[0].partitions[0].leader_epoch)


def epoch_named(masks: Masks, name: str) -> int:
    """The number of an epoch that a world gave a name."""
    (epoch,) = [number for number, word in masks.epochs.items() if word == name]
    return epoch
