"""Listener settings."""

import pytest

from ottla.config.key import ConfigError
from ottla.config.listeners import (
    Endpoint,
    Listener,
    SecurityProtocol,
    is_loopback,
    listeners_from_advertised,
    parse_advertised,
    parse_endpoint,
    parse_listeners,
    parse_security_protocol_map,
)

PROTOCOLS = parse_security_protocol_map(
    "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,internal:PLAINTEXT"
)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("PLAINTEXT://:9092", Endpoint("PLAINTEXT", "", 9092)),
        ("plaintext://localhost:0", Endpoint("PLAINTEXT", "localhost", 0)),
        ("SSL://[::1]:9093", Endpoint("SSL", "::1", 9093)),
        ("SSL://[fe80::1%eth0]:9093", Endpoint("SSL", "fe80::1%eth0", 9093)),
        (" A_B-1://kafka.example.org:1 ", Endpoint("A_B-1", "kafka.example.org", 1)),
    ],
)
def test_an_endpoint_is_read(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "localhost:9092", "://a:1", "PLAINTEXT://a", "PLAINTEXT://a:b", "PLAINTEXT://a:65536",
     "PLAINTEXT://a:-1", "PLAINTEXT://a/b:1"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Unable to parse"):
        parse_endpoint(text)


def test_the_protocol_comes_from_the_map() -> None:
    (listener,) = parse_listeners(["INTERNAL://:1"], PROTOCOLS)
    assert listener == Listener("INTERNAL", SecurityProtocol.PLAINTEXT, "", 1)


def test_a_name_without_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="No security protocol defined for listener FOO"):
        parse_listeners(["FOO://:1"], PROTOCOLS)


@pytest.mark.parametrize("text", ["A", "A:", "A:HTTP", "A:SSL,a:PLAINTEXT"])
def test_a_broken_map_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_security_protocol_map(text)


def test_ports_and_names_are_distinct() -> None:
    with pytest.raises(ConfigError, match="different port"):
        parse_listeners(["PLAINTEXT://a:1", "SSL://b:1"], PROTOCOLS)
    with pytest.raises(ConfigError, match="different name"):
        parse_listeners(["PLAINTEXT://a:1", "PLAINTEXT://b:2"], PROTOCOLS)


def test_free_ports_may_repeat() -> None:
    assert len(parse_listeners(["PLAINTEXT://a:0", "SSL://b:0"], PROTOCOLS)) == 2


def test_an_ipv4_and_an_ipv6_address_may_share_port_and_name() -> None:
    texts = ["PLAINTEXT://127.0.0.1:1", "PLAINTEXT://[::1]:1"]
    assert [listener.host for listener in parse_listeners(texts, PROTOCOLS)] == ["127.0.0.1", "::1"]
    with pytest.raises(ConfigError, match="different port"):
        parse_listeners([*texts, "SSL://127.0.0.2:1"], PROTOCOLS)


def test_controller_listeners_are_left_out() -> None:
    texts = ["PLAINTEXT://:1", "CONTROLLER://:2"]
    assert len(parse_listeners(texts, PROTOCOLS, left_out=["controller"])) == 1
    with pytest.raises(ConfigError, match="at least one"):
        parse_listeners(texts[1:], PROTOCOLS, left_out=["controller"])


def test_what_is_advertised_must_be_a_listener_and_reachable() -> None:
    listeners = parse_listeners(["PLAINTEXT://:1", "SSL://:2"], PROTOCOLS)
    assert parse_advertised(["plaintext://h:7"], listeners) == {
        "PLAINTEXT": Endpoint("PLAINTEXT", "h", 7)
    }
    for wrong in (["PLAINTEXT://0.0.0.0:1"], ["OTHER://h:1"], ["SSL://h:1", "SSL://h:2"]):
        with pytest.raises(ConfigError, match="advertised"):
            parse_advertised(wrong, listeners)


def test_two_listeners_may_advertise_one_port() -> None:
    listeners = parse_listeners(["PLAINTEXT://:1", "SSL://:2"], PROTOCOLS)
    assert len(parse_advertised(["PLAINTEXT://h:7", "SSL://h:7"], listeners)) == 2


def test_listeners_follow_from_what_is_advertised() -> None:
    assert listeners_from_advertised(["PLAINTEXT://kafka:9092"]) == ("PLAINTEXT://0.0.0.0:9092",)


def test_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "localhost"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "127.example.org", "10.0.0.1"]))
