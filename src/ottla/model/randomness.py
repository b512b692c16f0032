"""Randomness, as an argument."""

from typing import Protocol

from ottla.model.ids import Uuid


class Randomness(Protocol):
    def uuid(self) -> Uuid:
        """A version 4 uuid that Kafka would hand out: never zero, never with a leading dash in text."""

    def below(self, bound: int, /) -> int:
        """An integer in [0, bound)."""
