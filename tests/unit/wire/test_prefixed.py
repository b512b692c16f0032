import pytest

from ottla.model.errors import ProtocolError
from ottla.wire.generated.consumer_protocol_subscription import ConsumerProtocolSubscription
from ottla.wire.generated.end_txn_marker import EndTxnMarker
from ottla.wire.generated.records.group_metadata_key import GroupMetadataKey
from ottla.wire.generated.records.offset_commit_key import OffsetCommitKey
from ottla.wire.prefixed import (
    decode_key,
    decode_versioned,
    encode_key,
    encode_versioned,
    read_prefix,
)


def test_a_key_has_its_record_type_in_front() -> None:
    key = OffsetCommitKey(group="g", topic="t", partition=3)
    data = encode_key(key)
    assert data.hex(" ") == "00 01 00 01 67 00 01 74 00 00 00 03"
    assert read_prefix(data) == OffsetCommitKey.RECORD_TYPE == 1
    assert decode_key(OffsetCommitKey, data) == key
    assert read_prefix(encode_key(GroupMetadataKey(group="g"))) == 2


def test_a_value_has_its_version_in_front() -> None:
    data = encode_versioned(EndTxnMarker(coordinator_epoch=9), 0)
    assert data.hex() == "000000000009"
    assert decode_versioned(EndTxnMarker, data) == EndTxnMarker(coordinator_epoch=9)


def test_what_follows_a_value_is_ignored() -> None:
    data = encode_versioned(EndTxnMarker(coordinator_epoch=9), 0) + b"more"
    assert decode_versioned(EndTxnMarker, data).coordinator_epoch == 9


def test_a_version_from_the_future_is_read_as_the_latest_only_if_lenient() -> None:
    subscription = ConsumerProtocolSubscription(topics=["a"], rack_id="r")
    data = b"\0\x09" + encode_versioned(subscription, 3)[2:] + b"from the future"
    assert decode_versioned(ConsumerProtocolSubscription, data, lenient=True) == subscription
    with pytest.raises(ProtocolError):
        decode_versioned(ConsumerProtocolSubscription, data)


@pytest.mark.parametrize("data", [b"", b"\0"])
def test_no_room_for_a_prefix_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_prefix(data)
