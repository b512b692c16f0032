"""Expressions over topic names: what they match, what is refused, how long they take."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.coordinator.group.regexes import check_regex, compiled, resolve
from ottla.model.errors import ApiError, ErrorCode


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("orders.*", ["orders", "orders-eu"]),
        ("ord", []),
        ("(orders|rides)(-(eu|us))?", ["orders", "orders-eu", "rides"]),
        ("^rides$", ["rides"]),
        (r"\Arides\z", ["rides"]),
        ("[a-q]+[^-]*", ["orders"]),
        (r"[\w-]{6,9}", ["orders", "orders-eu"]),
        (r"(?i)RIDES|ORDERS", ["orders", "rides"]),
        (r"\w*\d\D*", ["t2"]),
        ("r.{2,4}", ["rides"]),
        ("(?P<a>r)ides", ["rides"]),
        ("t{1}2{1,}", ["t2"]),
        ("", []),
    ],
)
def test_an_expression_matches_whole_names(text: str, names: list[str]) -> None:
    assert resolve(text, ["rides", "orders-eu", "t2", "orders"]) == names


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "(",
        "*a",
        r"(a)\1",
        "(?=a)b",
        "(?!a)b",
        "(?<=a)b",
        "(?>a)",
        "a++",
        "a{1001}",
        "(a{900}){900}",
        "((a{100}){100}){100}",
        "x" * 5_000,
        "(" * 500 + ")" * 500,
        "(?:" * 400 + "a" + ")*" * 400,
        r"\b",
    ],
)
def test_what_could_take_long_or_is_not_re2_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as raised:
        check_regex(text)
    assert raised.value.code is ErrorCode.INVALID_REGULAR_EXPRESSION
    assert resolve(text, ["a"]) == []


def test_an_expression_that_would_backtrack_for_ever_looks_at_each_character_once() -> None:
    automaton = compiled("(a+)+(a|aa)*b")
    assert not automaton.matches("a" * 249)
    assert automaton.matches("a" * 248 + "b")
    assert len(automaton._moves) < 20


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "(a|b)", "(ab)", "(?:b|)"])
expressions = st.lists(
    st.tuples(atoms, st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "*?"])), max_size=5
).map(lambda parts: "".join(atom + times for atom, times in parts))


@settings(max_examples=300, deadline=None)
@given(st.lists(expressions, min_size=1, max_size=3).map("|".join), st.text("abc", max_size=6))
def test_it_matches_what_python_matches(text: str, name: str) -> None:
    assert compiled(text).matches(name) == (re.fullmatch(text, name) is not None)
