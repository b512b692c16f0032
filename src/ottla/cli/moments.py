"""Durations and moments as people write them."""

import re
from datetime import UTC, datetime

_UNITS_MS = {
    "ns": 1e-6,
    "us": 1e-3,
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "hr": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|hr|[smhdw])", re.ASCII)
_ISO = re.compile(
    r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII | re.IGNORECASE
)


def duration_ms(text: str) -> int:
    """`90s`, `1h30m`, `2d`, `1m3ms`, or ISO 8601 as Kafka's tools take it (`PT1H30M`).

    Raises:
        ValueError: it is none of these.
    """
    iso = _ISO.fullmatch(text)
    if iso and any(iso.groups()):
        days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
        return round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
    total = 0.0
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            break
        total += float(part[1]) * _UNITS_MS[part[2]]
        position = part.end()
    if not text or position < len(text):
        raise ValueError(f"{text!r} is no duration: write 90s, 1h30m or 2d")
    return round(total)


def moment_ms(text: str, now_ms: int) -> int:
    """A moment in milliseconds since 1970.

    13 digits are milliseconds and 9 or 10 are seconds; `2026-05-01` and
    `2026-05-01T12:00:00Z` are UTC unless they say otherwise; `-1h` is an hour
    before `now_ms`.

    Raises:
        ValueError: it is none of these.
    """
    if text.isascii() and text.isdigit():
        if len(text) == 13:
            return int(text)
        if len(text) in (9, 10):
            return int(text) * 1000
        raise ValueError(f"{text!r}: a moment has 13 digits (milliseconds) or 10 (seconds)")
    if text.startswith("-"):
        return now_ms - duration_ms(text[1:])
    if re.match(r"\d{4}-\d\d", text):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text!r} is no date or time: write 2026-05-01T12:00:00Z") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    return now_ms + duration_ms(text.removeprefix("+"))


def moment_text(timestamp_ms: int) -> str:
    """`2026-05-01T12:00:00.000Z`; `-` for a negative one, which means none."""
    if timestamp_ms < 0:
        return "-"
    seconds, millis = divmod(timestamp_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"
