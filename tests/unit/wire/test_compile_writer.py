import pytest

from ottla.wire.codec import encode
from ottla.wire.generated.delete_topics import DeletableTopicResult, DeleteTopicsResponse
from ottla.wire.generated.fetch import FetchRequest, FetchResponse, NodeEndpoint, ReplicaState
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic


def test_a_flexible_message_by_hand() -> None:
    request = HeartbeatRequest(
        group_id="g", generation_id=1, member_id="mm", group_instance_id=None
    )
    assert encode(request, 4).hex(" ") == "02 67 00 00 00 01 03 6d 6d 00 00"
    assert encode(request, 3).hex(" ") == "00 01 67 00 00 00 01 00 02 6d 6d ff ff"


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 16_382, 16_383, 16_384, 40_000])
def test_compact_lengths_are_one_more_as_varint(size: int) -> None:
    data = encode(MetadataRequest(topics=[MetadataRequestTopic(name="x" * size)]), 9)
    head = data[: data.index(b"x")] if size else data[:2]
    length = sum((byte & 127) << 7 * i for i, byte in enumerate(head[1:]))
    assert length == size + 1


def test_tagged_fields_are_written_in_order_and_only_if_set() -> None:
    none = encode(FetchRequest(replica_state=ReplicaState(), max_bytes=1), 15)
    assert none[-1] == 0
    both = encode(FetchRequest(cluster_id="c", replica_state=ReplicaState(replica_id=1)), 15)
    assert both.endswith(bytes.fromhex("02 00 02 02 63 01 0d 00000001 ffffffffffffffff 00"))


def test_a_tagged_list_is_written_if_not_empty() -> None:
    assert encode(FetchResponse(), 16)[-1] == 0
    data = encode(FetchResponse(node_endpoints=[NodeEndpoint(node_id=5, host="h", port=9)]), 16)
    assert data.endswith(bytes.fromhex("01 00 0d 02 00000005 0268 00000009 00 00"))


def test_a_number_out_of_range_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="HeartbeatRequest version 4"):
        encode(HeartbeatRequest(generation_id=1 << 31), 4)


def test_null_where_it_may_not_be_is_a_value_error() -> None:
    response = DeleteTopicsResponse(responses=[DeletableTopicResult(name=None)])
    assert encode(response, 6)
    with pytest.raises(ValueError):
        encode(response, 5)


def test_a_string_too_long_for_its_length_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        encode(HeartbeatRequest(group_id="x" * 40_000), 3)


def test_a_lone_surrogate_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        encode(HeartbeatRequest(group_id="\ud800"), 4)
