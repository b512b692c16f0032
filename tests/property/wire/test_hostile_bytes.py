"""Whatever the bytes, a decoder returns a message or raises ProtocolError, and nothing else."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interop import wire_goldens
from tests.messages import all_messages, all_versions, random_message

from ottla.model.errors import ProtocolError
from ottla.wire.codec import decode, encode
from ottla.wire.headers import read_request_header
from ottla.wire.message import Message

VERSIONS = list(all_versions())
CLASSES = {cls.__name__: cls for cls in all_messages()}
GOLDENS = list(wire_goldens.read())


def decode_or_refuse(cls: type[Message], version: int, data: bytes) -> Message | None:
    try:
        return decode(cls, version, data)[0]
    except ProtocolError:
        return None


@pytest.mark.parametrize("cls", all_messages(), ids=lambda cls: cls.__name__)
def test_a_message_cut_off_at_any_byte_is_refused(cls: type[Message]) -> None:
    for golden in GOLDENS:
        if golden.name != cls.__name__:
            continue
        for size in range(len(golden.data)):
            with pytest.raises(ProtocolError):
                decode(cls, golden.version, golden.data[:size])


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(VERSIONS), st.binary(max_size=200))
def test_any_bytes(cls_version: tuple[type[Message], int], data: bytes) -> None:
    cls, version = cls_version
    message = decode_or_refuse(cls, version, data)
    if message is not None:
        assert decode(cls, version, encode(message, version))[0] == message


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(GOLDENS),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))),
)
def test_a_message_with_bytes_changed(
    golden: wire_goldens.Golden, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(golden.data)
    for position, byte in changes:
        if position < len(data):
            data[position] = byte
    decode_or_refuse(CLASSES[golden.name], golden.version, bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VERSIONS), st.integers(0, 1 << 32))
def test_any_message_comes_back(cls_version: tuple[type[Message], int], seed: int) -> None:
    cls, version = cls_version
    message = random_message(cls, version, random.Random(seed))
    assert decode(cls, version, encode(message, version))[0] == message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_as_a_request_header(data: bytes) -> None:
    try:
        _, position = read_request_header(data)
    except ProtocolError:
        return
    assert position <= len(data)
