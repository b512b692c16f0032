"""`-f` of `ottla produce`: records out of a stream of bytes (rpk's grammar).

A format is read from left to right, over and over. A text (%k %v %t, %k and %v
in %h) ends where the literal after it begins, or is as long as a size before it
said (%K %V %T). Numbers are ASCII up to the next literal, or of fixed width
with {big32} and the like.

    %v\\n              a value a line, the default
    %k %v\\n           the key is the first word
    %K{big32}%k%V{big32}%v
    %v{hex}\\n         also {base64} and {json}
    %H %h{%k=%v }%v\\n  so many headers first, then each
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ottla.cli.percent import Part, parse_format
from ottla.cli.record_json import InputRecord

Source = Callable[[], bytes]
"""The next bytes of the input, as many as there are; b"" at the end."""

_SIZED_BY = {"k": "K", "v": "V", "t": "T"}
_TEXTS = "kvt"
_NUMBERS = "KVTHpod"
_WIDTHS = {"8": 1, "16": 2, "32": 4, "64": 8}


class _Step(NamedTuple):
    letter: str
    literal: bytes
    modifier: str | None
    inner: "tuple[_Step, ...]"


class RecordReader:
    """Cuts records out of a stream; raises ValueError, with the record's number, when it cannot."""

    def __init__(self, text: str) -> None:
        """Raises ValueError if the format cannot be read."""
        self._steps = _steps(parse_format(text), within_header=False)
        if not self._steps or not any(step.letter for step in self._steps):
            raise ValueError("the format has no field; write %v\\n for a value a line")
        self._buffer = bytearray()
        self._position = 0
        self._ended = False
        self._count = 0

    def feed(self, data: bytes) -> Iterator[InputRecord]:
        """Yield the records that are whole with `data`; b"" is the end of the input."""
        del self._buffer[: self._position]
        self._position = 0
        if data:
            self._buffer += data
        else:
            self._ended = True
        while self._position < len(self._buffer):
            start = self._position
            try:
                record = self._read()
            except _NeedMoreError:
                self._position = start
                if self._ended:
                    raise ValueError(
                        f"the input ends in the middle of record {self._count + 1}"
                    ) from None
                return
            except ValueError as error:
                raise ValueError(f"record {self._count + 1}: {error}") from None
            self._count += 1
            yield record

    def _read(self) -> InputRecord:
        fields: dict[str, bytes] = {}
        numbers: dict[str, int] = {}
        headers: list[tuple[str, bytes | None]] = []
        for step, following in _pairs(self._steps):
            if step.letter == "h":
                for _ in range(numbers["H"]):
                    inner: dict[str, bytes] = {}
                    sizes: dict[str, int] = {}
                    for each, after in _pairs(step.inner):
                        self._take(each, after, inner, sizes)
                    headers.append((inner.get("k", b"").decode(), inner.get("v")))
            else:
                self._take(step, following, fields, numbers)
        topic = fields.get("t")
        return InputRecord(
            fields.get("k"),
            fields.get("v"),
            tuple(headers),
            topic.decode() if topic is not None else None,
            numbers.get("p"),
            numbers.get("d"),
        )

    def _take(
        self,
        step: _Step,
        following: bytes | None,
        fields: dict[str, bytes],
        numbers: dict[str, int],
    ) -> None:
        if not step.letter:
            self._literal(step.literal, last=following is None)
        elif step.letter in _TEXTS:
            size = numbers.get(_SIZED_BY[step.letter])
            text = self._exactly(size) if size is not None else self._until(following)
            fields[step.letter] = _decoded(text, step.modifier)
        else:
            numbers[step.letter] = self._number(step, following)

    def _number(self, step: _Step, following: bytes | None) -> int:
        modifier = step.modifier
        if modifier and modifier not in ("ascii", "number"):
            order, width = _fixed(modifier)
            return int.from_bytes(self._exactly(width), order)  # type: ignore[arg-type]
        text = self._until(following)
        if not text.strip().lstrip(b"-").isdigit():
            raise ValueError(f"%{step.letter}: {bytes(text)!r} is no number")
        return int(text)

    def _exactly(self, size: int) -> bytes:
        if size < 0:
            raise ValueError(f"a size of {size}")
        end = self._position + size
        if end > len(self._buffer):
            raise _NeedMoreError
        text = bytes(self._buffer[self._position : end])
        self._position = end
        return text

    def _until(self, following: bytes | None) -> bytes:
        """Up to the next literal, or the end of the input where nothing follows."""
        end = -1 if following is None else self._buffer.find(following, self._position)
        if end < 0:
            if not self._ended:
                raise _NeedMoreError
            if following is not None and following.strip(b"\r\n"):
                raise _NeedMoreError
            end = len(self._buffer)
        text = bytes(self._buffer[self._position : end])
        self._position = end
        return text

    def _literal(self, literal: bytes, *, last: bool) -> None:
        end = self._position + len(literal)
        if end > len(self._buffer):
            if not self._ended or not last or self._position < len(self._buffer):
                raise _NeedMoreError
            return  # the last line needs no line feed
        if self._buffer[self._position : end] != literal:
            found = bytes(self._buffer[self._position : end])
            raise ValueError(f"{found!r} where the format says {literal!r}")
        self._position = end


