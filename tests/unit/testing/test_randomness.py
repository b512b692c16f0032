"""Seeded randomness is Kafka's kind of random, and repeats."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ottla.model.ids import uuid_text
from ottla.testing.randomness import SeededRandomness


@given(st.integers())
def test_a_seed_repeats(seed: int) -> None:
    one, other = SeededRandomness(seed), SeededRandomness(seed)
    for bound in (1, 7, 2**63):
        assert one.uuid() == other.uuid()
        value = one.below(bound)
        assert value == other.below(bound)
        assert 0 <= value < bound


def test_uuids_are_version_4_and_never_begin_with_a_dash() -> None:
    randomness = SeededRandomness(0)
    uuids = [randomness.uuid() for _ in range(2_000)]
    assert len(set(uuids)) == 2_000
    assert {UUID(bytes=uuid).version for uuid in uuids} == {4}
    first = {uuid_text(uuid)[0] for uuid in uuids}
    assert "-" not in first
    assert len(first) == 63
