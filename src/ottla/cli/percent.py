"""The percent grammar both directions share: a format string as a list of parts.

    %k  %v{hex}  %h{%k=%v }  %d{strftime[%F]}  %%  %{  %}  \\t \\n \\r \\\\ \\xNN

After a percent sign comes one letter and perhaps a modifier in braces. Text
inside `[...]`, `{...}` or `#...#` of a modifier may hold any brace.
"""

import re
from typing import NamedTuple

ESCAPES = {"t": b"\t", "n": b"\n", "r": b"\r", "\\": b"\\", "0": b"\0"}
WRAPS = {"[": "]", "{": "}", "(": ")", "#": "#"}


class Part(NamedTuple):
    """Literal bytes (`letter` is ""), or a field with its modifier, if it has one."""

    letter: str
    literal: bytes = b""
    modifier: str | None = None


def parse_format(text: str) -> list[Part]:
    """Cut a format into parts.

    Raises:
        ValueError: it ends in the middle of something.
    """
    parts: list[Part] = []
    literal = bytearray()
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            escaped, position = _escape(text, position)
            literal += escaped
        elif character != "%":
            literal += character.encode()
        elif position == len(text):
            raise ValueError("the format ends in a lone %; write %% for a percent sign")
        elif text[position] in "%{}":
            literal += text[position].encode()
            position += 1
        else:
            if literal:
                parts.append(Part("", bytes(literal)))
                literal.clear()
            letter = text[position]
            modifier, position = _modifier(text, position + 1, letter)
            parts.append(Part(letter, b"", modifier))
    if literal:
        parts.append(Part("", bytes(literal)))
    return parts


def _escape(text: str, position: int) -> tuple[bytes, int]:
    if position == len(text):
        raise ValueError("the format ends in a lone backslash; write \\\\ for one")
    character = text[position]
    if character == "x":
        digits = text[position + 1 : position + 3]
        if not re.fullmatch(r"[0-9a-fA-F]{2}", digits):
            raise ValueError(f"\\x{digits} is no byte: two hex digits follow \\x")
        return bytes.fromhex(digits), position + 3
    known = ESCAPES.get(character)
    if known is None:
        raise ValueError(f"\\{character} is no escape: there are \\t \\n \\r \\\\ \\xNN")
    return known, position + 1


def _modifier(text: str, position: int, letter: str) -> tuple[str | None, int]:
    if position == len(text) or text[position] != "{":
        return None, position
    depth = 1
    start = position = position + 1
    while position < len(text):
        character = text[position]
        if character == "%" and position + 1 < len(text) and text[position + 1] in "%{}":
            position += 2
            continue
        if character in "[(#" and letter in "dkvt" and depth == 1:
            position = _after_wrap(text, position)
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[start:position], position + 1
        position += 1
    raise ValueError(f"the brace after %{letter} is never closed")


def _after_wrap(text: str, position: int) -> int:
    """Past `[...]`, `##...##` and the like: as many closers as openers."""
    opener = text[position]
    count = 1
    while text[position + count : position + count + 1] == opener:
        count += 1
    end = text.find(WRAPS[opener] * count, position + count)
    if end < 0:
        raise ValueError(f"{text[position:]!r}: {opener * count} is never closed")
    return end + count


def unwrap(modifier: str, name: str) -> str:
    """What is wrapped after `name` in a modifier: `strftime[%F]` -> `%F`."""
    wrapped = modifier[len(name) :]
    opener = wrapped[:1]
    if opener not in WRAPS:
        raise ValueError(f"write {name}[...]")
    count = len(wrapped) - len(wrapped.lstrip(opener))
    closer = WRAPS[opener] * count
    if len(wrapped) < 2 * count or not wrapped.endswith(closer):
        raise ValueError(f"{modifier!r}: {opener * count} is never closed")
    return wrapped[count:-count]
