import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.storage.leader_epochs import LeaderEpochs

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12)


def made(*pairs: tuple[int, int]) -> LeaderEpochs:
    epochs = LeaderEpochs()
    for epoch, start in pairs:
        epochs.assign(epoch, start)
    return epochs


def test_the_end_of_an_epoch_is_the_start_of_the_next() -> None:
    epochs = made((1, 0), (3, 10), (4, 25))
    ends = {epoch: epochs.end_offset_for(epoch, 40) for epoch in range(-1, 6)}
    assert ends == {
        -1: (-1, -1),
        0: (0, 0),
        1: (1, 10),
        2: (1, 10),
        3: (3, 25),
        4: (4, 40),
        5: (-1, -1),
    }
    assert LeaderEpochs().end_offset_for(0, 0) == (-1, -1)


def test_an_epoch_begins_once() -> None:
    epochs = made((1, 5))
    assert not epochs.assign(1, 9)
    assert list(epochs) == [(1, 5)]


def test_an_assignment_drops_what_it_contradicts() -> None:
    assert list(made((1, 0), (2, 10), (3, 20), (2, 15))) == [(1, 0), (2, 15)]
    assert list(made((1, 0), (2, 10), (3, 10))) == [(1, 0), (3, 10)]
    assert list(made((1, 0), (5, 10), (3, 20))) == [(1, 0), (3, 20)]


@given(STEPS, st.integers(0, 40))
def test_truncations_agree_with_the_list_of_every_record(
    steps: list[tuple[int, int]], cut: int
) -> None:
    """The model: the epoch of each offset."""
    epochs = LeaderEpochs()
    of_offset: list[int] = []
    epoch = 0
    for raise_by, count in steps:
        epoch += raise_by
        if count:
            epochs.assign(epoch, len(of_offset))
        of_offset += [epoch] * count
    for offset, expected in enumerate(of_offset):
        assert epochs.epoch_of(offset) == expected
    cut = min(cut, len(of_offset))
    tail = LeaderEpochs.parse(epochs.text())
    assert list(tail) == list(epochs)
    assert not tail.dirty
    epochs.truncate_from_end(cut)
    assert [epochs.epoch_of(offset) for offset in range(cut)] == of_offset[:cut]
    assert epochs.latest == (of_offset[cut - 1] if cut else -1)
    tail.truncate_from_start(cut)
    assert [tail.epoch_of(o) for o in range(cut, len(of_offset))] == of_offset[cut:]
    if cut < len(of_offset):
        assert next(iter(tail)) == (of_offset[cut], cut)


def test_nothing_is_left_when_cleared() -> None:
    epochs = made((1, 0), (3, 10))
    epochs.clear()
    assert len(epochs) == 0
    assert epochs.latest == -1


def test_the_file_is_kafkas() -> None:
    assert made((0, 0), (7, 12)).text() == b"0\n2\n0 0\n7 12\n"


@pytest.mark.parametrize("offset", [-1, 0])
def test_nothing_is_known_below_the_first_epoch(offset: int) -> None:
    assert made((1, 1)).epoch_of(offset) == -1
