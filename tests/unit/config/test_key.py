"""Texts become values, and refusals have Kafka's words."""

from pathlib import Path

import pytest

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.key import ConfigError, ConfigType, Effect, Key, Update, format_value, table
from ottla.config.topic_keys import TOPIC_KEYS
from ottla.model.errors import ErrorCode

GOLDEN = Path(__file__).parents[2] / "goldens" / "config" / "values.tsv"
TABLES = {"broker": BROKER_KEYS, "topic": TOPIC_KEYS, "group": GROUP_KEYS}


def _rows() -> list[list[str]]:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def _escaped(text: str) -> str:
    return text.replace("\t", "\\t").replace("\n", "\\n")


def test_every_text_is_read_or_refused_as_kafka_does() -> None:
    rows = _rows()
    assert len(rows) > 1000
    for scope, name, probe, verdict, outcome in rows:
        key = TABLES[scope][name]
        text = probe.replace("\\t", "\t").replace("\\n", "\n")
        try:
            mine = ("ok", key.format(key.parse(text)))
        except ConfigError as error:
            mine = ("no", _escaped(str(error)))
        assert mine == (verdict, outcome), (name, probe)


def test_a_refusal_is_invalid_config() -> None:
    with pytest.raises(ConfigError) as refused:
        TOPIC_KEYS["retention.ms"].parse("soon")
    assert refused.value.code is ErrorCode.INVALID_CONFIG
    assert refused.value.message == (
        "Invalid value soon for configuration retention.ms: Not a number of type LONG"
    )


@pytest.mark.parametrize("keys", TABLES.values(), ids=TABLES.keys())
def test_every_default_is_legal_and_reads_back(keys: dict[str, Key]) -> None:
    for key in keys.values():
        text = key.format(key.default)
        if text is not None and not (key.type is ConfigType.LIST and not text):
            assert key.parse(text) == key.default, key


@pytest.mark.parametrize("keys", TABLES.values(), ids=TABLES.keys())
def test_every_default_has_the_declared_type(keys: dict[str, Key]) -> None:
    python = {
        ConfigType.BOOLEAN: bool,
        ConfigType.INT: int,
        ConfigType.SHORT: int,
        ConfigType.LONG: int,
        ConfigType.DOUBLE: float,
        ConfigType.LIST: tuple,
    }
    for key in keys.values():
        if key.default is not None:
            assert type(key.default) is python.get(key.type, str), key


@pytest.mark.parametrize("keys", TABLES.values(), ids=TABLES.keys())
def test_every_setting_says_what_it_is_for(keys: dict[str, Key]) -> None:
    for key in keys.values():
        assert key.documentation.endswith("."), key
        assert ("effect in Ottla" in key.documentation) is (not key.has_effect), key


def test_synonyms_are_declared_broker_settings() -> None:
    for keys in (TOPIC_KEYS, GROUP_KEYS):
        for key in keys.values():
            assert all(name in BROKER_KEYS for name in key.synonyms), key


def test_a_password_is_never_written() -> None:
    key = BROKER_KEYS["ssl.key.password"]
    assert key.is_sensitive
    assert key.format(key.parse("secret")) == "[hidden]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (0.0, "0.0"),
        (1e-4, "1.0E-4"),
        (1e7, "1.0E7"),
        (9999999.0, "9999999.0"),
        (-0.00012345, "-1.2345E-4"),
        (123456789012345678.0, "1.2345678901234568E17"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (float("inf"), "Infinity"),
    ],
)
def test_doubles_are_written_as_java_writes_them(value: float, text: str) -> None:
    assert format_value(value, ConfigType.DOUBLE) == text


def test_a_name_is_declared_once() -> None:
    key = Key("a", ConfigType.INT, 1, None, Update.READ_ONLY, Effect.YES, "A.")
    with pytest.raises(AssertionError):
        table((key,), (key,))
