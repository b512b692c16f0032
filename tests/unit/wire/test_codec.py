import pytest

from ottla.model.errors import ProtocolError
from ottla.wire.codec import (
    UnsupportedFieldError,
    decode,
    encode,
    encode_around,
    encode_parts,
    encode_struct,
    encode_struct_around,
    reader,
    writer,
)
from ottla.wire.generated.create_topics import (
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsResponse,
)
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from ottla.wire.generated.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponseTopic,
)
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)


def produce(*records: bytes | memoryview | None) -> ProduceRequest:
    partitions = [PartitionProduceData(index=i, records=r) for i, r in enumerate(records)]
    return ProduceRequest(acks=-1, topic_data=[TopicProduceData(partition_data=partitions)])


def test_records_are_slices_of_the_buffer() -> None:
    buffer = bytearray(encode(produce(b"first", b"second"), 9))
    message, _ = decode(ProduceRequest, 9, buffer)
    buffer[buffer.index(b"second")] = ord("S")
    records = message.topic_data[0].partition_data[1].records
    assert isinstance(records, memoryview)
    assert records == b"Second"


def test_what_is_not_records_is_copied() -> None:
    request = ProduceRequest(transactional_id="mine", topic_data=[TopicProduceData(name="topic")])
    buffer = bytearray(encode(request, 9))
    message, _ = decode(ProduceRequest, 9, memoryview(buffer))
    buffer[:] = b"\xdd" * len(buffer)
    assert (message.transactional_id, message.topic_data[0].name) == ("mine", "topic")


def test_parts_leave_records_where_they_are() -> None:
    one, two = memoryview(b"a" * 1000), b"b" * 1000
    parts = encode_parts(produce(one, two), 9, b"head")
    assert parts[1] is one
    assert parts[3] is two
    assert isinstance(parts[0], bytearray)
    assert b"".join(parts) == b"head" + encode(produce(one, two), 9)


@pytest.mark.parametrize("records", [None, b""])
def test_no_records_are_no_part(records: bytes | None) -> None:
    assert len(encode_parts(produce(records), 9)) == 1
    message, _ = decode(ProduceRequest, 9, encode(produce(records), 9))
    assert message == produce(records)


def test_a_field_that_the_version_lacks_is_an_error() -> None:
    topic = FetchTopic(topic="t", partitions=[FetchPartition(last_fetched_epoch=3)])
    with pytest.raises(UnsupportedFieldError, match=r"version 11 has no .*last_fetched_epoch"):
        encode(FetchRequest(topics=[topic]), 11)


def test_an_ignorable_field_that_the_version_lacks_is_dropped() -> None:
    assert encode(FetchRequest(rack_id="a"), 10) == encode(FetchRequest(), 10)


def test_a_field_that_the_version_lacks_has_its_default_after_decoding() -> None:
    message, _ = decode(FetchRequest, 4, encode(FetchRequest(max_wait_ms=5), 4))
    assert message == FetchRequest(max_wait_ms=5)


def test_an_unknown_version_cannot_be_read_or_written() -> None:
    with pytest.raises(ProtocolError):
        decode(ProduceRequest, 14, b"")
    with pytest.raises(ValueError):
        encode(ProduceRequest(), 2)


def test_code_is_compiled_once() -> None:
    assert reader(ProduceRequest, 9) is reader(ProduceRequest, 9)
    assert writer(ProduceRequest, 9) is writer(ProduceRequest, 9)
    assert writer(ProduceRequest, 9) is not writer(ProduceRequest, 8)


@pytest.mark.parametrize("version", [0, 1, 8, 9, 12, 13])
def test_a_message_around_structs_that_were_encoded_before(version: int) -> None:
    topics = [MetadataResponseTopic(name=f"topic {i}") for i in range(200)]
    message = MetadataResponse(brokers=[MetadataResponseBroker(host="here")], topics=topics)
    whole = encode(message, version)
    bodies = [encode_struct(topic, MetadataResponse, version) for topic in topics]
    message.topics = []
    assert encode_around(message, version, "topics", bodies, b"head") == b"head" + whole
    assert message.topics == []


@pytest.mark.parametrize("version", [5, 7])
def test_a_struct_around_structs_that_were_encoded_before(version: int) -> None:
    configs = [CreatableTopicConfigs(name=f"setting {i}", value=str(i)) for i in range(200)]
    topic = CreatableTopicResult(name="topic", num_partitions=3, configs=configs)
    whole = encode_struct(topic, CreateTopicsResponse, version)
    rows = [encode_struct(row, CreateTopicsResponse, version) for row in configs]
    topic.configs = []
    around = encode_struct_around(topic, CreateTopicsResponse, version, "configs", rows)
    assert around == whole
    assert topic.configs == []


def test_a_new_response_is_written_in_every_version() -> None:
    for version in range(ProduceResponse.MIN_VERSION, ProduceResponse.MAX_VERSION + 1):
        data = encode(ProduceResponse(), version)
        assert decode(ProduceResponse, version, data) == (ProduceResponse(), len(data))
