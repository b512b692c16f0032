"""Settings from flags, environment and file, put in order.

The better layer wins: flag, environment, file, default. Where one setting can
be written in several ways (`log.retention.ms`, `.minutes`, `.hours`), one of
them in a better layer hides all of them in a worse; within a layer the finer
unit wins, as in Kafka. Every setting remembers where it came from.
"""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.foreign_keys import is_foreign
from ottla.config.kraft_roles import check_roles
from ottla.config.nearest import nearest
from ottla.config.properties import read_properties


class ConfigSource(IntEnum):
    """Where a value comes from, as DescribeConfigs numbers it."""

    UNKNOWN = 0
    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class Setting(NamedTuple):
    text: str
    origin: str
    """For people: `--port`, `KAFKA_LOG_DIRS`, `server.properties:12`."""


class Static(NamedTuple):
    """What the broker starts with."""

    settings: Mapping[str, Setting]
    infos: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def texts(self) -> dict[str, str]:
        return {name: setting.text for name, setting in self.settings.items()}


_CHAINS = (
    ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    ("log.roll.ms", "log.roll.hours"),
    ("log.roll.jitter.ms", "log.roll.jitter.hours"),
)
_CHAIN_OF = {name: chain for chain in _CHAINS for name in chain} | {
    # Not the reverse: the scheduler's interval is a setting of its own, too.
    "log.flush.interval.ms": ("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
}
_LISTENER_KEY = r"listener\.name\.[^.]*\.(.*)"
_OF_A_MECHANISM = (
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
)


def base_name(name: str) -> str:
    """Return the setting that `listener.name.<listener>.[<mechanism>.]<setting>` sets, else `name`."""
    if not name.startswith("listener.name."):
        return name
    match = re.fullmatch(_LISTENER_KEY, name)
    if match is None:
        return name
    return next((base for base in _OF_A_MECHANISM if match[1].endswith(base)), match[1])


def synonyms(name: str) -> tuple[str, ...]:
    """Return the names under which a broker setting is looked up, best first."""
    chain = _CHAIN_OF.get(name)
    if chain is not None:
        return chain
    base = base_name(name)
    return (name,) if base == name else (name, base)


def override(settings: dict[str, str], better: Mapping[str, str]) -> None:
    """Put `better` over `settings`; other spellings of the same setting go."""
    for name in better:
        for other in _CHAIN_OF.get(name, ()):
            settings.pop(other, None)
    settings.update(better)


def combine(*layers: Mapping[str, Setting]) -> Static:
    """Put layers together, the best first; unknown names are left out with a warning.

    Raises:
        ConfigError: the roles of Kafka's that are asked for cannot be had.
    """
    settings: dict[str, Setting] = {}
    foreign: dict[str, str] = {}
    warnings: list[str] = []
    for layer in reversed(layers):
        known: dict[str, Setting] = {}
        for name, setting in layer.items():
            if base_name(name) in BROKER_KEYS:
                known[name] = setting
            elif is_foreign(base_name(name)):
                foreign[name] = setting.text
            else:
                warnings.append(_unknown(name, setting.origin))
        for name in known:
            for other in _CHAIN_OF.get(name, ()):
                settings.pop(other, None)
        settings.update(known)
    infos: tuple[str, ...] = ()
    if foreign:
        warnings += check_roles(foreign)
        names = ", ".join(sorted(foreign))
        infos = (f"Accepted without effect (for the JVM, KRaft, ZooKeeper or plug-ins): {names}",)
    return Static(settings, infos, tuple(warnings))


def from_file(text: str, file_name: str) -> dict[str, Setting]:
    """Read a properties file; `file_name` is only for the origin.

    Raises:
        ValueError: a broken escape, with its line.
    """
    return {p.name: Setting(p.value, f"{file_name}:{p.line}") for p in read_properties(text)}


def from_flags(flags: Iterable[tuple[str, str, str]]) -> dict[str, Setting]:
    """Take (setting, text, flag as typed) triples; a later one wins."""
    return {name: Setting(text, flag) for name, text, flag in flags}


def _unknown(name: str, origin: str) -> str:
    near = nearest(base_name(name), BROKER_KEYS)
    hint = f"; did you mean {near}?" if near else ""
    return f"Unknown setting {name} ({origin}) is ignored{hint}"
