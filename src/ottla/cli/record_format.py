"""`-f` of `ottla consume` and `-o` of `ottla produce`: a record as the format says (rpk's grammar).

    %t %T topic      %k %K key      %v %V value     (capitals: sizes in bytes)
    %h{...} headers, %k and %v inside      %H how many
    %p partition  %o offset  %d timestamp  %e leader epoch  %a{...} attributes
    %x producer id  %y producer epoch  %i how many so far
    %[ log start offset  %| last stable offset  %] high watermark

Numbers take {hex8..64} {big8..64} {little8..64} {byte} {bool} {ascii}, texts take
{hex} {base64} {base64raw} {json} {unpack[...]}, %d takes {strftime[...]} {iso} too.
A format compiles to a list of functions from `Shown` to bytes.
"""

import base64
import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from ottla.cli.moments import moment_text
from ottla.cli.percent import Part, parse_format, unwrap
from ottla.model.isolation import CompressionType
from ottla.record.batch import COMPRESSION_MASK
from ottla.record.records import Record


class Shown(NamedTuple):
    """All that a format can show of a record."""

    record: Record
    topic: str
    partition: int
    number: int
    leader_epoch: int = -1
    attributes: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
    log_start_offset: int = -1
    last_stable_offset: int = -1
    high_watermark: int = -1


Writer = Callable[[Shown], bytes]

_NUMBERS: dict[str, Callable[[Shown], int]] = {
    "T": lambda shown: len(shown.topic.encode()),
    "K": lambda shown: len(shown.record.key or b""),
    "V": lambda shown: len(shown.record.value or b""),
    "H": lambda shown: len(shown.record.headers),
    "p": lambda shown: shown.partition,
    "o": lambda shown: shown.record.offset,
    "e": lambda shown: shown.leader_epoch,
    "d": lambda shown: shown.record.timestamp,
    "x": lambda shown: shown.producer_id,
    "y": lambda shown: shown.producer_epoch,
    "i": lambda shown: shown.number,
    "[": lambda shown: shown.log_start_offset,
    "|": lambda shown: shown.last_stable_offset,
    "]": lambda shown: shown.high_watermark,
}
_TEXTS: dict[str, Callable[[Shown], bytes]] = {
    "t": lambda shown: shown.topic.encode(),
    "k": lambda shown: shown.record.key or b"",
    "v": lambda shown: shown.record.value or b"",
}
_ATTRIBUTES: dict[str, Callable[[int], int]] = {
    "compression": lambda attributes: attributes & COMPRESSION_MASK,
    "timestamp-type": lambda attributes: attributes >> 3 & 1,
    "transactional-bit": lambda attributes: attributes >> 4 & 1,
    "control-bit": lambda attributes: attributes >> 5 & 1,
}


def compile_format(text: str) -> Writer:
    """One function that writes a record as `text` says.

    Raises:
        ValueError: the format means nothing.
    """
    writers = [_writer(part) for part in parse_format(text)]
    return lambda shown: b"".join([write(shown) for write in writers])


def _writer(part: Part) -> Writer:
    if not part.letter:
        literal = part.literal
        return lambda shown: literal
    modifier = part.modifier
    if part.letter == "h":
        return _headers(modifier)
    if part.letter == "a":
        return _attribute(modifier)
    if part.letter == "d" and modifier is not None and not _is_number_modifier(modifier):
        return _timestamp(modifier)
    text = _TEXTS.get(part.letter)
    if text is not None:
        convert = text_modifier(modifier)
        return lambda shown: convert(text(shown))
    number = _NUMBERS.get(part.letter)
    if number is None:
        raise ValueError(f"%{part.letter} is no field; `ottla consume --help` lists them")
    put = number_modifier(modifier)
    return lambda shown: put(number(shown))


def _headers(modifier: str | None) -> Writer:
    if modifier is None:
        raise ValueError("%h needs a format for each header in braces: %h{%k=%v }")
    inner = compile_format(modifier)

    def write(shown: Shown) -> bytes:
        out = []
        for name, value in shown.record.headers:
            header = shown.record._replace(key=name.encode(), value=value, headers=())
            out.append(inner(shown._replace(record=header)))
        return b"".join(out)

    return write


