"""Listener settings: where to listen, what to advertise, in which protocol.

An endpoint is written `NAME://host:port`. Names compare without case. An IPv6
host stands in brackets; an empty host means every interface.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from ottla.config.key import ConfigError

_ENDPOINT = r"(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)"
_IPV4 = r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})"


class SecurityProtocol(Enum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class Endpoint(NamedTuple):
    name: str
    """The listener's name, in capitals."""
    host: str
    """Without brackets; empty means every interface."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


class Listener(NamedTuple):
    """One place to accept connections."""

    name: str
    protocol: SecurityProtocol
    host: str
    port: int
    """0 takes a free one."""
    also_hosts: tuple[str, ...] = ()
    """Further addresses to bind on the same port where the machine has them."""

    def __str__(self) -> str:
        return str(Endpoint(self.name, self.host, self.port))


def parse_endpoint(text: str) -> Endpoint:
    match = re.fullmatch(_ENDPOINT, text.strip())
    if match is None or not match[1]:
        raise ConfigError(f"Unable to parse {text} to a broker endpoint: expected NAME://host:port")
    port = int(match[3])
    if not 0 <= port <= 65535:
        raise ConfigError(f"Unable to parse {text} to a broker endpoint: no port is {port}")
    return Endpoint(match[1].upper(), match[2], port)


def parse_security_protocol_map(text: str) -> dict[str, SecurityProtocol]:
    """Read `NAME:PROTOCOL,...`; a name given twice or an unknown protocol is refused."""
    protocols: dict[str, SecurityProtocol] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, separator, protocol = (part.strip() for part in pair.rpartition(":"))
        if not separator or protocol.upper() not in SecurityProtocol.__members__:
            known = ", ".join(SecurityProtocol.__members__)
            raise ConfigError(
                f"listener.security.protocol.map: {pair} is not NAME:PROTOCOL with one of {known}"
            )
        if name.upper() in protocols:
            raise ConfigError(
                f"listener.security.protocol.map: {name.upper()} has more than one protocol"
            )
        protocols[name.upper()] = SecurityProtocol[protocol.upper()]
    return protocols


def parse_listeners(
    texts: Iterable[str],
    protocols: Mapping[str, SecurityProtocol],
    *,
    left_out: Iterable[str] = (),
) -> tuple[Listener, ...]:
    """Read `listeners`, without those named in `left_out` (Kafka's controllers).

    Names and ports are distinct, but one IPv4 and one IPv6 address may share
    both (KIP-797); port 0 may be given often.
    """
    skipped = {name.upper() for name in left_out}
    endpoints = [e for e in map(parse_endpoint, texts) if e.name not in skipped]
    shown = ",".join(map(str, endpoints))
    if not endpoints:
        raise ConfigError("listeners: there must be at least one for clients")
    _check_distinct(endpoints, shown)
    return tuple(Listener(e.name, _protocol_of(e, protocols), e.host, e.port) for e in endpoints)


def parse_advertised(
    texts: Iterable[str], listeners: Iterable[Listener], *, left_out: Iterable[str] = ()
) -> dict[str, Endpoint]:
    """Read `advertised.listeners` as endpoints by listener name."""
    skipped = {name.upper() for name in left_out}
    names = {listener.name for listener in listeners}
    advertised: dict[str, Endpoint] = {}
    for endpoint in map(parse_endpoint, texts):
        if endpoint.name in skipped:
            continue
        if endpoint.host in ("0.0.0.0", "::"):
            raise ConfigError(
                f"advertised.listeners cannot use {endpoint.host}, which no client can connect to. "
                "Use a routable address."
            )
        if endpoint.name not in names:
            raise ConfigError(
                f"advertised.listeners names {endpoint.name}, which listeners does not; "
                f"it has {', '.join(sorted(names))}"
            )
        if endpoint.name in advertised:
            raise ConfigError(f"advertised.listeners: {endpoint.name} is given more than once")
        advertised[endpoint.name] = endpoint
    return advertised


def listeners_from_advertised(texts: Iterable[str]) -> tuple[str, ...]:
    """Return `listeners` for someone who set only `advertised.listeners`: every interface."""
    return tuple(str(parse_endpoint(text)._replace(host="0.0.0.0")) for text in texts)


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or (_is_ipv4(host) and host.startswith("127."))


def _protocol_of(endpoint: Endpoint, protocols: Mapping[str, SecurityProtocol]) -> SecurityProtocol:
    protocol = protocols.get(endpoint.name)
    if protocol is None:
        raise ConfigError(
            f"No security protocol defined for listener {endpoint.name}: "
            f"add {endpoint.name}:PLAINTEXT, or another, to listener.security.protocol.map"
        )
    return protocol


def _check_distinct(endpoints: list[Endpoint], shown: str) -> None:
    by_port: dict[int, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_port.setdefault(endpoint.port, []).append(endpoint)
    paired: set[Endpoint] = set()
    for port, same in by_port.items():
        if port == 0 or len(same) == 1:
            continue
        families = sorted(_family(endpoint.host) for endpoint in same)
        if families != [4, 6]:
            raise ConfigError(
                "Each listener must have a different port unless exactly one listener has an IPv4 "
                f"address and the other an IPv6 address, listeners: {shown}"
            )
        paired.update(same)
    names: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        other = names.setdefault(endpoint.name, endpoint)
        pair = endpoint in paired and other in paired and other.port == endpoint.port
        if other is not endpoint and not pair:
            raise ConfigError(
                "Each listener must have a different name unless exactly one listener has an IPv4 "
                f"address and the other an IPv6 address on the same port, listeners: {shown}"
            )


def _family(host: str) -> int:
    return 6 if ":" in host else 4 if _is_ipv4(host) else 0


def _is_ipv4(host: str) -> bool:
    match = re.fullmatch(_IPV4, host)
    return match is not None and all(int(part) <= 255 for part in match.groups())
