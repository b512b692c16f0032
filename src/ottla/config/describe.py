"""Settings as DescribeConfigs shows them: value, source, and the synonyms that stand behind it.

The synonyms of an entry are the places where it could have been set, the one
that counts first. They are looked up layer by layer (this broker, all brokers,
static, default), in each under every spelling; spellings before the first with
the asked name are dropped, because they are overrides that do not count here.
That is Kafka's rule, and tools print its outcome. Entries come sorted by name.
"""

from collections.abc import Container, Mapping
from functools import cache
from typing import NamedTuple

from ottla.config.broker_config import BrokerConfig
from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.client_metrics_keys import CLIENT_METRICS_KEYS
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.key import ConfigError, ConfigType, Key, Update
from ottla.config.resolve import ConfigSource, base_name, synonyms
from ottla.config.topic_keys import TOPIC_KEYS


class Synonym(NamedTuple):
    name: str
    value: str | None
    source: ConfigSource


class Entry(NamedTuple):
    name: str
    value: str | None
    """None where nothing is set, and for what is sensitive."""
    source: ConfigSource
    is_read_only: bool
    is_sensitive: bool
    type: ConfigType
    documentation: str | None
    synonyms: tuple[Synonym, ...]


class Everything:
    """The filter that lets all names through."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYTHING = Everything()


def describe_topic(
    broker: BrokerConfig, overrides: Mapping[str, str], names: Container[str] = EVERYTHING
) -> list[Entry]:
    """Describe a topic whose own settings are `overrides`."""
    return [
        _entry(
            key,
            key.format(broker.topic_defaults[name]),
            overrides.get(name),
            ConfigSource.TOPIC,
            _broker_synonyms(broker, key.synonyms[0]) if key.synonyms else (),
        )
        for name, key in sorted(TOPIC_KEYS.items())
        if name in names
    ]


def describe_group(
    broker: BrokerConfig, overrides: Mapping[str, str], names: Container[str] = EVERYTHING
) -> list[Entry]:
    """Describe a group whose own settings are `overrides`."""
    entries = []
    for name, key in sorted(GROUP_KEYS.items()):
        if name not in names:
            continue
        if key.synonyms:
            default = key.format(broker.values[key.synonyms[0]])
            behind = _broker_synonyms(broker, key.synonyms[0])
        else:
            default = key.format(key.default)
            behind = (Synonym(name, default, ConfigSource.DEFAULT),)
            if name in overrides:
                behind = ()
        entries.append(_entry(key, default, overrides.get(name), ConfigSource.GROUP, behind))
    return entries


def describe_client_metrics(
    overrides: Mapping[str, str], names: Container[str] = EVERYTHING
) -> list[Entry]:
    """Describe a client metrics subscription."""
    return [
        _entry(key, key.format(key.default), overrides.get(name), ConfigSource.CLIENT_METRICS, ())
        for name, key in sorted(CLIENT_METRICS_KEYS.items())
        if name in names
    ]


def describe_broker(broker: BrokerConfig, names: Container[str] = EVERYTHING) -> list[Entry]:
    """Describe this broker: all that is declared, and all that is set."""
    is_set = {*broker.static, *broker.dynamic_default, *broker.dynamic_broker}
    declared = {name for name, key in BROKER_KEYS.items() if not key.is_internal}
    return [
        _broker_entry(name, _current(broker, name), _broker_synonyms(broker, name))
        if name in is_set or len(synonyms(name)) > 1
        else _unset_entry(name)
        for name in sorted(declared | is_set)
        if name in names
    ]


def describe_all_brokers(broker: BrokerConfig, names: Container[str] = EVERYTHING) -> list[Entry]:
    """Describe what is set for all brokers."""
    entries = []
    for name, text in sorted(broker.dynamic_default.items()):
        if name in names:
            behind = tuple(
                synonym
                for synonym in _broker_synonyms(broker, name)
                if synonym.source is ConfigSource.DYNAMIC_DEFAULT_BROKER
            )
            entries.append(_broker_entry(name, text, behind))
    return entries


def _entry(
    key: Key,
    default: str | None,
    own: str | None,
    own_source: ConfigSource,
    behind: tuple[Synonym, ...],
) -> Entry:
    value = default
    if own is not None:
        value = _shown(key, own)
        behind = (Synonym(key.name, value, own_source), *behind)
    source = behind[0].source if behind else ConfigSource.DEFAULT
    return Entry(key.name, value, source, False, False, key.type, key.documentation, behind)


@cache
def _unset_entry(name: str) -> Entry:
    """Most entries of a broker, made once: nothing in any layer can change them."""
    key = BROKER_KEYS[name]
    value = None if key.is_sensitive else key.format(key.default)
    behind = () if key.default is None else (Synonym(name, value, ConfigSource.DEFAULT),)
    return _broker_entry(name, value, behind)


def _broker_entry(name: str, value: str | None, behind: tuple[Synonym, ...]) -> Entry:
    key = BROKER_KEYS.get(base_name(name))
    declared = BROKER_KEYS.get(name)
    is_sensitive = key is None or key.is_sensitive
    return Entry(
        name,
        None if is_sensitive else value,
        behind[0].source if behind else ConfigSource.DEFAULT,
        declared is None or declared.update is Update.READ_ONLY,
        is_sensitive,
        ConfigType.UNKNOWN if key is None else key.type,
        None if declared is None else declared.documentation,
        behind,
    )


def _current(broker: BrokerConfig, name: str) -> str | None:
    key = BROKER_KEYS.get(base_name(name))
    if key is None:
        return None
    if name in broker.values:
        return key.format(broker.values[name])
    return None


def _broker_synonyms(broker: BrokerConfig, name: str) -> tuple[Synonym, ...]:
    spellings = synonyms(name)
    found: list[Synonym] = []
    for layer, source in (
        (broker.dynamic_broker, ConfigSource.DYNAMIC_BROKER),
        (broker.dynamic_default, ConfigSource.DYNAMIC_DEFAULT_BROKER),
        (broker.static, ConfigSource.STATIC_BROKER),
    ):
        found += [
            Synonym(spelling, _unless_sensitive(spelling, layer[spelling]), source)
            for spelling in spellings
            if spelling in layer
        ]
    for spelling in spellings:
        key = BROKER_KEYS.get(spelling)
        if key is not None and key.default is not None and not key.is_internal:
            text = _unless_sensitive(spelling, key.format(key.default))
            found.append(Synonym(spelling, text, ConfigSource.DEFAULT))
    while found and found[0].name != name:
        del found[0]
    return tuple(found)


def _unless_sensitive(name: str, text: str | None) -> str | None:
    key = BROKER_KEYS.get(base_name(name))
    return None if key is None or key.is_sensitive else text


def _shown(key: Key, text: str) -> str | None:
    try:
        return key.format(key.parse(text))
    except ConfigError:
        return text  # stored by another release, perhaps
