import pytest

from ottla.wire.generated.fetch import FetchRequest, FetchTopic
from ottla.wire.source import Runs, Source, fields_of, minimum_size, struct_class


def test_blocks_indent() -> None:
    source = Source({})
    with source.block("if x:"):
        source.line("return 1")
    source.line("return 2")
    function = source.compile("def choose(x):", "test")
    assert [function(True), function(False)] == [1, 2]


def test_names_that_are_taken_get_a_number() -> None:
    source = Source({})
    assert [source.name("a", 1), source.name("a", 1), source.name("a", 2)] == ["a", "a", "a_1"]
    assert source.names == {"a": 1, "a_1": 2}


def test_nested_structs_are_found_in_the_module_of_their_message() -> None:
    assert struct_class(FetchRequest, "FetchTopic") is FetchTopic
    assert fields_of(FetchTopic)[0].name == "topic"


@pytest.mark.parametrize(
    ("kind", "version", "flexible", "size"),
    [
        ("int16", 4, False, 2),
        ("uuid", 13, True, 16),
        ("string", 4, False, 2),
        ("string", 12, True, 1),
        ("bytes", 4, False, 4),
        ("string16", 12, True, 2),
        ("FetchTopic", 4, False, 6),
        ("FetchTopic", 12, True, 3),
        ("FetchPartition", 4, False, 16),
        ("FetchPartition", 18, True, 33),
    ],
)
def test_the_fewest_bytes_something_takes(
    kind: str, version: int, flexible: bool, size: int
) -> None:
    assert minimum_size(FetchRequest, kind, version, flexible) == size


def test_runs_of_numbers_are_packed_and_unpacked_by_their_count() -> None:
    pack, unpack = Runs("pack", "h"), Runs("unpack_from", "h")
    assert pack[3](1, -2, 3) == bytes.fromhex("0001fffe0003")
    assert unpack[2](pack[3](1, -2, 3), 2) == (-2, 3)


def test_only_short_runs_are_kept() -> None:
    runs = Runs("pack", "i")
    for count in (1, 64, 65, 100_000):
        assert runs[count](*[0] * count) == bytes(4 * count)
    assert list(runs) == [1, 64]
