"""One setting: name, type, default, legal values, who may change it, what it is for.

The types, the reading of texts and the words of refusals are those of Kafka's
`ConfigDef` (4.3.1), because admin tools show them to people. Values are plain
Python: bool, int, float, str, tuple of str, or None where nothing is set.
"""

import re
from collections.abc import Iterable
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Protocol, TypeAlias

from ottla.model.errors import ApiError, ErrorCode

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | None


class ConfigType(IntEnum):
    """As DescribeConfigs numbers them."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class Update(Enum):
    """How a broker setting may change while the broker runs."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"


class Effect(Enum):
    """What a setting does in Ottla."""

    YES = "yes"
    NOT_YET = "not yet"
    NEVER = "never"


_NO_EFFECT = {
    Effect.YES: "",
    Effect.NOT_YET: " No effect in Ottla yet.",
    Effect.NEVER: " Accepted and described, without effect in Ottla.",
}


class ConfigError(ApiError):
    """A setting that cannot be taken: INVALID_CONFIG towards a client."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INVALID_CONFIG, message)


def invalid_value(name: str, value: object, problem: str) -> ConfigError:
    return ConfigError(f"Invalid value {value} for configuration {name}: {problem}")


class Validator(Protocol):
    def check(self, name: str, value: Value) -> None:
        """Raise ConfigError unless `value` is legal; None only where nothing is set."""

    def describe(self) -> str:
        """The legal values, as the reference documentation shows them."""


class Key:
    """A declared setting."""

    __slots__ = (
        "_doc",
        "default",
        "effect",
        "is_internal",
        "name",
        "synonyms",
        "type",
        "update",
        "validator",
    )

    def __init__(
        self,
        name: str,
        type: ConfigType,
        default: Value,
        validator: Validator | None,
        update: Update,
        effect: Effect,
        doc: str,
        synonyms: tuple[str, ...] = (),
        is_internal: bool = False,
    ) -> None:
        """Declare a setting.

        `synonyms` are the broker settings a topic's or group's setting defaults
        to, best first. An internal one is described only where it is set.
        """
        self.name = name
        self.type = type
        self.default = default
        self.validator = validator
        self.update = update
        self.effect = effect
        self._doc = doc
        self.synonyms = synonyms
        self.is_internal = is_internal

    @property
    def documentation(self) -> str:
        return self._doc + _NO_EFFECT[self.effect]

    @property
    def has_effect(self) -> bool:
        return self.effect is Effect.YES

    @property
    def is_sensitive(self) -> bool:
        """Its value is never shown, logged or described."""
        return self.type is ConfigType.PASSWORD

    def parse(self, text: str) -> Value:
        """Return the checked value of `text`, or raise ConfigError in Kafka's words."""
        value = parse(self.name, text, self.type)
        if self.validator is not None:
            self.validator.check(self.name, value)
        return value

    def format(self, value: Value) -> str | None:
        return format_value(value, self.type)

    def __repr__(self) -> str:
        return f"Key({self.name!r}, {self.type.name})"


Keys: TypeAlias = MappingProxyType[str, Key]


def table(*groups: Iterable[Key]) -> Keys:
    """Return the keys by name, in the order given; a name declared twice is a mistake of ours."""
    keys: dict[str, Key] = {}
    for group in groups:
        for key in group:
            assert key.name not in keys, key.name
            keys[key.name] = key
    return MappingProxyType(keys)


# What Java's String.trim takes off, and what its \s matches. Patterns are texts here and in
# the modules beside: `re` compiles them on first use, which most starts never pay.
_JAVA_TRIMMED = "".join(map(chr, range(0x21)))
_COMMA = r"[ \t\n\x0b\f\r]*,[ \t\n\x0b\f\r]*"
_INTEGER = r"[+-]?\d+"
_DECIMAL = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?"
_BITS = {ConfigType.SHORT: 15, ConfigType.INT: 31, ConfigType.LONG: 63}


def parse(name: str, text: str, type: ConfigType) -> Value:
    """Read `text` as a value of `type`, without asking whether it is a legal one."""
    trimmed = text.strip(_JAVA_TRIMMED)
    match type:
        case ConfigType.BOOLEAN:
            if trimmed.lower() not in ("true", "false"):
                raise invalid_value(name, text, "Expected value to be either true or false")
            return trimmed.lower() == "true"
        case ConfigType.SHORT | ConfigType.INT | ConfigType.LONG:
            if re.fullmatch(_INTEGER, trimmed) and len(trimmed) <= 64:
                number, bound = int(trimmed), 1 << _BITS[type]
                if -bound <= number < bound:
                    return number
            raise invalid_value(name, text, f"Not a number of type {type.name}")
        case ConfigType.DOUBLE:
            if not re.fullmatch(_DECIMAL, trimmed):
                raise invalid_value(name, text, "Not a number of type DOUBLE")
            return float(trimmed.rstrip("dDfF"))
        case ConfigType.LIST:
            return tuple(re.split(_COMMA, trimmed)) if trimmed else ()
        case _:
            return trimmed


def format_value(value: Value, type: ConfigType) -> str | None:
    """Write `value` as Kafka writes it; `parse` reads it back, but for a password."""
    if value is None:
        return None
    if type is ConfigType.PASSWORD:
        return "[hidden]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if type is ConfigType.DOUBLE:
        return _java_double(float(value))
    return str(value)


def _java_double(value: float) -> str:
    """Write as Java's Double.toString: 0.5, 1.0E-4, 1.7976931348623157E308."""
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        # repr is plain in this range, and both pick the shortest digits that read back.
        return repr(value)
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:  # repr stays plain up to 1e16
        digits = mantissa.lstrip("-").rstrip("0").rstrip(".").replace(".", "")
        whole = len(mantissa.lstrip("-").partition(".")[0])
        exponent = str(whole - 1) if abs(value) >= 1 else str(-_leading_zeros(mantissa))
        digits = digits.lstrip("0").rstrip("0")
        sign = "-" if value < 0 else ""
        mantissa = f"{sign}{digits[0]}.{digits[1:] or '0'}"
    elif "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}E{int(exponent)}"


def _leading_zeros(mantissa: str) -> int:
    fraction = mantissa.partition(".")[2]
    return len(fraction) - len(fraction.lstrip("0")) + 1
