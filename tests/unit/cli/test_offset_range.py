"""The grammar of `-o`, and what it comes to in a partition."""

import pytest

from ottla.cli.offset_range import END, START, Anchor, Bound, OffsetRange, parse_range, resolve
from ottla.model.ids import TopicPartition

NOW = 1_767_225_600_000
HOUR = 3_600_000
AT = Anchor.TIME
OFFSET = Anchor.OFFSET

RANGES = [
    ("start", START, None),
    ("end", END, None),
    ("earliest", START, None),
    ("42", Bound(OFFSET, 42), None),
    ("42:", Bound(OFFSET, 42), None),
    ("+10", Bound(Anchor.START, 10), None),
    ("-10", Bound(Anchor.END, -10), None),
    (":end", START, END),
    (":20", START, Bound(OFFSET, 20)),
    ("10:20", Bound(OFFSET, 10), Bound(OFFSET, 20)),
    ("start:end", START, END),
    ("-10:end", Bound(Anchor.END, -10), END),
    ("@1767225600000", Bound(AT, NOW), None),
    ("@1767225600", Bound(AT, NOW), None),
    ("@1767225600:", Bound(AT, NOW), None),
    ("@-1h", Bound(AT, NOW - HOUR), None),
    ("@-2h:-1h", Bound(AT, NOW - 2 * HOUR), Bound(AT, NOW - HOUR)),
    ("@-1h:end", Bound(AT, NOW - HOUR), END),
    ("@:-1h", START, Bound(AT, NOW - HOUR)),
    ("@2026-01-01:1h", Bound(AT, NOW), Bound(AT, NOW + HOUR)),
    ("@2026-01-01T00:00:00Z:1h", Bound(AT, NOW), Bound(AT, NOW + HOUR)),
    ("@2026-01-01T00:00:00Z", Bound(AT, NOW), None),
    (
        "@2026-01-01T00:00:00Z:2026-01-01T01:00:00.000Z",
        Bound(AT, NOW),
        Bound(AT, NOW + HOUR),
    ),
    ("@2026-01-01T01:00:00+01:00:end", Bound(AT, NOW), END),
]


@pytest.mark.parametrize(("text", "begin", "to"), RANGES)
def test_ranges(text: str, begin: Bound, to: Bound | None) -> None:
    assert parse_range(text, NOW) == OffsetRange(begin, to)


@pytest.mark.parametrize(
    "text",
    ["", ":", "@", "@:", "@end", "first", "1:2:3", "--1", "1.5", "@2026-01-01x:end", "@12", "²"],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_range(text, NOW)


ONE = TopicPartition("t", 0)


@pytest.mark.parametrize(
    ("bound", "offset"),
    [
        (START, 100),
        (END, 200),
        (Bound(OFFSET, 150), 150),
        (Bound(OFFSET, 5), 100),
        (Bound(OFFSET, 500), 200),
        (Bound(Anchor.START, 30), 130),
        (Bound(Anchor.START, 3000), 200),
        (Bound(Anchor.END, -30), 170),
        (Bound(Anchor.END, -3000), 100),
    ],
)
def test_a_bound_stays_within_the_log(bound: Bound, offset: int) -> None:
    assert resolve(bound, {ONE: 100}, {ONE: 200}, {}) == {ONE: offset}


def test_a_time_after_the_last_record_is_the_end() -> None:
    late = Bound(AT, NOW)
    assert resolve(late, {ONE: 100}, {ONE: 200}, {ONE: -1}) == {ONE: 200}
    assert resolve(late, {ONE: 100}, {ONE: 200}, {ONE: 160}) == {ONE: 160}
