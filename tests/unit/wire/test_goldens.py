"""Messages made by Kafka's own classes, without Java (tests/interop/wire_goldens.py)."""

from tests.interop import wire_goldens
from tests.messages import all_messages, all_versions, describe

from ottla.wire.codec import decode, encode


def test_goldens_are_read_and_written_as_kafka_does() -> None:
    classes = {cls.__name__: cls for cls in all_messages()}
    for golden in wire_goldens.read():
        cls = classes[golden.name]
        message, end = decode(cls, golden.version, golden.data)
        where = f"{golden.name} version {golden.version}"
        assert end == len(golden.data), where
        assert wire_goldens.digest(describe(message)) == golden.digest, where
        assert encode(message, golden.version) == golden.data, where


def test_every_version_of_every_message_has_goldens() -> None:
    there = [(golden.name, golden.version) for golden in wire_goldens.read()]
    for cls, version in all_versions():
        assert there.count((cls.__name__, version)) == wire_goldens.VALUES
