"""Python's loggers under Kafka's level names, for DescribeConfigs and AlterConfigs."""

import logging
from collections.abc import Mapping

ROOT = "root"

_NUMBER = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
_NAME = {number: name for name, number in _NUMBER.items()}

logging.addLevelName(_NUMBER["TRACE"], "TRACE")


class PythonLoggers:
    """The loggers of Ottla and the root of all."""

    def levels(self) -> Mapping[str, str]:
        """Every logger with the level that counts for it, `root` among them."""
        found = {ROOT: _name(logging.getLogger().getEffectiveLevel())}
        for name in sorted(logging.root.manager.loggerDict):
            if name == "ottla" or name.startswith("ottla."):
                found[name] = _name(logging.getLogger(name).getEffectiveLevel())
        return found

    def set_level(self, logger: str, level: str | None) -> None:
        """Set one of Kafka's levels, or None to follow the parent again."""
        target = logging.getLogger() if logger == ROOT else logging.getLogger(logger)
        target.setLevel(logging.NOTSET if level is None else _NUMBER[level])


def _name(number: int) -> str:
    return _NAME[max(known for known in _NAME if known <= max(number, 5))]
