import tracemalloc

import pytest

from ottla.model.errors import ProtocolError
from ottla.wire.codec import decode, encode
from ottla.wire.generated.fetch import FetchRequest, ReplicaState
from ottla.wire.generated.metadata import MetadataRequest
from ottla.wire.generated.produce import ProduceRequest
from ottla.wire.generated.records.consumer_group_member_metadata_value import (
    ConsumerGroupMemberMetadataValue,
)
from ottla.wire.generated.streams_group_heartbeat import StreamsGroupHeartbeatRequest
from ottla.wire.generated.sync_group import SyncGroupRequest
from ottla.wire.message import Message
from ottla.wire.primitives import MAX_ELEMENTS


def hex_bytes(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(
    ("cls", "version", "data"),
    [
        (MetadataRequest, 1, "7fffffff"),
        (MetadataRequest, 1, "7fffffff 0001 61"),
        (MetadataRequest, 0, "ffffffff"),
        (MetadataRequest, 0, "fffffffe"),
        (MetadataRequest, 9, "ffffffff0f"),
        (MetadataRequest, 9, "ffffffffff01 00 00 00 00"),
        (MetadataRequest, 1, "00000001 7fff 61"),
        (MetadataRequest, 1, "00000001 ffff"),
        (MetadataRequest, 1, "00000001 0002 c3"),
        (MetadataRequest, 1, "00000001 0001 ff"),
        (ProduceRequest, 3, "ffff 0001 00000001 00000001 000161 00000001 00000000 7fffffff 00"),
        (ProduceRequest, 3, "ffff 0001 00000001 40000000 000161 00000001 00000000 00000000"),
        (SyncGroupRequest, 0, "000161 00000000 000161 00000001 000161 ffffffff"),
    ],
)
def test_counts_and_lengths_that_do_not_fit_are_refused(
    cls: type[Message], version: int, data: str
) -> None:
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        decode(cls, version, hex_bytes(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("cls", "version", "data"),
    [
        (MetadataRequest, 1, "00000003 0000 0000 00"),
        (MetadataRequest, 9, "04 01 00 01 00 00"),
        (ProduceRequest, 3, "ffff 0001 00000001 00000001 0000 00000002" + "00" * 15),
    ],
)
def test_a_count_is_compared_with_what_remains_before_the_first_element_is_read(
    cls: type[Message], version: int, data: str
) -> None:
    with pytest.raises(ProtocolError, match="beyond the end"):
        decode(cls, version, hex_bytes(data))


def test_an_unknown_tagged_field_beyond_the_end_is_refused() -> None:
    data = encode(FetchRequest(max_bytes=1), 15)[:-1]
    assert decode(FetchRequest, 15, data + hex_bytes("01 7f 02 0000"))
    with pytest.raises(ProtocolError, match="beyond the end"):
        decode(FetchRequest, 15, data + hex_bytes("01 7f 03 0000"))


def test_a_null_list_is_null_where_it_may_be() -> None:
    assert decode(MetadataRequest, 1, hex_bytes("ffffffff"))[0].topics is None


def test_one_message_has_a_million_list_elements_at_most() -> None:
    count = MAX_ELEMENTS + 1
    data = count.to_bytes(4, "big") + b"\0\0" * count
    with pytest.raises(ProtocolError, match="list elements"):
        decode(MetadataRequest, 1, data)


def test_elements_of_nested_lists_are_counted_together() -> None:
    inner = 10_000
    partitions = (
        hex_bytes("0001 61") + inner.to_bytes(4, "big") + hex_bytes("0000000000000000") * inner
    )
    data = hex_bytes("ffff 0001 00000001") + (101).to_bytes(4, "big") + partitions * 101
    with pytest.raises(ProtocolError, match="list elements"):
        decode(ProduceRequest, 3, data)


def test_unknown_tagged_fields_are_skipped() -> None:
    request = FetchRequest(cluster_id="c", replica_state=ReplicaState(replica_id=7), max_bytes=1)
    data = encode(request, 15)
    tags = data.index(hex_bytes("02 00 02 02 63"))
    more = data[:tags] + hex_bytes("04") + data[tags + 1 :] + hex_bytes("0a 00  7f 03 010203")
    assert decode(FetchRequest, 15, more) == (request, len(more))


def test_a_tagged_field_of_the_wrong_size_is_refused() -> None:
    data = encode(FetchRequest(cluster_id="c", max_bytes=1), 15)
    longer = data.replace(hex_bytes("01 00 02 02 63"), hex_bytes("01 00 03 02 63 00"))
    with pytest.raises(ProtocolError, match="size"):
        decode(FetchRequest, 15, longer)


def test_a_tagged_struct_that_is_absent_is_none() -> None:
    data = encode(FetchRequest(replica_state=ReplicaState(), max_bytes=1), 15)
    assert decode(FetchRequest, 15, data)[0].replica_state is None


def test_a_struct_in_line_is_null_as_minus_one() -> None:
    data = encode(StreamsGroupHeartbeatRequest(), 0)
    message, _ = decode(StreamsGroupHeartbeatRequest, 0, data)
    assert message.topology is None
    assert data[10:17] == hex_bytes("00 00 ffffffff ff")  # instance, rack, time-out, topology


def test_a_tagged_struct_is_null_as_zero() -> None:
    message = ConsumerGroupMemberMetadataValue(classic_member_metadata=None)
    data = encode(message, 0)
    assert data.endswith(hex_bytes("01 00 01 00"))
    assert decode(ConsumerGroupMemberMetadataValue, 0, data) == (message, len(data))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(kind: type) -> None:
    data = encode(FetchRequest(rack_id="ü", cluster_id="c", max_bytes=7), 12)
    assert decode(FetchRequest, 12, kind(data))[0].rack_id == "ü"


def test_the_error_names_the_message() -> None:
    with pytest.raises(ProtocolError, match="FetchRequest version 12"):
        decode(FetchRequest, 12, b"\0\0")
