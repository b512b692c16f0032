"""What a leader says of a log's end before it knows what is committed (KIP-207)."""

import pytest
from tests.unit.handlers.parts import Asker, Brokerlet
from tests.unit.replica.parts import FLUSHED, alone

from ottla.handlers.offsets import list_offsets
from ottla.model.errors import ErrorCode
from ottla.model.isolation import ListOffsetsTimestamp
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)

NEW_EPOCH = 7
LATEST = int(ListOffsetsTimestamp.LATEST)
EARLIEST = int(ListOffsetsTimestamp.EARLIEST)
LONG_AGO, NEVER = 0, 1 << 60


def ask(
    broker: Brokerlet, timestamp: int, version: int = 8, replica_id: int = -1
) -> tuple[int, int]:
    """(error, offset) of partition 0 of "t"."""
    row = ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    request = ListOffsetsRequest(
        replica_id=replica_id, topics=[ListOffsetsTopic(name="t", partitions=[row])]
    )
    response = list_offsets(Asker(broker, version), request)  # type: ignore[arg-type]
    (answer,) = response.topics[0].partitions  # type: ignore[union-attr]
    return answer.error_code, answer.offset


@pytest.fixture
def broker() -> Brokerlet:
    """The first two records are committed, the third is not known to be."""
    broker = Brokerlet()
    broker.create("t", config=FLUSHED)
    broker.append("t", count=2)
    partition = broker.partition("t")
    partition.log.flush()
    partition.advance_high_watermark(0)
    broker.append("t", count=1)
    return broker


def begin_to_lead(broker: Brokerlet) -> None:
    partition = broker.partition("t")
    partition.resign()
    partition.become_leader(alone(NEW_EPOCH))


def test_who_led_all_along_knows_the_end(broker: Brokerlet) -> None:
    assert ask(broker, LATEST) == (0, 2)
    assert ask(broker, NEVER) == (0, -1)


@pytest.mark.parametrize(
    ("version", "code"),
    [(4, ErrorCode.LEADER_NOT_AVAILABLE), (5, ErrorCode.OFFSET_NOT_AVAILABLE)],
)
@pytest.mark.parametrize("timestamp", [LATEST, NEVER])
def test_a_new_leader_does_not(
    broker: Brokerlet, timestamp: int, version: int, code: ErrorCode
) -> None:
    begin_to_lead(broker)
    assert ask(broker, timestamp, version) == (code, -1)


def test_what_lies_below_the_high_watermark_is_told_all_the_same(broker: Brokerlet) -> None:
    begin_to_lead(broker)
    assert ask(broker, EARLIEST) == (0, 0)
    assert ask(broker, LONG_AGO) == (0, 0)


def test_it_knows_once_all_that_was_there_is_committed(broker: Brokerlet) -> None:
    begin_to_lead(broker)
    partition = broker.partition("t")
    partition.log.flush()
    partition.advance_high_watermark(0)
    broker.append("t", count=1)
    assert ask(broker, LATEST) == (0, 3), "what was appended since was not told to anybody"


def test_to_a_follower_the_log_ends_where_it_does(broker: Brokerlet) -> None:
    begin_to_lead(broker)
    assert ask(broker, LATEST, replica_id=2) == (0, 3)
    assert ask(broker, EARLIEST, replica_id=2) == (0, 0)
