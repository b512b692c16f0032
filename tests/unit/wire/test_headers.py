import pytest

from ottla.model.errors import ProtocolError
from ottla.wire.codec import decode, encode
from ottla.wire.generated.request_header import RequestHeader as GeneratedRequestHeader
from ottla.wire.generated.response_header import ResponseHeader as GeneratedResponseHeader
from ottla.wire.headers import (
    RequestHeader,
    read_request_header,
    read_response_header,
    request_header,
    response_header,
)

PRODUCE, SASL_HANDSHAKE, API_VERSIONS = 0, 17, 18


@pytest.mark.parametrize("client_id", [None, "", "rdkafka", "ä" * 300])
@pytest.mark.parametrize("key_version", [(PRODUCE, 8), (PRODUCE, 9), (SASL_HANDSHAKE, 1)])
def test_a_request_header_is_as_the_schema_says(
    key_version: tuple[int, int], client_id: str | None
) -> None:
    key, version = key_version
    header = RequestHeader(key, version, -5, client_id)
    data = request_header(header)
    generated = GeneratedRequestHeader(
        request_api_key=key, request_api_version=version, correlation_id=-5, client_id=client_id
    )
    assert data == encode(generated, 2 if version == 9 else 1)
    assert read_request_header(memoryview(b"xx" + data + b"body"), 2) == (header, 2 + len(data))


def test_unknown_tagged_fields_of_a_request_header_are_skipped() -> None:
    data = request_header(RequestHeader(PRODUCE, 9, 1, "a"))[:-1] + bytes.fromhex("02 0501aa 0600")
    header, position = read_request_header(data)
    assert (header.client_id, position) == ("a", len(data))


def test_an_unknown_api_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="4"):
        read_request_header(bytes.fromhex("0004 0000 00000001 ffff"))


def test_the_version_of_a_request_is_not_checked() -> None:
    data = request_header(RequestHeader(API_VERSIONS, 3, 1, None))
    future = data[:2] + (99).to_bytes(2, "big") + data[4:]
    assert read_request_header(future)[0].api_version == 99


@pytest.mark.parametrize("version", [8, 9])
def test_a_request_header_cut_off_anywhere_is_a_protocol_error(version: int) -> None:
    data = request_header(RequestHeader(PRODUCE, version, 1, "client"))
    for size in range(len(data)):
        with pytest.raises(ProtocolError):
            read_request_header(data[:size])


def test_a_client_id_that_is_not_utf8_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        read_request_header(bytes.fromhex("0000 0003 00000001 0001 ff"))


@pytest.mark.parametrize(("version", "header_version"), [(8, 0), (9, 1)])
def test_a_response_header_is_as_the_schema_says(version: int, header_version: int) -> None:
    data = response_header(77, PRODUCE, version)
    assert data == encode(GeneratedResponseHeader(correlation_id=77), header_version)
    assert decode(GeneratedResponseHeader, header_version, data)[0].correlation_id == 77
    assert read_response_header(b"x" + data, PRODUCE, version, 1) == (77, 1 + len(data))


@pytest.mark.parametrize("version", [0, 3, 4])
def test_the_answer_to_api_versions_has_the_oldest_header(version: int) -> None:
    assert response_header(77, API_VERSIONS, version) == b"\0\0\0M"
    assert read_response_header(b"\0\0\0M\1", API_VERSIONS, version) == (77, 4)


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\1"])
def test_a_response_header_cut_off_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_response_header(data, PRODUCE, 9)
