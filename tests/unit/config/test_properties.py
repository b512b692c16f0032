"""Java's .properties syntax."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.config.properties import Property, read_properties


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(one.name, one.value) for one in read_properties(text)]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("a=b", "a", "b"),
        ("a = b", "a", "b"),
        ("a:b", "a", "b"),
        ("a b", "a", "b"),
        ("a\t:\tb c ", "a", "b c "),
        ("  a=b", "a", "b"),
        ("a", "a", ""),
        ("a=", "a", ""),
        ("a==b", "a", "=b"),
        ("a\\=b=c", "a=b", "c"),
        ("a\\ b=c", "a b", "c"),
        ("a=\\u00e9\\t\\n\\q", "a", "é\t\nq"),
        ("a=\\ud83d\\ude00", "a", "\U0001f600"),
        ("a=C\\:\\\\temp", "a", "C:\\temp"),
    ],
)
def test_one_line(line: str, name: str, value: str) -> None:
    assert _pairs(line) == [(name, value)]


def test_comments_and_blank_lines_are_no_properties() -> None:
    assert _pairs("# a=1\n  ! b=2\n\n   \nc=3\r\n\rd=4") == [("c", "3"), ("d", "4")]


def test_a_backslash_joins_lines_and_drops_the_space_that_follows() -> None:
    assert read_properties("\na=b,\\\n    c\nd=e\\\\\nf=g") == [
        Property("a", "b,c", 2),
        Property("d", "e\\", 4),
        Property("f", "g", 5),
    ]


def test_a_comment_line_inside_a_continuation_is_text() -> None:
    assert _pairs("a=b\\\n#c") == [("a", "b#c")]


def test_a_continuation_at_the_end_of_the_file_ends_there() -> None:
    assert _pairs("a=b\\") == [("a", "b")]


def test_a_broken_escape_names_its_line() -> None:
    with pytest.raises(ValueError, match="line 2"):
        read_properties("a=1\nb=\\u00g0")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        read_properties(text)
