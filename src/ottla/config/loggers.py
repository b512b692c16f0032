"""Log levels as broker settings (KIP-412): names, levels, and what may be asked.

A port carries it to the logging that is used; nothing is kept over a restart.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ottla.config.alter import Change, Operation
from ottla.config.key import ConfigError
from ottla.model.errors import ApiError, ErrorCode

ROOT = "root"
LEVELS = ("DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN")


class Loggers(Protocol):
    """The loggers there are."""

    def levels(self) -> Mapping[str, str]:
        """Every logger with the level that counts for it, `root` among them."""

    def set_level(self, logger: str, level: str | None) -> None:
        """Set one of LEVELS, or None to follow the parent again."""


def check_log_levels(loggers: Loggers, changes: Sequence[Change]) -> None:
    """Raise ApiError, in Kafka's words, unless all the changes can be made."""
    known = loggers.levels()
    for name, operation, value in changes:
        if operation in (Operation.APPEND, Operation.SUBTRACT):
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                f"{Operation(operation).name} operation is not allowed for the BROKER_LOGGER "
                "resource",
            )
        if name not in known:
            raise ConfigError(f"Logger {name} does not exist!")
        if operation == Operation.DELETE:
            if name == ROOT:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST,
                    "Removing the log level of the root logger is not allowed",
                )
        elif value not in LEVELS:
            raise ConfigError(
                f"Cannot set the log level of {name} to {value} as it is not a supported log "
                f"level. Valid log levels are {', '.join(LEVELS)}"
            )


def change_log_levels(loggers: Loggers, changes: Sequence[Change]) -> None:
    """Make changes that were checked."""
    for name, operation, value in changes:
        loggers.set_level(name, None if operation == Operation.DELETE else value)
