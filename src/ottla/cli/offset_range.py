"""The `-o` of `ottla consume`: where to begin and where to stop, in rpk's words.

    start  end        the ends of the log as they are now
    42  +10  -10      an offset; so many after the start; so many before the end
    FROM:TO  FROM:    both of the above; `:TO` begins at the start
    @T  @T1:T2  @:T   by time: 13 digits ms, 10 digits s, a date, RFC 3339, -1h, `end`

A range is `[from, to)`. In `@T1:T2` a duration as T2 counts from now when T1 is
one too, else from T1.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ottla.cli.moments import moment_ms
from ottla.model.ids import Offset, TopicPartition


class Anchor(Enum):
    """What the number of a bound counts from."""

    OFFSET = "offset"
    START = "start"
    END = "end"
    TIME = "time"


class Bound(NamedTuple):
    anchor: Anchor
    number: int = 0


class OffsetRange(NamedTuple):
    """`to` is None to go on for ever."""

    begin: Bound
    to: Bound | None


START = Bound(Anchor.START)
END = Bound(Anchor.END)


def parse_range(text: str, now_ms: int) -> OffsetRange:
    """Read a range.

    Raises:
        ValueError: with what is wrong and what would be right.
    """
    if text.startswith("@"):
        return _time_range(text[1:], now_ms)
    left, colon, right = text.partition(":")
    if not text or text == ":":
        raise ValueError("write start, end, 42, +10, -10, 10:20, :end, @-1h or @-1h:end")
    begin = _bound(left) if left else START
    to = _bound(right) if right else None
    return OffsetRange(begin, to if colon else None)


def _bound(text: str) -> Bound:
    if text in ("start", "oldest", "earliest", "beginning"):
        return START
    if text in ("end", "newest", "latest"):
        return END
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f"{text!r} is no offset: write start, end, 42, +10 or -10")
    if text.startswith("+"):
        return Bound(Anchor.START, int(text))
    if text.startswith("-"):
        return Bound(Anchor.END, int(text))
    return Bound(Anchor.OFFSET, int(text))


def _time_range(text: str, now_ms: int) -> OffsetRange:
    if not text or text == ":":
        raise ValueError("write a time after @, such as @-1h, @-1h:end or @2026-05-01")
    left, right = _split_times(text)
    begin = START
    base_ms = now_ms
    if left:
        if left == "end":
            raise ValueError("@end is no beginning: write end")
        begin = Bound(Anchor.TIME, moment_ms(left, now_ms))
        if re.match(r"\d{4}-|\d{9,}", left):
            base_ms = begin.number
    if not right:
        return OffsetRange(begin, None)
    if right == "end":
        return OffsetRange(begin, END)
    return OffsetRange(begin, Bound(Anchor.TIME, moment_ms(right, base_ms)))


def _split_times(text: str) -> tuple[str, str]:
    """Cut `T1:T2` at the colon that is not one of a time of day."""
    clock = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    cut = re.match(rf"(?:{clock}|[^:]*)", text, re.ASCII | re.IGNORECASE)
    assert cut is not None
    rest = text[cut.end() :]
    if rest and not rest.startswith(":"):
        raise ValueError(f"{text!r}: there is {rest!r} after the time")
    return cut[0], rest[1:]


def resolve(
    bound: Bound,
    starts: Mapping[TopicPartition, Offset],
    ends: Mapping[TopicPartition, Offset],
    at_time: Mapping[TopicPartition, Offset],
) -> dict[TopicPartition, Offset]:
    """The offset of a bound in each partition, within its log start and end.

    `at_time` is asked only for `Anchor.TIME`; -1 in it means no record is that late.
    """
    offsets = {}
    for partition, start in starts.items():
        end = ends[partition]
        if bound.anchor is Anchor.OFFSET:
            wanted = bound.number
        elif bound.anchor is Anchor.START:
            wanted = start + bound.number
        elif bound.anchor is Anchor.END:
            wanted = end + bound.number
        else:
            wanted = at_time[partition] if at_time[partition] >= 0 else end
        offsets[partition] = min(max(wanted, start), end)
    return offsets
