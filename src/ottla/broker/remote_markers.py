"""Markers for partitions that other brokers lead: WriteTxnMarkers, batched per broker.

One request at a time is under way to a broker; what comes meanwhile goes together in the
next. Its links are no one else's: the answer waits until the markers are replicated, and
behind it nothing else may wait. Nothing is sent again here: who hears that a marker was
not written asks again, and finds who leads by then.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ottla.broker.batched import Batched
from ottla.broker.peers import Peers
from ottla.coordinator.transaction.markers import Committed
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import BrokerId, ProducerEpoch, ProducerId, TopicPartition
from ottla.net.peer import Link
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
        self._timeout_ms = timeout_ms
        self._markers: Batched[RemoteMarker] = Batched(
            peers,
            split=lambda unsent: (unsent[:AT_ONCE], unsent[AT_ONCE:]),
            send=self._send,
            failed=lambda markers, why: _refuse(
                markers, ApiError(ErrorCode.NETWORK_EXCEPTION, why)
            ),
        )

    def write(self, leader: BrokerId, marker: RemoteMarker) -> None:
        """Send a marker with the next request to `leader`."""
        self._markers.add(leader, marker)

    def follow(self, image: Image) -> None:
        """Wait for no broker that is not there any more."""
        self._markers.follow(image)

    def drop_unwanted(self) -> None:
        """This broker coordinates less than before: what was not sent for the others never is."""
        dropped = self._markers.drop(lambda marker: not marker.is_wanted())
        _refuse(dropped, ApiError(ErrorCode.NOT_COORDINATOR))

    def close(self) -> None:
        """Send no more, and call nobody."""
        self._markers.close()

    async def _send(self, link: Link, markers: list[RemoteMarker]) -> None:
        unwanted = [each for each in markers if not each.is_wanted()]
        markers = [each for each in markers if each.is_wanted()]
        _refuse(unwanted, ApiError(ErrorCode.NOT_COORDINATOR))
        if not markers:
            return
        rows = [_row(marker) for marker in markers]
        try:
            answer = await link.request(
                WriteTxnMarkersRequest(markers=rows), timeout_ms=self._timeout_ms()
            )
        except (PeerError, ApiError) as error:
            _refuse(markers, ApiError(ErrorCode.NETWORK_EXCEPTION, str(error)))
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
