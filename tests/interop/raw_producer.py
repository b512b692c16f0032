"""A transactional producer made of single requests, each of which says what it says."""

import asyncio
from typing import Any

from tests.support.raw_client import RawClient
from tests.support.versions.build import build
from tests.support.versions.talk import NOT_READY, batch

from ottla.model.errors import ErrorCode
from ottla.wire.apis import request_class

PATIENCE_S = 20.0
CONCURRENT = ErrorCode.CONCURRENT_TRANSACTIONS


class RawProducer:
    """Answers the codes; nothing is asked that a test did not ask for."""

    def __init__(self, client: RawClient, name: str) -> None:
        self._client = client
        self.name = name
        self.producer_id = -1
        self.epoch = -1

    async def ask(self, api_key: int, version: int, /, **fields: Any) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await self._client.call(build(request_class(api_key), version, fields), version)

    async def init(self) -> None:
        """Find the coordinator, and become its producer."""
        while True:
            answer = await self.ask(
                22, 4, transactional_id=self.name, transaction_timeout_ms=60_000
            )
            if answer.error_code == 0:
                self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
                return
            assert answer.error_code in (*NOT_READY, CONCURRENT), answer
            await self.ask(10, 1, key=self.name, key_type=1)
            await asyncio.sleep(0.01)

    async def produce(self, value: str, epoch: int, version: int = 12, sequence: int = 0) -> int:
        """Produce a record to partition 0; the code. Waits for the transaction before to end."""
        records = batch(
            value,
            transactional=True,
            producer_id=self.producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
        )
        while True:
            answer = await self.ask(
                0,
                version,
                transactional_id=self.name,
                acks=-1,
                timeout_ms=10_000,
                topic_data=[
                    {"name": self.name, "partition_data": [{"index": 0, "records": records}]}
                ],
            )
            code = int(answer.responses[0].partition_responses[0].error_code)
            if code not in (*NOT_READY, CONCURRENT):
                return code
            await asyncio.sleep(0.01)

    async def add(self, partition: int, epoch: int, version: int) -> int:
        """Add a partition as producers (up to version 3) or brokers do; the code."""
        topics = [{"name": self.name, "partitions": [partition]}]
        fields: dict[str, Any] = {
            "transactional_id": self.name,
            "producer_id": self.producer_id,
            "producer_epoch": epoch,
            "topics": topics,
        }
        if version > 3:
            answer = await self.ask(24, version, transactions=[{**fields, "verify_only": False}])
            (result,) = answer.results_by_transaction
            row = result.topic_results[0]
        else:
            older = {f"v3_and_below_{name}": value for name, value in fields.items()}
            answer = await self.ask(24, version, **older)
            row = answer.results_by_topic_v3_and_below[0]
        return int(row.results_by_partition[0].partition_error_code)

    async def end(self, epoch: int, commit: bool = True, version: int = 5) -> int:
        """End the transaction; the code. An epoch that begins is taken over."""
        answer = await self.ask(
            26,
            version,
            transactional_id=self.name,
            producer_id=self.producer_id,
            producer_epoch=epoch,
            committed=commit,
        )
        if answer.error_code == 0 and version >= 5:
            self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
        return int(answer.error_code)

    async def mark(self, epoch: int, version: int, commit: bool = True) -> int:
        """Write a marker into partition 0, as a coordinator does; the code."""
        answer = await self.ask(
            27,
            2,
            markers=[
                {
                    "producer_id": self.producer_id,
                    "producer_epoch": epoch,
                    "transaction_result": commit,
                    "topics": [{"name": self.name, "partition_indexes": [0]}],
                    "coordinator_epoch": 1_000,
                    "transaction_version": version,
                }
            ],
        )
        return int(answer.markers[0].topics[0].partitions[0].error_code)

    async def described(self) -> tuple[str, list[int]]:
        """The state of the transaction and its partitions of the topic."""
        answer = await self.ask(65, 0, transactional_ids=[self.name])
        (row,) = answer.transaction_states
        return row.transaction_state, sorted(n for topic in row.topics for n in topic.partitions)

    async def completed(self) -> None:
        """Wait until the markers are written."""
        while (await self.described())[0] not in ("CompleteCommit", "CompleteAbort"):
            await asyncio.sleep(0.01)

    async def is_open(self) -> bool:
        """Whether a transaction is open in partition 0, as its leader sees it."""
        rows = [{"name": self.name, "partition_indexes": [0]}]
        answer = await self.ask(61, 0, topics=rows)
        (known,) = answer.topics[0].partitions[0].active_producers
        return bool(known.current_txn_start_offset >= 0)
