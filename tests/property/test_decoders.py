"""Broken input for every decoder of bytes from outside, a bounded number of them.

`make proof` tries ten million; a violation found there is a test here or beside its decoder.
"""

import contextlib
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.proof import fuzz
from tools.proof.decoders import REFUSALS, Decoder, Sound, every_decoder
from tools.proof.mutate import EXTREMES, mutated

DECODERS = {decoder.name: decoder for decoder in every_decoder()}
INPUTS = [(decoder, sound) for decoder in DECODERS.values() for sound in decoder.inputs]
WIRE = [*DECODERS["requests"].inputs, *DECODERS["other messages"].inputs]

PER_BYTE = 300
"""Bytes of memory that a byte of input may become: a struct of two bytes is a large object."""

FLAT = 256 * 1024


def tried(decoder: Decoder, sound: Sound, data: bytearray) -> None:
    """Decode; anything but an answer or a refusal fails the test."""
    with contextlib.suppress(REFUSALS):
        sound.decode(data)


@pytest.mark.parametrize("number", range(3))
def test_a_sample_of_what_make_proof_tries(number: int) -> None:
    piece = fuzz.piece(seed=0, number=number, iterations=fuzz.PIECE)
    assert not piece.violations
    assert piece.read > fuzz.PIECE // 10
    assert piece.refused > fuzz.PIECE // 10


def test_a_piece_is_the_same_again() -> None:
    first, again = (fuzz.piece(seed=5, number=1, iterations=2_000) for _ in range(2))
    assert (first.read, first.refused) == (again.read, again.refused)


def test_a_decoder_that_raises_anything_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(data: bytearray) -> object:
        return data[7]

    wrong = Decoder("careless", [Sound(bytes(8), careless)], 1)
    monkeypatch.setattr(fuzz, "_decoders", lambda: [wrong])
    violations = fuzz.piece(seed=1, number=0, iterations=1_000).violations
    assert len(violations) == fuzz.MOST_VIOLATIONS
    assert violations[0].startswith("careless: IndexError")


def test_a_decoder_that_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(data: bytearray) -> object:
        return sum(range(10_000_000)) if len(data) < 8 else None

    wrong = Decoder("slow", [Sound(bytes(8), slow)], 1)
    monkeypatch.setattr(fuzz, "_decoders", lambda: [wrong])
    monkeypatch.setattr(fuzz, "MOST_VIOLATIONS", 1)
    (violation,) = fuzz.piece(seed=1, number=0, iterations=1_000).violations
    assert violation.startswith("slow: slow for")


@settings(max_examples=500)
@given(st.sampled_from(INPUTS), st.randoms(use_true_random=False))
def test_mutations_of_what_is_sound(chosen: tuple[Decoder, Sound], chance: object) -> None:
    decoder, sound = chosen
    others = [each.data for each in decoder.inputs[:50]]
    data = mutated(sound.data, others, chance)  # type: ignore[arg-type]
    tried(decoder, sound, data)
    if decoder.repair is not None:
        decoder.repair(data)
        tried(decoder, sound, data)


@settings(max_examples=300)
@given(
    st.sampled_from(WIRE),
    st.integers(0, 300),
    st.sampled_from(EXTREMES),
    st.integers(0, 3_000),
)
def test_memory_is_bounded_by_the_bytes_that_came(
    sound: Sound, position: int, extreme: bytes, zeroes: int
) -> None:
    """A count says anything; only what is there is made. Zeroes behind are the smallest elements."""
    data = bytearray(sound.data[:position] + extreme + bytes(zeroes))
    tracemalloc.start()
    try:
        tried(DECODERS["requests"], sound, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= FLAT + PER_BYTE * len(data)


@pytest.mark.parametrize("name", [name for name in DECODERS if "messages" not in name])
def test_every_input_cut_at_every_byte(name: str) -> None:
    """Requests cut short are refused, always; what else is cut may still make sense."""
    decoder = DECODERS[name]
    for sound in decoder.inputs:
        step = 1 if len(sound.data) < 1_000 else 7
        for size in range(0, len(sound.data), step):
            data = bytearray(sound.data[:size])
            if name == "requests":
                with pytest.raises(REFUSALS):
                    sound.decode(data)
                continue
            tried(decoder, sound, data)
            if decoder.repair is not None:
                decoder.repair(data)
                tried(decoder, sound, data)
