"""Regular expressions over topic names, in time that is bounded by construction.

Kafka takes the syntax of RE2, which has neither back references nor look-around
so that a match never takes longer than the text is long. Python's own engine
backtracks: `(a+)+b` over thirty letters takes minutes. So an expression is
parsed by Python, refused where RE2 would refuse it, and run here as a set of
states moved along the name, the moves being remembered.
"""

import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from typing import Any

from ottla.model.errors import ApiError, ErrorCode

MAX_LENGTH = 4_096
"""Characters of an expression."""

MAX_STATES = 2_000
"""Of the automaton; a repetition of 1000 of one letter, as RE2 allows, has as many."""

STATE_COST = 4
"""Of a state in a move that is made and not looked up, in characters looked up."""

MAX_REPEAT = 1_000
MAX_MOVES = 10_000
MAX_REMEMBERED = 100_000
"""Moves, and states they lead to, that one expression remembers; then all are forgotten."""


def check_regex(text: str) -> None:
    """Raises ApiError: INVALID_REGULAR_EXPRESSION."""
    compiled(text)


def resolve(text: str, names: Iterable[str]) -> list[str]:
    """The names that an expression matches as a whole, sorted; none for one that is not valid."""
    try:
        automaton = compiled(text)
    except ApiError:
        return []
    return sorted(name for name in names if automaton.matches(name))


@lru_cache(maxsize=256)
def compiled(text: str) -> "Automaton":
    """Raises ApiError: INVALID_REGULAR_EXPRESSION."""
    if len(text) > MAX_LENGTH:
        raise _invalid(text, "it is too long")
    try:
        parsed = _parser.parse(_as_python(text))
        builder = _Builder(text, bool(parsed.state.flags & re.IGNORECASE))
        start = builder.state()
        end = builder.sequence(parsed, start)
    except re.error as error:
        raise _invalid(text, error.msg) from error
    except (OverflowError, RecursionError) as error:
        raise _invalid(text, "it is too large") from error
    return Automaton(builder.edges, builder.empty, start, end)


def _as_python(text: str) -> str:
    """RE2's `\\z` is Python's `\\Z`."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", text)


_WORDS = {
    "unterminated character set": "missing closing ]",
    "missing ), unterminated subpattern": "missing closing )",
    "unbalanced parenthesis": "unexpected )",
    "invalid group reference": "invalid escape sequence",
    "groupref is not supported": "invalid escape sequence",
    "assert is not supported": "invalid or unsupported Perl syntax",
    "assert_not is not supported": "invalid or unsupported Perl syntax",
}
"""What RE2 says where Python's parser, or we, say something else."""


def _invalid(text: str, why: str) -> ApiError:
    return ApiError(
        ErrorCode.INVALID_REGULAR_EXPRESSION,
        f"SubscribedTopicRegex `{text}` is not a valid regular expression: {_WORDS.get(why, why)}.",
    )


_parser: Any = re._parser  # type: ignore[attr-defined]
_op: Any = re._constants  # type: ignore[attr-defined]

Test = Callable[[str], bool]


