"""Durations and moments."""

import pytest

from ottla.cli.moments import duration_ms, moment_ms, moment_text

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("3ms", 3),
        ("10s", 10_000),
        ("1.5s", 1_500),
        ("9m", 540_000),
        ("1h", 3_600_000),
        ("1hr", 3_600_000),
        ("1h30m", 5_400_000),
        ("1m3ms", 60_003),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        ("PT1H30M", 5_400_000),
        ("P1DT1S", 86_401_000),
    ],
)
def test_durations(text: str, millis: int) -> None:
    assert duration_ms(text) == millis


@pytest.mark.parametrize("text", ["", "1", "h", "1x", "1h 2m", "-1h", "P", "PT"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1767225600001", NOW + 1),
        ("1767225600", NOW),
        ("2026-01-01", NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T00:00:00.250Z", NOW + 250),
        ("2026-01-01T01:00:00+01:00", NOW),
        ("-1h", NOW - 3_600_000),
        ("1h", NOW + 3_600_000),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert moment_ms(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "12345", "yesterday", "2026-13-01", "2026-01-01T25:00:00Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        moment_ms(text, NOW)


def test_a_moment_is_shown_in_utc() -> None:
    assert moment_text(NOW + 5) == "2026-01-01T00:00:00.005Z"
    assert moment_text(-1) == "-"
