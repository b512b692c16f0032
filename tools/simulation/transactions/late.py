"""Requests that arrive after their transaction is over: delayed, repeated, or of somebody confused."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tools.simulation.history import Outcome
from tools.simulation.transactions.history import Attempt, Late, TransactionHistory
from tools.simulation.wire import Wire
from tools.simulation.world import TOPIC, World

from ottla.model.errors import ErrorCode, PeerError
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.wire.generated.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from ottla.wire.generated.end_txn import EndTxnRequest
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from ottla.wire.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from ottla.wire.generated.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)

Answer = Awaitable[int]


class Latecomer:
    """Sends requests of transactions that have ended, in every version clients have."""

    def __init__(self, world: World, history: TransactionHistory, host: str, *, count: int) -> None:
        self._world = world
        self._history = history
        self._host = host
        self._left = count
        self._chance = random.Random(f"late {world.seed}")

    async def run(self) -> None:
        while self._left:
            try:
                wire = await Wire.connect(self._world, self._host)
                try:
                    while self._left:
                        await asyncio.sleep(self._chance.choice((0.05, 0.1, 0.3)))
                        self._left -= 1
                        await self._send_one(wire)
                finally:
                    wire.abort()
            except PeerError:
                await asyncio.sleep(0.1)

    async def _send_one(self, wire: Wire) -> None:
        chance = self._chance
        over = [
            each
            for each in self._history.attempts[-12:]
            if each.outcome is Outcome.OK and any(w.outcome is Outcome.OK for w in each.wrote)
        ]
        if not over:
            return
        attempt = chance.choice(over)
        ways: dict[str, Callable[[Wire, Attempt, bool, int], Answer]] = {
            "end": self._end,
            "marker": self._marker,
            "partitions": self._partitions,
            "offsets": self._offsets,
            "batch": self._batch,
            "offset commit": self._commit,
        }
        kind = chance.choices(list(ways), (6, 3, 2, 1, 2, 2))[0]
        commits, partition = chance.random() < 0.5, chance.choice(attempt.wrote).partition
        start = self._world.loop.time()
        code = await ways[kind](wire, attempt, commits, partition)
        self._history.late.append(
            Late(
                kind,
                attempt.name,
                attempt.transactional_id,
                attempt.producer,
                bool(attempt.commits),
                commits,
                partition,
                start,
                self._world.loop.time(),
                code,
            )
        )

    async def _end(self, wire: Wire, attempt: Attempt, commits: bool, partition: int) -> int:
        request = EndTxnRequest(
            transactional_id=attempt.transactional_id,
            producer_id=attempt.producer[0],
            producer_epoch=attempt.producer[1],
            committed=commits,
        )
        answer = await wire.call(request, self._chance.choice((3, 4, 5, 5)))
        return int(answer.error_code)

    async def _marker(self, wire: Wire, attempt: Attempt, commits: bool, partition: int) -> int:
        """The coordinator's own, once more: its epoch is the one after the transaction's."""
        row = WritableTxnMarker(
            producer_id=attempt.producer[0],
            producer_epoch=attempt.producer[1] + 1,
            transaction_result=bool(attempt.commits),
            topics=[WritableTxnMarkerTopic(name=TOPIC, partition_indexes=[partition])],
            coordinator_epoch=0,
            transaction_version=2,
        )
        answer = await wire.call(WriteTxnMarkersRequest(markers=[row]), 2)
        return int(answer.markers[0].topics[0].partitions[0].error_code)

    async def _partitions(self, wire: Wire, attempt: Attempt, commits: bool, partition: int) -> int:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=attempt.transactional_id,
            v3_and_below_producer_id=attempt.producer[0],
            v3_and_below_producer_epoch=attempt.producer[1],
            v3_and_below_topics=[AddPartitionsToTxnTopic(name=TOPIC, partitions=[partition])],
        )
        answer = await wire.call(request, 3)
        row = answer.results_by_topic_v3_and_below[0].results_by_partition[0]
        return int(row.partition_error_code)

    async def _offsets(self, wire: Wire, attempt: Attempt, commits: bool, partition: int) -> int:
        request = AddOffsetsToTxnRequest(
            transactional_id=attempt.transactional_id,
            producer_id=attempt.producer[0],
            producer_epoch=attempt.producer[1],
            group_id=f"group-{attempt.transactional_id}",
        )
        return int((await wire.call(request, 3)).error_code)

    async def _batch(self, wire: Wire, attempt: Attempt, commits: bool, partition: int) -> int:
        value = f"late-{attempt.name}:{self._left}".encode()
        data = build_batch(
            [Record(timestamp=self._world.clock.now_ms(), key=None, value=value)],
            producer_id=attempt.producer[0],
            producer_epoch=attempt.producer[1],
            base_sequence=self._chance.choice((0, 1, 2)),
            transactional=True,
        )
        rows = [PartitionProduceData(index=partition, records=data)]
        request = ProduceRequest(
            transactional_id=attempt.transactional_id,
            acks=-1,
            timeout_ms=1_000,
            topic_data=[TopicProduceData(name=TOPIC, partition_data=rows)],
        )
        answer = await wire.call(request, self._chance.choice((11, 12)))
        row = answer.responses[0].partition_responses[0]
        return int(row.error_code)

    async def _commit(self, wire: Wire, attempt: Attempt, commits: bool, partition: int) -> int:
        row = TxnOffsetCommitRequestPartition(partition_index=partition, committed_offset=0)
        request = TxnOffsetCommitRequest(
            transactional_id=attempt.transactional_id,
            group_id=f"group-{attempt.transactional_id}",
            producer_id=attempt.producer[0],
            producer_epoch=attempt.producer[1],
            generation_id=-1,
            member_id="",
            topics=[TxnOffsetCommitRequestTopic(name=TOPIC, partitions=[row])],
        )
        answer = await wire.call(request, self._chance.choice((4, 5)))
        code: int = answer.topics[0].partitions[0].error_code
        assert code != ErrorCode.UNKNOWN_SERVER_ERROR
        return code