class Automaton:
    """States with edges on a character, and edges on nothing."""

    def __init__(
        self,
        edges: dict[int, list[tuple[Test, int]]],
        empty: dict[int, list[tuple[str, int]]],
        start: int,
        end: int,
    ) -> None:
        self._edges = edges
        self._empty = empty
        self._start = start
        self._end = end
        self._moves: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self._known: dict[frozenset[int], frozenset[int]] = {}
        self._remembered = 0
        self._first: dict[bool, frozenset[int]] = {}

    def matches(self, text: str) -> bool:
        """Does the expression match all of `text`?"""
        walk = self.walk(text)
        while True:
            try:
                next(walk)
            except StopIteration as end:
                return bool(end.value)

    def walk(self, text: str) -> Generator[int, None, bool]:
        """`matches`, with a stop behind each move that was not remembered: what it cost."""
        states = self._first_states(at_end=not text)
        last = len(text) - 1
        for position, character in enumerate(text):
            at_end = position == last
            remembered = self._moves.get((states, character + "$" if at_end else character))
            if remembered is None:
                yield len(states) * STATE_COST
                remembered = self._move(states, character, at_end)
            states = remembered
            if not states:
                return False
        return self._end in states

    def _first_states(self, *, at_end: bool) -> frozenset[int]:
        found = self._first.get(at_end)
        if found is None:
            found = self._reach({self._start}, at_start=True, at_end=at_end)
            self._first[at_end] = found
        return found

    def _move(self, states: frozenset[int], character: str, at_end: bool) -> frozenset[int]:
        reached = {
            target
            for state in states
            for test, target in self._edges.get(state, ())
            if test(character)
        }
        found = self._reach(reached, at_start=False, at_end=at_end)
        self._remembered += len(found)
        if len(self._moves) >= MAX_MOVES or self._remembered >= MAX_REMEMBERED:
            self._remembered = len(found)
            self._moves.clear()
            self._known.clear()
        # The same object each time: what is looked up is then found without comparing.
        found = self._known.setdefault(found, found)
        self._moves[states, character + "$" if at_end else character] = found
        return found

    def _reach(self, states: set[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """These states and those reached from them on nothing."""
        todo = list(states)
        while todo:
            for where, target in self._empty.get(todo.pop(), ()):
                if (where == "^" and not at_start) or (where == "$" and not at_end):
                    continue
                if target not in states:
                    states.add(target)
                    todo.append(target)
        return frozenset(states)


class _Builder:
    """Makes states from what Python's parser says."""

    def __init__(self, text: str, ignore_case: bool) -> None:
        self.text = text
        self.ignore_case = ignore_case
        self.edges: dict[int, list[tuple[Test, int]]] = {}
        self.empty: dict[int, list[tuple[str, int]]] = {}
        self._count = 0

    def state(self) -> int:
        self._count += 1
        if self._count > MAX_STATES:
            raise _invalid(self.text, "it is too large")
        return self._count

    def skip(self, source: int, target: int, where: str = "") -> None:
        self.empty.setdefault(source, []).append((where, target))

    def sequence(self, items: Iterable[Any], start: int) -> int:
        for operator, argument in items:
            start = self.one(operator, argument, start)
        return start

    def one(self, operator: Any, argument: Any, start: int) -> int:
        """Add one item behind `start`; return the state behind it."""
        if operator is _op.BRANCH:
            end = self.state()
            for branch in argument[1]:
                self.skip(self.sequence(branch, self._next(start)), end)
            return end
        if operator is _op.SUBPATTERN:
            _, added, removed, items = argument
            outer = self.ignore_case
            self.ignore_case = (outer or bool(added & re.IGNORECASE)) and not (
                removed & re.IGNORECASE
            )
            end = self.sequence(items, start)
            self.ignore_case = outer
            return end
        if operator in (_op.MAX_REPEAT, _op.MIN_REPEAT):
            least, most, repeated = argument
            return self.repeat(least, most, repeated, start)
        if operator is _op.AT:
            return self.anchor(argument, start)
        test = self.test(operator, argument)
        end = self.state()
        self.edges.setdefault(start, []).append((test, end))
        return end

    def _next(self, start: int) -> int:
        state = self.state()
        self.skip(start, state)
        return state

    def repeat(self, least: int, most: int, items: Any, start: int) -> int:
        is_open = most == _op.MAXREPEAT
        if least > MAX_REPEAT or (not is_open and most > MAX_REPEAT):
            raise _invalid(self.text, "it repeats too often")
        for _ in range(least):
            start = self.sequence(items, self._next(start))
        end = self.state()
        if is_open:
            loop = self._next(start)
            self.skip(self.sequence(items, loop), loop)
            self.skip(loop, end)
            return end
        self.skip(start, end)
        for _ in range(most - least):
            start = self.sequence(items, self._next(start))
            self.skip(start, end)
        return end

    def anchor(self, argument: Any, start: int) -> int:
        if argument in (_op.AT_BEGINNING, _op.AT_BEGINNING_STRING):
            where = "^"
        elif argument in (_op.AT_END, _op.AT_END_STRING):
            where = "$"
        else:
            raise _invalid(self.text, "word boundaries are not supported")
        end = self.state()
        self.skip(start, end, where)
        return end

    def test(self, operator: Any, argument: Any) -> Test:
        """Which characters an item takes."""
        if operator is _op.ANY:
            return lambda character: character != "\n"
        if operator is _op.LITERAL:
            return self._cased({chr(argument)}.__contains__)
        if operator is _op.NOT_LITERAL:
            inside = self._cased({chr(argument)}.__contains__)
            return lambda character: not inside(character)
        if operator is _op.IN:
            return self._set(argument)
        raise _invalid(self.text, f"{str(operator).lower()} is not supported")

    def _cased(self, test: Test) -> Test:
        if not self.ignore_case:
            return test
        return lambda character: test(character.lower()) or test(character.upper())

    def _set(self, items: Any) -> Test:
        tests: list[Test] = []
        negated = False
        for operator, argument in items:
            if operator is _op.NEGATE:
                negated = True
            elif operator is _op.LITERAL:
                tests.append({chr(argument)}.__contains__)
            elif operator is _op.RANGE:
                tests.append(_between(*argument))
            else:
                tests.append(_CATEGORIES[str(argument).rpartition("_")[2], "NOT" in str(argument)])
        inside = self._cased(lambda character: any(test(character) for test in tests))
        return (lambda character: not inside(character)) if negated else inside


def _between(low: int, high: int) -> Test:
    return lambda character: low <= ord(character) <= high


def _category(pattern: str) -> Test:
    matches = re.compile(pattern, re.ASCII).match
    return lambda character: matches(character) is not None


_CATEGORIES = {
    (name, negated): _category(pattern.upper() if negated else pattern)
    for name, pattern in (("DIGIT", r"\d"), ("SPACE", r"\s"), ("WORD", r"\w"))
    for negated in (False, True)
}
