"""Broken input for every decoder: it is read or refused, in time and memory its size explains.

Work is cut into pieces, each with a seed of its own, so that a run is the same
on any number of processes. What a decoder gets is a sound message with a few
changes (`mutate`); what it may do with it is return something, or raise
ProtocolError or ApiError. Any other exception is a violation, as is taking
longer than the size of the input explains, or memory that grows.
"""

import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache, partial
from random import Random
from typing import NamedTuple

from tools.proof.decoders import REFUSALS, Decoder, every_decoder
from tools.proof.mutate import mutated

PIECE = 20_000
REPAIRED = 0.75
"""The part of broken batches whose checksum is made right again."""

FIXED_S = 0.05
PER_BYTE_S = 20e-6
"""A decoder's time for an input: what a block of 256 KiB takes to be looked at, and so much a byte."""

MEMORY_BYTES = 256 << 20
"""What a process may grow by, over all of its pieces."""

ADDRESS_SPACE = 4 << 30
MOST_VIOLATIONS = 20


class Piece(NamedTuple):
    """What came of one piece."""

    read: int
    refused: int
    violations: list[str]
    grown_bytes: int
    """Resident memory at its peak, less what there was before the process' first piece."""


class Outcome(NamedTuple):
    """All pieces together."""

    inputs: int
    read: int
    refused: int
    grown_bytes: int
    violations: list[str]


@cache
def _decoders() -> list[Decoder]:
    """What this process tries; each input is decoded once, so that all code is compiled."""
    decoders = every_decoder()
    for decoder in decoders:
        for sound in decoder.inputs:
            with suppress(*REFUSALS):  # a rule of the topic may refuse what is sound
                sound.decode(bytearray(sound.data))
    return decoders


@cache
def _memory_at_first() -> int:
    _decoders()
    return _peak_bytes()


def _limit_memory() -> None:
    """For a process of the pool: what asks for more gets MemoryError, which is a violation."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def piece(seed: int, number: int, iterations: int) -> Piece:
    """Try `iterations` inputs: the same for the same seed and number."""
    before = _memory_at_first()
    chance = Random(seed << 32 | number)
    read = refused = 0
    violations: list[str] = []
    for decode, data, name in _broken(chance, iterations):
        started = time.perf_counter()
        try:
            decode(data)
            read += 1
        except REFUSALS:
            refused += 1
        except Exception as error:
            violations.append(f"{name}: {error!r} for {data.hex()}")
        if time.perf_counter() - started > _allowed_s(data) and _is_slow(decode, data):
            violations.append(f"{name}: slow for {data.hex()}")
        if len(violations) >= MOST_VIOLATIONS:
            break
    return Piece(read, refused, violations, _peak_bytes() - before)


def _broken(
    chance: Random, iterations: int
) -> Iterator[tuple[Callable[[bytearray], object], bytearray, str]]:
    """Yield decoders, each with an input to try."""
    shares = [decoder for decoder in _decoders() for _ in range(decoder.share)]
    bytes_of = {decoder.name: [sound.data for sound in decoder.inputs] for decoder in shares}
    random = chance.random
    for _ in range(iterations):
        name, inputs, _, repair = shares[int(random() * len(shares))]
        sound = inputs[int(random() * len(inputs))]
        data = mutated(sound.data, bytes_of[name], chance)
        if repair is not None and random() < REPAIRED:
            repair(data)
        yield sound.decode, data, name


def _allowed_s(data: bytearray) -> float:
    return FIXED_S + PER_BYTE_S * len(data)


def _is_slow(decode: Callable[[bytearray], object], data: bytearray) -> bool:
    """Whether it was the decoder, and not the machine, that took so long: try again."""
    fastest = float("inf")
    for _ in range(5):
        started = time.process_time()
        with suppress(Exception):
            decode(data)
        fastest = min(fastest, time.process_time() - started)
    return fastest > _allowed_s(data)


def run(iterations: int, seed: int, jobs: int, say: Callable[[str], None]) -> Outcome:
    """Try `iterations` inputs in `jobs` processes; `say` gets a line of progress now and then."""
    pieces = -(-iterations // PIECE)
    began = said = time.monotonic()
    done = read = refused = grown = 0
    violations: list[str] = []
    with ProcessPoolExecutor(jobs, initializer=_limit_memory) as pool:
        for result in pool.map(partial(piece, seed, iterations=PIECE), range(pieces)):
            done += PIECE
            read += result.read
            refused += result.refused
            grown = max(grown, result.grown_bytes)
            violations += result.violations
            now = time.monotonic()
            if now - said > 10 or done >= iterations:
                said = now
                say(
                    f"{done:,} of {iterations:,} inputs, {done / (now - began):,.0f}/s, "
                    f"{len(violations)} violations"
                )
    if grown > MEMORY_BYTES:
        violations.append(f"memory grew by {grown >> 20} MiB")
    return Outcome(done, read, refused, grown, violations)
