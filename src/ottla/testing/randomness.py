"""Randomness from a seed."""

import random

from ottla.model.ids import Uuid


class SeededRandomness:
    """The same seed gives the same uuids and integers, in the order they are asked for."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> Uuid:
        while True:
            value = bytearray(self._random.randbytes(16))
            value[6] = value[6] & 0x0F | 0x40
            value[8] = value[8] & 0x3F | 0x80
            if value[0] >> 2 != 0b111110:  # its text would begin with a dash
                return bytes(value)

    def below(self, bound: int, /) -> int:
        return self._random.randrange(bound)