def _attribute(modifier: str | None) -> Writer:
    name, _, form = (modifier or "").partition(";")
    bits = _ATTRIBUTES.get(name)
    if bits is None:
        raise ValueError(f"%a needs one of {{{'} {'.join(_ATTRIBUTES)}}}")
    if name == "compression" and not form:
        return lambda shown: _compression_name(bits(shown.attributes))
    put = number_modifier(form or None)
    return lambda shown: put(bits(shown.attributes))


def _compression_name(code: int) -> bytes:
    try:
        return CompressionType(code).name.lower().encode()
    except ValueError:
        return b"unknown"


def _timestamp(modifier: str) -> Writer:
    if modifier == "iso":
        return lambda shown: moment_text(shown.record.timestamp).encode()
    if modifier.startswith("strftime"):
        pattern = unwrap(modifier, "strftime")
        return lambda shown: _moment(shown.record.timestamp).strftime(pattern).encode()
    raise ValueError(f"%d{{{modifier}}}: write %d, %d{{iso}} or %d{{strftime[%F %T]}}")


def _moment(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


_WIDTHS = {"8": 1, "16": 2, "32": 4, "64": 8}


def _is_number_modifier(modifier: str) -> bool:
    if modifier in ("ascii", "number", "byte", "bool", "hex4"):
        return True
    for prefix in ("hex", "big", "little"):
        if modifier.startswith(prefix) and modifier[len(prefix) :] in _WIDTHS:
            return True
    return False


def number_modifier(modifier: str | None) -> Callable[[int], bytes]:
    """How a number is written; too large a one is cut to its low bytes."""
    if modifier in (None, "", "ascii", "number"):
        return lambda number: b"%d" % number
    assert modifier is not None
    if modifier == "bool":
        return lambda number: b"true" if number else b"false"
    if modifier == "hex4":
        return lambda number: b"%x" % (number & 0xF)
    if modifier == "byte":
        modifier = "big8"
    if not _is_number_modifier(modifier):
        raise ValueError(f"{{{modifier}}} is no way to write a number: try {{big32}} or {{hex16}}")
    for prefix in ("hex", "big", "little"):
        if modifier.startswith(prefix):
            width = _WIDTHS[modifier[len(prefix) :]]
            mask = (1 << 8 * width) - 1
            if prefix == "hex":
                return lambda number: b"%0*x" % (2 * width, number & mask)
            if prefix == "big":
                return lambda number: (number & mask).to_bytes(width, "big")
            return lambda number: (number & mask).to_bytes(width, "little")
    raise AssertionError(modifier)


def text_modifier(modifier: str | None) -> Callable[[bytes], bytes]:
    """How a text is written."""
    if modifier is None:
        return lambda text: text
    if modifier == "hex":
        return lambda text: text.hex().encode()
    if modifier == "base64":
        return base64.b64encode
    if modifier == "base64raw":
        return lambda text: base64.b64encode(text).rstrip(b"=")
    if modifier == "json":
        return lambda text: json.dumps(text.decode("utf-8", "replace")).encode()
    if modifier.startswith("unpack"):
        pattern = unwrap(modifier, "unpack")
        _unpack(pattern, b"")
        return lambda text: _unpack(pattern, text)
    raise ValueError(
        f"{{{modifier}}} is no way to write text: "
        "there are {hex} {base64} {base64raw} {json} {unpack[...]}"
    )


def _unpack(pattern: str, text: bytes) -> bytes:
    """Take `text` apart as rpk's `unpack` does; what does not fit is said in the output."""
    out = []
    order = ">"
    position = 0
    for letter in pattern:
        if letter in "<>":
            order = letter
        elif letter == "x":
            out.append(b" ")
        elif letter == "s":
            out.append(text[position:])
            position = len(text)
        elif letter == "$":
            if position < len(text):
                out.append(b" (%d bytes are left)" % (len(text) - position))
        elif letter in "bBhHiIqQc.":
            size = 1 if letter in "c." else struct.calcsize(order + letter)
            if position + size > len(text):
                out.append(b" (the text ends too early)")
                break
            taken = text[position : position + size]
            position += size
            out.append(taken if letter in "c." else b"%d" % struct.unpack(order + letter, taken)[0])
        else:
            raise ValueError(f"unpack knows no {letter!r}: there are x<>bBhHiIqQc.s$")
    return b"".join(out)
