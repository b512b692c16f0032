"""Every version of every message against Kafka's own classes, both ways, byte for byte.

Bytes alone would not tell two fields of one type that changed places, so both
sides also describe what they read, field by field, and the descriptions must be equal.
"""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.interop import wire_goldens
from tests.interop.wire_goldens import known
from tests.interop.wire_oracle import OracleError, WireOracle
from tests.messages import all_messages, describe, random_message
from tools.wiregen.emit import module
from tools.wiregen.grammar import parse

import ottla.wire
from ottla.wire.codec import decode, encode
from ottla.wire.generated.fetch import FetchRequest
from ottla.wire.message import Message, Struct
from ottla.wire.source import fields_of, struct_class

pytestmark = pytest.mark.java

VALUES = int(os.environ.get("OTTLA_WIRE_VALUES", "20"))
"""Random messages of each version, each way."""


class Tally:
    def __init__(self) -> None:
        self.messages: set[str] = set()
        self.versions: set[tuple[str, int]] = set()
        self.values = 0
        self.fields = 0


@pytest.fixture(scope="module")
def oracle() -> Iterator[WireOracle]:
    with WireOracle() as oracle:
        yield oracle


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    tally = Tally()
    yield tally
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(
            f"\nagainst Kafka's classes: {len(tally.messages)} messages, "
            f"{len(tally.versions)} versions of them, {tally.values} values, "
            f"{tally.fields} fields x versions each set at least once"
        )


def ours_there_and_back(oracle: WireOracle, message: Message, version: int) -> None:
    """Kafka reads what we write as we meant it, and writes it as we do."""
    data = encode(message, version)
    answer = oracle.there_and_back(type(message).__name__, version, data)
    assert known(type(message).__name__, answer.text) == describe(message)
    assert answer.data == data


def theirs_there_and_back(cls: type[Message], version: int, data: bytes) -> Message:
    """We read all of what Kafka wrote and write it as Kafka does; return what we read."""
    message, end = decode(cls, version, data)
    assert end == len(data)
    assert encode(message, version) == data
    return message


def fields_in(cls: type[Struct], version: int) -> set[tuple[str, str, str, int]]:
    """Every field that `version` of `cls` has, as `random_message` records them."""
    found: set[tuple[str, str, str, int]] = set()
    for field in fields_of(cls):
        if field.in_version(version):
            found.add((cls.__module__, cls.__name__, field.name, version))
            if field.element[0].isupper():
                found |= fields_in(struct_class(cls, field.element), version)
    return found


@pytest.mark.parametrize("cls", all_messages(), ids=lambda cls: cls.__name__)
def test_kafka_reads_and_writes_it_as_we_do(
    oracle: WireOracle, tally: Tally, cls: type[Message]
) -> None:
    chance = random.Random(cls.__name__)
    for version in range(cls.MIN_VERSION, cls.MAX_VERSION + 1):
        tally.messages.add(cls.__name__)
        tally.versions.add((cls.__name__, version))
        wanted = fields_in(cls, version)
        seen: set[tuple[str, str, str, int]] = set()
        made = 0
        while made < VALUES or (wanted - seen and made < 50 * VALUES):
            ours_there_and_back(oracle, random_message(cls, version, chance, seen), version)
            made += 1
        assert seen == wanted, "some fields were never set"
        for seed in range(VALUES):
            answer = oracle.generate(cls.__name__, version, seed)
            message = theirs_there_and_back(cls, version, answer.data)
            assert describe(message) == known(cls.__name__, answer.text)
        tally.values += made + VALUES
        tally.fields += len(wanted)


@pytest.mark.parametrize("cls", all_messages(), ids=lambda cls: cls.__name__)
def test_defaults_are_kafkas(oracle: WireOracle, cls: type[Message]) -> None:
    for version in range(cls.MIN_VERSION, cls.MAX_VERSION + 1):
        try:
            data = encode(cls(), version)
        except ValueError:
            continue  # something must be set in this version
        answer = oracle.there_and_back(cls.__name__, version, data)
        assert known(cls.__name__, answer.text) == describe(cls())


def test_two_int32_fields_that_changed_places_are_noticed(oracle: WireOracle) -> None:
    text = (Path(ottla.wire.__file__).parent / "schema" / "01_fetch").read_text()
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:2] == ["max_wait_ms", "int32"])
    second = next(i for i, line in enumerate(lines) if line.split()[:2] == ["min_bytes", "int32"])
    lines[first], lines[second] = lines[second], lines[first]
    swapped = ModuleType("swapped_fetch")
    sys.modules[swapped.__name__] = swapped
    try:
        exec(module(parse("01_fetch", "\n".join(lines))), vars(swapped))
        wrong = swapped.FetchRequest(max_wait_ms=1, min_bytes=2)
        with pytest.raises(AssertionError, match="maxwaitms"):
            ours_there_and_back(oracle, wrong, 11)
    finally:
        del sys.modules[swapped.__name__]
    ours_there_and_back(oracle, FetchRequest(max_wait_ms=1, min_bytes=2), 11)


def test_kafka_refuses_what_is_no_message(oracle: WireOracle) -> None:
    with pytest.raises(OracleError, match="FetchRequest version 11"):
        oracle.there_and_back("FetchRequest", 11, b"\0\0")


def test_the_goldens_are_what_kafka_makes(oracle: WireOracle) -> None:
    seeds: dict[tuple[str, int], int] = {}
    for golden in wire_goldens.read():
        seed = seeds.get((golden.name, golden.version), 0)
        seeds[golden.name, golden.version] = seed + 1
        answer = oracle.generate(golden.name, golden.version, seed, small=True)
        assert answer.data == golden.data
        assert wire_goldens.digest(known(golden.name, answer.text)) == golden.digest
