import pytest

from ottla.record.checksum import Buffer, crc32c

DATA = b"123456789"


@pytest.mark.parametrize("buffer", [DATA, bytearray(DATA), memoryview(b"0" + DATA)[1:]])
def test_the_checksum_is_castagnoli_over_any_buffer(buffer: Buffer) -> None:
    assert crc32c(buffer) == 0xE3069283  # the catalogue's check value


def test_nothing_has_checksum_zero() -> None:
    assert crc32c(b"") == 0
