"""`--brokers` as people write it."""

import pytest

from ottla.client.cluster_view import parse_brokers


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("localhost", [("localhost", 9092)]),
        ("a:1,b", [("a", 1), ("b", 9092)]),
        (" a:1 , b:2 ,", [("a", 1), ("b", 2)]),
        ("PLAINTEXT://a:1", [("a", 1)]),
        ("[::1]:9093", [("::1", 9093)]),
        ("[::1]", [("::1", 9092)]),
        ("::1", [("::1", 9092)]),
    ],
)
def test_addresses_are_read(text: str, addresses: list[tuple[str, int]]) -> None:
    assert parse_brokers(text) == addresses


@pytest.mark.parametrize("text", ["", ",", "a:b", "a:0", "a:65536", ":9092", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_brokers(text)
