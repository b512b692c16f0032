"""Power cuts and deaths by seed, and that the run notices storage that is broken on purpose."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from tools.proof import power

from ottla.storage import flush, recovery, truncation
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.producer_state import ProducerStates
from ottla.storage.recovery import batches, opening, producers
from ottla.storage.segment import Segment
from ottla.testing.log_model import Wrong
from ottla.testing.power import PowerDisk

SEEDS = 60
SEEDS_TO_CATCH = 150


@pytest.mark.parametrize("durable", [True, False], ids=["flush.messages=1", "default"])
def test_what_was_promised_survives(durable: bool) -> None:
    outcomes = [power.run(seed, durable) for seed in range(SEEDS)]
    assert sum(outcome.deaths for outcome in outcomes) > 2 * SEEDS


def test_a_seed_gives_the_same_life_again() -> None:
    assert power.run(5, True) == power.run(5, True)


def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement that does not wait for the file's sync."""

    def run(self: flush.FlushJob) -> None:
        for directory in self._directories:
            self._disk.sync_directory(directory)

    monkeypatch.setattr(flush.FlushJob, "run", run)


def no_directory_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new segment's name is never made durable."""
    monkeypatch.setattr(PowerDisk, "sync_directory", lambda self, path: None)


def forgotten_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts takes every name it finds for durable."""
    monkeypatch.setattr(
        Segment, "name_synced", property(lambda self: True, lambda self, value: None)
    )


def trusted_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery does not look at checksums."""
    monkeypatch.setattr(batches, "verify_crc", lambda chunk, at, size: True)


def no_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery finds the bad batch, and leaves it there."""
    real = recovery.verify

    def verify(
        segment: Segment, position: int, interval: int, **more: Any
    ) -> tuple[int, str | None]:
        return real(segment, position, interval, **{**more, "cut": False})

    monkeypatch.setattr(opening, "verify", verify)


def trusted_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are not checked after a power cut, whatever their indexes are."""
    monkeypatch.setattr(opening, "_indexes_are_sound", lambda *arguments: True)
    real = recovery.recover

    def recover(*arguments: Any, stop: recovery.Stop, **more: Any) -> recovery.Loaded:
        stop = recovery.Stop.PROCESS if stop is recovery.Stop.MACHINE else stop
        return real(*arguments, stop=stop, **more)

    monkeypatch.setattr(recovery, "recover", recover)


def forgotten_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches after the last snapshot are not replayed."""
    monkeypatch.setattr(producers, "replay", lambda *arguments, **more: None)


def unchecked_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch sent again is taken again."""
    monkeypatch.setattr(ProducerStates, "check", lambda self, *arguments: None)


def lazy_truncation(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut may come back."""
    monkeypatch.setattr(truncation, "_sync_cut", lambda log, segment: None)


def index_entries_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The offset index points behind the batch it names."""
    real = OffsetIndex.append

    def append(self: OffsetIndex, last_offset: int, position: int) -> None:
        real(self, last_offset - 1, position)

    monkeypatch.setattr(OffsetIndex, "append", append)


BROKEN = [
    no_sync,
    no_directory_sync,
    forgotten_names,
    trusted_checksums,
    no_cut,
    trusted_indexes,
    forgotten_producers,
    unchecked_sequences,
    lazy_truncation,
    index_entries_astray,
]


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_broken_storage_is_noticed(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    seeds = _lives()
    for _ in range(SEEDS_TO_CATCH):
        try:
            power.run(*next(seeds))
        except (Wrong, AssertionError):
            return
    raise AssertionError(f"not noticed within {SEEDS_TO_CATCH} seeds")


def _lives() -> Iterator[tuple[int, bool]]:
    for seed in count():
        yield seed, True
        yield seed, False
