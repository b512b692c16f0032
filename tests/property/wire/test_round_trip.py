"""Every class and version: what is encoded decodes to the same, and the other way round."""

import random

import pytest
from tests.messages import all_messages, all_versions, random_message

from ottla.wire.codec import decode, encode, encode_parts
from ottla.wire.message import Message


@pytest.mark.parametrize("cls", all_messages(), ids=lambda cls: cls.__name__)
def test_decoding_undoes_encoding(cls: type[Message]) -> None:
    chance = random.Random(cls.__name__)
    for version in range(cls.MIN_VERSION, cls.MAX_VERSION + 1):
        for _ in range(20):
            message = random_message(cls, version, chance)
            data = encode(message, version)
            assert b"".join(encode_parts(message, version, b"ab")) == b"ab" + data
            again, end = decode(cls, version, memoryview(b"xyz" + data + b"more"), 3)
            assert (again, end - 3) == (message, len(data))
            assert encode(again, version) == data


def test_there_is_something_to_test() -> None:
    assert len(all_messages()) > 200
    assert len(list(all_versions())) > 600
