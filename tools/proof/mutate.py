"""Bytes made wrong, fast: a few changes to a sound message, the same for the same seed.

Cut short, bits flipped, counts and lengths inflated, pieces left out, doubled,
or taken from another message.
"""

from collections.abc import Callable, Sequence
from random import Random

EXTREMES = (
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xfe",
    b"\x00\x00\x00\x00",
    b"\x00\x0f\x42\x40",
    b"\x7f\xff",
    b"\x80\x00",
    b"\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\x0f",
    b"\xfe\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x00",
    b"\xff\x7f",
    b"\xc3\x28",
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
)
"""Greatest, smallest and overlong: int16, int32, int64, varints; and what is no UTF-8."""

MOST_CHANGES = 4

_Change = Callable[[bytearray, int, Random, Sequence[bytes]], None]


def mutated(data: bytes, others: Sequence[bytes], chance: Random) -> bytearray:
    """Return a copy of `data` with one to four changes; `others` lend pieces."""
    out = bytearray(data)
    random = chance.random
    for _ in range(1 + int(random() * random() * MOST_CHANGES)):
        if not out:
            break
        change = _CHANGES[int(random() * len(_CHANGES))]
        change(out, int(random() * len(out)), chance, others)
    return out


def _flip(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    out[at] ^= 1 << int(chance.random() * 8)


def _set(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    out[at] = int(chance.random() * 256)


def _inflate(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    extreme = EXTREMES[int(chance.random() * len(EXTREMES))]
    out[at : at + len(extreme)] = extreme


def _insert(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    out[at:at] = EXTREMES[int(chance.random() * len(EXTREMES))]


def _cut(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    del out[at:]


def _leave_out(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    del out[at : at + 1 + int(chance.random() * 16)]


def _double(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    out[at:at] = out[at : at + 1 + int(chance.random() * 32)]


def _splice(out: bytearray, at: int, chance: Random, others: Sequence[bytes]) -> None:
    other = others[int(chance.random() * len(others))]
    out[at:] = other[int(chance.random() * (len(other) + 1)) :]


_CHANGES: tuple[_Change, ...] = (
    _flip,
    _flip,
    _set,
    _inflate,
    _inflate,
    _insert,
    _cut,
    _leave_out,
    _double,
    _splice,
)
