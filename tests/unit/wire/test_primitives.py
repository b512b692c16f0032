import pytest

from ottla.model.errors import ProtocolError
from ottla.wire.primitives import finish_uvarint, read_uvarint, skip_tagged, uvarint

VARINTS = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (300, "ac02"),
    (16_383, "ff7f"),
    (16_384, "808001"),
    ((1 << 31) - 1, "ffffffff07"),
    ((1 << 32) - 1, "ffffffff0f"),
]


@pytest.mark.parametrize(("value", "text"), VARINTS)
def test_a_varint_has_seven_bits_a_byte_least_first(value: int, text: str) -> None:
    assert uvarint(value).hex() == text
    data = bytes.fromhex(text)
    assert read_uvarint(b"x" + data + b"y", 1) == (value, 1 + len(data))


def test_a_varint_of_six_bytes_is_refused() -> None:
    with pytest.raises(ProtocolError):
        read_uvarint(bytes.fromhex("808080808001"), 0)


def test_a_varint_that_is_cut_off_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        finish_uvarint(b"\x80", 1, 0x80)


def test_unknown_tagged_fields_are_skipped_by_size() -> None:
    data = bytes.fromhex("05 02 aabb  8001 00  07 01 cc  ff")
    assert skip_tagged(data, 0, len(data), 3) == len(data) - 1


def test_many_unknown_tagged_fields_are_skipped() -> None:
    data = b"\x01" + bytes.fromhex("0500") * 128
    assert skip_tagged(data, 0, len(data), 0x80) == len(data)


def test_a_tagged_field_beyond_the_end_is_refused() -> None:
    with pytest.raises(ProtocolError):
        skip_tagged(bytes.fromhex("05 03 aabb"), 0, 4, 1)
