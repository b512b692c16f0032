r"""Java's .properties syntax, both ways (`java.util.Properties`).

A logical line is `name=value`, `name: value` or `name value`; `#` and `!`
start comments; a backslash at the end of a line joins the next one, whose
leading space is dropped. `\t \n \r \f \uXXXX` are escapes, any other escaped
character is itself. The last of several lines with one name counts.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SPACE = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_WRITTEN = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f", "\\": "\\\\"}


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


def write_properties(properties: Mapping[str, str]) -> str:
    """Return lines that `read_properties` and Java read back as `properties`."""
    return "".join(
        f"{_escape(name, ' =:#!')}={_escape(value, ' ', first_only=True)}\n"
        for name, value in properties.items()
    )


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


def _escape(text: str, special: str, first_only: bool = False) -> str:
    out = []
    for index, character in enumerate(text):
        if character in _WRITTEN:
            out.append(_WRITTEN[character])
        elif character in special and (index == 0 or not first_only):
            out.append("\\" + character)
        elif " " <= character <= "~":
            out.append(character)
        else:
            units = character.encode("utf-16-be")
            out.extend(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
    return "".join(out)
