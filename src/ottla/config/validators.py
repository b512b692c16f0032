"""Legal values of settings, refused in the words of Kafka's `ConfigDef` validators (4.3.1)."""

import re

from ottla.config.key import ConfigError, Value, format_value, invalid_value
from ottla.config.key import ConfigType as Type


def _java_list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(values) + "]"


class Range:
    """Numbers in [low, high]; either end may be open."""

    __slots__ = ("high", "low")

    def __init__(self, low: float | None, high: float | None = None) -> None:
        self.low = low
        self.high = high

    def check(self, name: str, value: Value) -> None:
        if value is None:
            raise invalid_value(name, "null", "Value must be non-null")
        assert isinstance(value, (int, float)), name
        shown = format_value(value, Type.DOUBLE if isinstance(value, float) else Type.LONG)
        if self.low is not None and value < self.low:
            raise invalid_value(name, shown, f"Value must be at least {self.low}")
        if self.high is not None and value > self.high:
            raise invalid_value(name, shown, f"Value must be no more than {self.high}")

    def describe(self) -> str:
        if self.high is None:
            return f"at least {self.low}"
        return f"{self.low} to {self.high}"


class OneOf:
    """One of a few words."""

    __slots__ = ("any_case", "words")

    def __init__(self, *words: str, any_case: bool = False) -> None:
        self.words = words
        self.any_case = any_case

    def check(self, name: str, value: Value) -> None:
        assert value is None or isinstance(value, str), name
        if self.any_case:
            if value is None or value.upper() not in self.words:
                options = ", ".join(self.words)
                problem = f"String must be one of (case insensitive): {options}"
                raise invalid_value(name, value, problem)
        elif value not in self.words:
            raise invalid_value(name, value, f"String must be one of: {', '.join(self.words)}")

    def describe(self) -> str:
        return ", ".join(self.words)


class ListOf:
    """A list without repetitions, of these words or, without words, of any that are not empty."""

    __slots__ = ("may_be_empty", "may_be_null", "words")

    def __init__(self, *words: str, may_be_empty: bool = False, may_be_null: bool = False) -> None:
        self.words = words
        self.may_be_empty = may_be_empty
        self.may_be_null = may_be_null

    def check(self, name: str, value: Value) -> None:
        if value is None:
            if self.may_be_null:
                return
            raise ConfigError(f"Configuration '{name}' values must not be null.")
        assert isinstance(value, tuple), name
        if not value and not self.may_be_empty:
            options = _java_list(self.words) if self.words else "any non-empty value"
            raise ConfigError(
                f"Configuration '{name}' must not be empty. Valid values include: {options}"
            )
        if len(set(value)) != len(value):
            raise ConfigError(f"Configuration '{name}' values must not be duplicated.")
        for item in value:
            if not item:
                raise ConfigError(f"Configuration '{name}' values must not be empty.")
            if self.words and item not in self.words:
                raise invalid_value(name, item, f"String must be one of: {', '.join(self.words)}")

    def describe(self) -> str:
        what = "any of " + ", ".join(self.words) if self.words else "a list"
        return what + (", or empty" if self.may_be_empty and self.words else "")


class NonEmpty:
    """A text with something in it; unset is fine."""

    __slots__ = ()

    def check(self, name: str, value: Value) -> None:
        if value == "":
            raise invalid_value(name, "", "String must be non-empty")

    def describe(self) -> str:
        return "not empty"


class GzipLevel:
    __slots__ = ()

    def check(self, name: str, value: Value) -> None:
        assert isinstance(value, int), name
        if value != -1 and not 1 <= value <= 9:
            raise invalid_value(name, value, "Value must be between 1 and 9 or equal to -1")

    def describe(self) -> str:
        return "1 to 9, or -1"


class ThrottledReplicas:
    """`partition:broker` pairs, or `*`, or none."""

    __slots__ = ()

    def check(self, name: str, value: Value) -> None:
        assert isinstance(value, tuple), name
        if value == ("*",) or all(re.fullmatch("([0-9]+:[0-9]+)?", pair) for pair in value):
            return
        raise invalid_value(
            name,
            _java_list(value),
            f"{name} must be the literal '*' or a list of replicas in the following format: "
            "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
        )

    def describe(self) -> str:
        return "pairs of partition:broker, `*`, or empty"


class OffsetReset:
    """Where a share group starts: a word, or `by_duration:` and an ISO-8601 duration."""

    __slots__ = ()
    _DURATION = r"(?ia)P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+([.,]\d{0,9})?S)?)?"

    def check(self, name: str, value: Value) -> None:
        assert isinstance(value, str), name
        word, _, duration = value.partition(":")
        if value in ("latest", "earliest"):
            return
        if word == "by_duration" and re.fullmatch(self._DURATION, duration):
            return
        raise invalid_value(
            name,
            value,
            f"Invalid value `{value}` for configuration {name}. The value must be either "
            "'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
        )

    def describe(self) -> str:
        return "latest, earliest, by_duration:PnDTnHnMn.nS"


def at_least(low: float) -> Range:
    return Range(low)


def between(low: float, high: float) -> Range:
    return Range(low, high)
