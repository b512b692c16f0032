"""The journal of a disturbed cluster's clients names each kind of contradiction."""

from collections import Counter

import pytest
from tools.cluster.journal import Journal, Records
from tools.cluster.silence import Silence
from tools.proof.checker import PRODUCER_SHIFT

OTHER = 1 << PRODUCER_SHIFT
"""The first value of producer 1."""


def journal(*values: int) -> Journal:
    """Values acknowledged in partition 0, from offset 0 on."""
    made = Journal(partitions=2, producers=2)
    made.sent = [100, 100]
    for offset, value in enumerate(values):
        made.acknowledged(0, offset, value, 1.0)
    return made


def test_what_was_acknowledged_and_is_there_is_well() -> None:
    made = journal(0, OTHER, 1)
    made.read(0, 1, OTHER, 2.0)
    made.acknowledged(0, -1, 2, 3.0)
    made.conclude({0: [(0, 0), (1, OTHER), (2, 1), (3, 2)], 1: [(0, 3)]})
    assert made.lines == []
    assert made.acknowledged_count == 4


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ({0: [(0, 0), (1, OTHER)]}, {"lost": 1}),
        ({0: [(0, 0), (1, OTHER), (2, 2)]}, {"lost": 1}),
        ({0: [(0, 0), (1, OTHER), (2, 1), (3, OTHER)]}, {"duplicate": 1}),
        ({0: [(0, 0), (1, OTHER), (2, 1), (3, 5), (4, 4)]}, {"order": 1}),
        ({0: [(0, 0), (1, OTHER), (2, 1), (4, 4)]}, {"hole": 1}),
        ({0: [(0, 0), (1, OTHER), (2, 1), (3, 100)]}, {"phantom": 1}),
    ],
)
def test_what_is_there_in_the_end_is_compared(records: Records, wrong: dict[str, int]) -> None:
    made = journal(0, OTHER, 1)
    made.conclude(records)
    assert made.wrong == Counter(wrong)


def test_an_offset_with_two_values_is_said_at_once() -> None:
    made = journal(0, OTHER)
    made.read(0, 1, 7, 2.5)
    assert made.lines == ["inconsistent: 0/7 at 0@1 read at 2.500, 1/0 was there before"]


def test_what_only_a_reader_saw_must_stay() -> None:
    made = journal(0)
    made.read(0, 1, 1, 2.0)
    made.conclude({0: [(0, 0)]})
    assert made.lines == ["lost: 0/1 read at 0@1, there is nothing"]


def test_a_value_acknowledged_without_an_offset_must_be_there() -> None:
    made = journal(0)
    made.acknowledged(0, -1, 9, 1.0)
    made.conclude({0: [(0, 0)]})
    assert made.wrong == Counter({"lost": 1})


def test_a_high_watermark_that_goes_back_is_said() -> None:
    made = journal()
    for end in (3, 3, 5, 4, 5):
        made.watermark(1, end, 1.0)
    assert made.lines == ["watermark: 1 ends at 4 at 1.000, it was 5"]


def test_silence_is_the_longest_gap_behind_the_fault() -> None:
    silence = Silence(2)
    silence.acknowledged(0, 5.0, 4.9)
    silence.begin(10.0)
    silence.acknowledged(0, 10.5, 10.4)
    silence.acknowledged(0, 13.0, 9.0)
    silence.acknowledged(1, 10.25, 10.0)
    assert silence.longest(14.25) == [2.5, 4.0]
    assert silence.heard_since(10.2) == [True, False]
