"""The state of share partitions that another broker keeps: APIs 83 to 87, batched.

A request is about one group. To each broker one request of a kind and group is under way; what is
asked for meanwhile goes together in the next. Nothing is sent again here.
"""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from ottla.broker.peers import Peers
from ottla.coordinator.share.records import ShareKey
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, Uuid
from ottla.wire.generated import (
    delete_share_group_state,
    initialize_share_group_state,
    read_share_group_state,
    read_share_group_state_summary,
    write_share_group_state,
)

AT_ONCE = 1_000
"""Share partitions in one request."""


class Kind(NamedTuple):
    """One of the APIs."""

    module: ModuleType
    request: Any
    topic: Any


INITIALIZE = Kind(
    initialize_share_group_state,
    initialize_share_group_state.InitializeShareGroupStateRequest,
    initialize_share_group_state.InitializeStateData,
)
READ = Kind(
    read_share_group_state,
    read_share_group_state.ReadShareGroupStateRequest,
    read_share_group_state.ReadStateData,
)
WRITE = Kind(
    write_share_group_state,
    write_share_group_state.WriteShareGroupStateRequest,
    write_share_group_state.WriteStateData,
)
DELETE = Kind(
    delete_share_group_state,
    delete_share_group_state.DeleteShareGroupStateRequest,
    delete_share_group_state.DeleteStateData,
)
SUMMARY = Kind(
    read_share_group_state_summary,
    read_share_group_state_summary.ReadShareGroupStateSummaryRequest,
    read_share_group_state_summary.ReadStateSummaryData,
)


class _Lane(NamedTuple):
    broker_id: BrokerId
    kind: Kind
    group_id: str


class _Asked(NamedTuple):
    key: ShareKey
    row: Any
    answer: "asyncio.Future[Any]"


class RemoteShareState:
    def __init__(self, peers: Peers, timeout_ms: Callable[[], int]) -> None:
        """`peers` is for this alone: an answer waits until what was asked for is replicated."""
        self._peers = peers
        self._timeout_ms = timeout_ms
        self._unsent: dict[_Lane, list[_Asked]] = {}
        self._senders: dict[_Lane, asyncio.Task[None]] = {}

    async def ask(self, broker_id: BrokerId, kind: Kind, key: ShareKey, row: Any) -> Any:
        """Return the row of the answer for one share partition.

        Raises:
            ApiError: the coordinator's; COORDINATOR_NOT_AVAILABLE, there is no answer, and what
                was asked for may be done or not.
        """
        lane = _Lane(broker_id, kind, key.group_id)
        asked = _Asked(key, row, asyncio.get_running_loop().create_future())
        self._unsent.setdefault(lane, []).append(asked)
        if lane not in self._senders:
            self._senders[lane] = asyncio.get_running_loop().create_task(self._send_all(lane))
        return await asked.answer

    def close(self) -> None:
        """Send no more; whoever waits hears that there is no answer."""
        unsent, self._unsent = self._unsent, {}
        for waiting in unsent.values():
            _fail(waiting, "the broker stops")
        for sender in self._senders.values():
            sender.cancel()
        self._peers.close()

    async def _send_all(self, lane: _Lane) -> None:
        try:
            while unsent := self._unsent.pop(lane, None):
                if len(unsent) > AT_ONCE:
                    self._unsent[lane] = unsent[AT_ONCE:]
                await self._send(lane, unsent[:AT_ONCE])
        finally:
            self._senders.pop(lane, None)

    async def _send(self, lane: _Lane, together: list[_Asked]) -> None:
        wanted = [each for each in together if not each.answer.done()]
        topics: dict[Uuid, Any] = {}
        for each in wanted:
            topic_id = each.key.topic_id
            topic = topics.setdefault(topic_id, lane.kind.topic(topic_id=topic_id))
            topic.partitions.append(each.row)
        request = lane.kind.request(group_id=lane.group_id, topics=list(topics.values()))
        try:
            link = await self._peers.link(lane.broker_id)
            answer = await link.request(request, timeout_ms=self._timeout_ms())
        except (PeerError, ApiError) as error:
            _fail(wanted, f"broker {lane.broker_id}: {error}")
            return
        except asyncio.CancelledError:
            _fail(wanted, "the broker stops")
            raise
        rows = {
            (topic.topic_id, row.partition): row
            for topic in answer.results
            for row in topic.partitions
        }
        for each in wanted:
            _tell(each, rows.get((each.key.topic_id, each.key.partition)))


def _tell(asked: _Asked, row: Any) -> None:
    if asked.answer.done():
        return
    if row is None:
        _fail([asked], "no row in the answer")
    elif row.error_code:
        error = ApiError(ErrorCode(row.error_code), row.error_message)
        asked.answer.set_exception(error)
    else:
        asked.answer.set_result(row)


def _fail(waiting: list[_Asked], reason: str) -> None:
    for each in waiting:
        if not each.answer.done():
            each.answer.set_exception(ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE, reason))
