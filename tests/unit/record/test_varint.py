import pytest

from ottla.model.errors import ApiError
from ottla.record.varint import append_varint, read_varint, read_varlong

KNOWN = {
    0: "00",
    -1: "01",
    1: "02",
    63: "7e",
    -64: "7f",
    64: "8001",
    8191: "fe7f",
    8192: "808001",
    2**31 - 1: "feffffff0f",
    -(2**31): "ffffffff0f",
}
LONG = {
    2**31: "8080808010",
    2**63 - 1: "feffffffffffffffff01",
    -(2**63): "ffffffffffffffffff01",
}


@pytest.mark.parametrize(("value", "digits"), [*KNOWN.items(), *LONG.items()])
def test_the_bytes_of_a_value(value: int, digits: str) -> None:
    out = bytearray()
    append_varint(out, value)
    assert out.hex() == digits
    assert read_varlong(b"." + out, 1) == (value, 1 + len(out))
    if value in KNOWN:
        assert read_varint(out, 0) == (value, len(out))


def test_more_bytes_than_an_integer_has_are_refused() -> None:
    with pytest.raises(ApiError):
        read_varint(b"\x80" * 5 + b"\x00", 0)
    with pytest.raises(ApiError):
        read_varlong(b"\x80" * 10 + b"\x00", 0)


def test_a_buffer_that_ends_first_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        read_varint(b"\x80\x80", 0)
    with pytest.raises(IndexError):
        read_varlong(b"", 0)
