import pytest
from tools.wiregen.grammar import Field, Schema, SchemaError, parse

HEAD = "api 7 SOMETHING\nversions 1-5\nflexible 3+\n\nrequest SomethingRequest\n"


def fields(text: str) -> dict[str, Field]:
    schema = parse("test", HEAD + text)
    return {field.name: field for field in schema.messages[0].fields}


def test_the_head_says_api_and_versions() -> None:
    schema = parse(
        "00_produce", "api 0 PRODUCE\nversions 3-13\nflexible 9+\nunstable 13\nrequest X"
    )
    assert (schema.api, schema.versions) == ((0, "PRODUCE"), (3, 13))
    assert (schema.flexible_from, schema.unstable) == (9, 13)


def test_a_record_has_a_type_and_perhaps_no_flexible_version() -> None:
    schema = parse("x", "record 2\nversions 0\nflexible none\nkey SomeKey\n  group string")
    assert (schema.record, schema.versions, schema.flexible_from) == (2, (0, 0), None)
    assert schema.messages[0].kind == "key"


def test_a_field_exists_in_all_versions_unless_it_says_which() -> None:
    found = fields("  a int32\n  b int32 2\n  c int32 2-3\n  d int32 4+\n")
    assert [found[name].versions for name in "abcd"] == [(1, 5), (2, 2), (2, 3), (4, 5)]


def test_a_nested_field_exists_where_its_struct_does() -> None:
    schema = parse("test", HEAD + "  items []Item 2+\n    a int32\n    b int32 4+\n  after int8\n")
    assert [field.versions for field in schema.structs["Item"].fields] == [(2, 5), (4, 5)]
    assert [field.name for field in schema.messages[0].fields] == ["items", "after"]


def test_marks() -> None:
    found = fields(
        "  a string? = null ignorable   # says nothing\n"
        "  b []int32 nullable 2+\n"
        "  c int64 = -1\n"
        "  d int16 3+ tag 2\n"
        '  e string = "a b # c"\n'
        "  f bool = true\n"
    )
    assert found["a"].default_is_null
    assert found["a"].ignorable
    assert found["b"].is_list
    assert found["b"].nullable == (2, 5)
    assert not found["b"].default_is_null
    assert found["c"].default == -1
    assert found["d"].tag == 2
    assert found["e"].default == "a b # c"
    assert found["f"].default is True


def test_a_struct_used_twice_is_a_block_of_its_own() -> None:
    schema = parse("test", HEAD + "  a []Item\n  b Item\n\nstruct Item\n  x int32\n")
    assert [field.name for field in schema.structs["Item"].fields] == ["x"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("  a int33", "unknown type"),
        ("  A int32", "lower case"),
        ("  a int32 0+", "not within"),
        ("  a int32 4-9", "not within"),
        ("  a int32 = null", "cannot be"),
        ("  a int32 loud", "unknown mark"),
        ("  a int32\n  a int32", "twice"),
        ("  a int32\n    b int32", "indent"),
        ("  a Nothing", "no struct"),
        ("  a int32 tag 0", "not flexible"),
        ("  a int32 3+ tag 0\n  b int32 3+ tag 0", "used twice"),
        ("  a []Item\n    x int32 2+", "may be empty in version 1"),
        ("  a Item\n    b []Item", "contains itself"),
        ("\nstruct Item\n  x int32", "not used"),
        ("nonsense", "unknown line"),
    ],
)
def test_a_wrong_line_is_refused(line: str, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        parse("test", HEAD + line + "\n")


def test_an_error_names_file_and_line() -> None:
    with pytest.raises(SchemaError, match=r"^00_x:7: .*'b int33'"):
        parse("00_x", HEAD + "  a int32\n  b int33\n")


def test_a_field_outside_of_a_message_is_refused() -> None:
    with pytest.raises(SchemaError, match="outside"):
        parse("test", "versions 0\n  a int32\n")


def test_a_file_without_a_message_is_refused() -> None:
    with pytest.raises(SchemaError, match="no message"):
        parse("test", "versions 0\n")


def test_an_empty_schema_has_nothing() -> None:
    assert Schema("x").messages == []
