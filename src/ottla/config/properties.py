r"""Java's .properties syntax, as it is read (`java.util.Properties`).

A logical line is `name=value`, `name: value` or `name value`; `#` and `!`
start comments; a backslash at the end of a line joins the next one, whose
leading space is dropped. `\t \n \r \f \uXXXX` are escapes, any other escaped
character is itself. The last of several lines with one name counts.
"""

from collections.abc import Iterator
from typing import NamedTuple

_SPACE = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(NamedTuple):
    name: str
    value: str
    line: int
    """Where it starts, from 1."""


def read_properties(text: str) -> list[Property]:
    """Return the properties in file order, repetitions included.

    Raises:
        ValueError: an escape `\\u` is not followed by four hexadecimal digits.
    """
    return [_split(line, number) for number, line in _logical_lines(text)]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Comments and blank lines are dropped; a comment is never continued."""
    joined, start = "", 0
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = raw.lstrip(_SPACE)
        if not start and (not line or line[0] in "#!"):
            continue
        start = start or number
        if (len(line) - len(line.rstrip("\\"))) % 2:
            joined += line[:-1]
            continue
        if joined or line:
            yield start, joined + line
        joined, start = "", 0
    if joined:
        yield start, joined


def _split(line: str, number: int) -> Property:
    end = 0
    while end < len(line) and line[end] not in "=:" + _SPACE:
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(_SPACE)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_SPACE)
    return Property(_unescape(line[:end], number), _unescape(rest, number), number)


def _unescape(text: str, number: int) -> str:
    if "\\" not in text:
        return text
    out, position = [], 0
    while position < len(text):
        character = text[position]
        position += 1
        if character != "\\" or position == len(text):
            if character != "\\":
                out.append(character)
            continue
        escaped = text[position]
        position += 1
        if escaped == "u":
            digits = text[position : position + 4]
            if len(digits) < 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise ValueError(f"line {number}: \\u needs four hexadecimal digits")
            out.append(chr(int(digits, 16)))
            position += 4
        else:
            out.append(_ESCAPES.get(escaped, escaped))
    joined = "".join(out)
    if any("\ud800" <= character <= "\udfff" for character in joined):
        # Java writes a character beyond 16 bits as two escapes.
        joined = joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined
