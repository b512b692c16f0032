import pytest

from ottla.model.ids import TopicPartition
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.clean_stop import StoppedLog, clean_stop_text, parse_clean_stop
from ottla.storage.log import LogSummary

LOGS = {
    TopicPartition("a.b-c", 0): StoppedLog(
        bytes(range(16)), LogSummary(3, 90, 2, 1000, 40, 300, 0, 17000, -1), 88
    ),
    TopicPartition("other", 12): StoppedLog(bytes(16), LogSummary(), 0),
}


def test_what_was_stopped_comes_back() -> None:
    assert parse_clean_stop(clean_stop_text(77, 1234, LOGS), 77) == (1234, LOGS)


def test_that_of_another_stop_does_not_count() -> None:
    with pytest.raises(CheckpointError):
        parse_clean_stop(clean_stop_text(77, 1234, LOGS), 78)


def test_a_torn_one_does_not_count() -> None:
    whole = clean_stop_text(77, 1234, LOGS)
    for size in range(len(whole)):
        with pytest.raises(CheckpointError):
            parse_clean_stop(whole[:size], 77)


def test_one_with_a_flipped_bit_does_not_count() -> None:
    """What it says is believed without a look at the logs."""
    whole = clean_stop_text(77, 1234, LOGS)
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointError):
            parse_clean_stop(bytes(flipped), 77)
