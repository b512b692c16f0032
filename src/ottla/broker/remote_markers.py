"""Markers for partitions that other brokers lead: WriteTxnMarkers, batched per broker.

One request at a time is under way to a broker; what comes meanwhile goes together in the
next. Its links are no one else's: the answer waits until the markers are replicated, and
behind it nothing else may wait. Nothing is sent again here: who hears that a marker was
not written asks again, and finds who leads by then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ottla.broker.peers import Peers
from ottla.coordinator.transaction.markers import Committed
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, ProducerEpoch, ProducerId, TopicPartition
from ottla.record.control import EndTxnMarker
from ottla.wire.generated.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

AT_ONCE = 1_000
"""Markers in one request."""


@dataclass(frozen=True, slots=True, eq=False)
class RemoteMarker:
    """One marker on its way to one partition."""

    partition: TopicPartition
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    marker: EndTxnMarker
    transaction_version: int
    is_wanted: Callable[[], bool]
    """Looked at right before it is sent: a coordinator that was deposed sends no more."""

    committed: Committed


class RemoteMarkers:
    def __init__(self, peers: Peers, timeout_ms: Callable[[], int]) -> None:
        """`peers` is for this alone; `timeout_ms` how long an answer is waited for."""
        self._peers = peers
        self._timeout_ms = timeout_ms
        self._unsent: dict[BrokerId, list[RemoteMarker]] = {}
        self._senders: dict[BrokerId, asyncio.Task[None]] = {}

    def write(self, leader: BrokerId, marker: RemoteMarker) -> None:
        """Send a marker with the next request to `leader`."""
        self._unsent.setdefault(leader, []).append(marker)
        if leader not in self._senders:
            sending = asyncio.get_running_loop().create_task(self._send_all(leader))
            self._senders[leader] = sending

    def close(self) -> None:
        """Send no more, and call nobody."""
        self._unsent.clear()
        for sender in self._senders.values():
            sender.cancel()
        self._peers.close()

    async def _send_all(self, leader: BrokerId) -> None:
        try:
            while unsent := self._unsent.pop(leader, None):
                if len(unsent) > AT_ONCE:
                    self._unsent[leader] = unsent[AT_ONCE:]
                await self._send(leader, unsent[:AT_ONCE])
        finally:
            self._senders.pop(leader, None)

    async def _send(self, leader: BrokerId, markers: list[RemoteMarker]) -> None:
        try:
            link = await self._peers.link(leader)
        except PeerError as error:
            _refuse(markers, ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER, str(error)))
            return
        _refuse(
            [each for each in markers if not each.is_wanted()], ApiError(ErrorCode.NOT_COORDINATOR)
        )
        markers = [each for each in markers if each.is_wanted()]
        if not markers:
            return
        rows = [_row(marker) for marker in markers]
        try:
            answer = await link.request(
                WriteTxnMarkersRequest(markers=rows), timeout_ms=self._timeout_ms()
            )
        except (PeerError, ApiError) as error:
            _refuse(markers, ApiError(ErrorCode.REQUEST_TIMED_OUT, str(error)))
            return
        _tell(markers, answer)


def _row(marker: RemoteMarker) -> WritableTxnMarker:
    """A row for each marker: one producer may end twice in a request, in two epochs."""
    name = marker.partition
    return WritableTxnMarker(
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        transaction_result=marker.marker.committed,
        coordinator_epoch=marker.marker.coordinator_epoch,
        transaction_version=marker.transaction_version,
        topics=[WritableTxnMarkerTopic(name=name.topic, partition_indexes=[name.partition])],
    )


def _tell(markers: list[RemoteMarker], answer: WriteTxnMarkersResponse) -> None:
    """Rows come in the order asked, one partition each; one that is missing says nothing."""
    for position, marker in enumerate(markers):
        error: ApiError | None = ApiError(ErrorCode.UNKNOWN_SERVER_ERROR, "no row in the answer")
        if position < len(answer.markers):
            row = answer.markers[position]
            for topic in row.topics:
                for part in topic.partitions:
                    name = TopicPartition(topic.name, part.partition_index)
                    if name == marker.partition and row.producer_id == marker.producer_id:
                        code = ErrorCode(part.error_code)
                        error = ApiError(code) if code else None
        marker.committed(error)


def _refuse(markers: list[RemoteMarker], error: ApiError) -> None:
    for marker in markers:
        marker.committed(error)