class _NeedMoreError(Exception):
    """The record is not whole yet."""


def _steps(parts: list[Part], *, within_header: bool) -> tuple[_Step, ...]:
    steps = []
    sized: set[str] = set()
    for place, part in enumerate(parts):
        inner: tuple[_Step, ...] = ()
        if part.letter == "h" and not within_header:
            if "H" not in sized:
                raise ValueError("%h needs %H, how many there are, before it")
            inner = _steps(parse_format(part.modifier or ""), within_header=True)
            if not inner or (inner[-1].letter and inner[-1].letter in _TEXTS):
                _require_end(inner, "inside %h{...}")
        elif part.letter and part.letter not in _TEXTS + _NUMBERS:
            raise ValueError(
                f"%{part.letter} cannot be read; `ottla produce --help` lists what can"
            )
        elif part.letter and part.letter in _NUMBERS:
            sized.add(part.letter)
            if part.modifier and part.modifier not in ("ascii", "number"):
                _fixed(part.modifier)
        elif part.letter:
            _decoded(b"", part.modifier)
            ends = place + 1 == len(parts) or not parts[place + 1].letter
            if _SIZED_BY[part.letter] not in sized and not ends:
                raise ValueError(
                    f"where does %{part.letter} end? Put something between the fields, "
                    f"or its size before it (%{_SIZED_BY[part.letter]})"
                )
        steps.append(_Step(part.letter, part.literal, part.modifier, inner))
    return tuple(steps)


def _require_end(inner: tuple[_Step, ...], where: str) -> None:
    letters = {step.letter for step in inner}
    if not inner or _SIZED_BY[inner[-1].letter] not in letters:
        raise ValueError(f"{where} the last field needs something after it, or its size before it")


def _pairs(steps: tuple[_Step, ...]) -> Iterator[tuple[_Step, bytes | None]]:
    """Each step with the literal right after it, if there is one."""
    for place, step in enumerate(steps):
        following = steps[place + 1] if place + 1 < len(steps) else None
        yield step, following.literal if following and not following.letter else None


def _fixed(modifier: str) -> tuple[str, int]:
    if modifier == "byte":
        return "big", 1
    for order in ("big", "little"):
        width = _WIDTHS.get(modifier.removeprefix(order))
        if modifier.startswith(order) and width:
            return order, width
    raise ValueError(f"{{{modifier}}} cannot be read as a number: try {{big32}} or {{little64}}")


def _decoded(text: bytes, modifier: str | None) -> bytes:
    if modifier is None:
        return text
    try:
        if modifier == "hex":
            return bytes.fromhex(text.decode("ascii"))
        if modifier in ("base64", "base64raw"):
            return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        if modifier == "json":
            if text:
                json.loads(text)
            return text
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError(f"{text[:40]!r} is not {modifier}") from None
    raise ValueError(f"{{{modifier}}} cannot be read: there are {{hex}} {{base64}} {{json}}")
