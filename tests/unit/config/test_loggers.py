"""Log levels as settings: what may be asked. The rest is in the handler's test."""

import pytest

from ottla.config.alter import Change, Operation
from ottla.config.loggers import LEVELS, change_log_levels, check_log_levels
from ottla.model.errors import ApiError


class Loggers:
    def __init__(self) -> None:
        self.own: dict[str, str | None] = {"root": "INFO", "ottla.net": None}

    def levels(self) -> dict[str, str]:
        return {name: level or "INFO" for name, level in self.own.items()}

    def set_level(self, logger: str, level: str | None) -> None:
        self.own[logger] = level


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_set(level: str) -> None:
    loggers = Loggers()
    changes = [Change("ottla.net", Operation.SET, level)]
    check_log_levels(loggers, changes)
    change_log_levels(loggers, changes)
    assert loggers.levels() == {"root": "INFO", "ottla.net": level}


@pytest.mark.parametrize(
    "change",
    [
        Change("nobody", Operation.SET, "INFO"),
        Change("root", Operation.SET, "info"),
        Change("root", Operation.DELETE, None),
        Change("root", Operation.SUBTRACT, "INFO"),
    ],
)
def test_what_cannot_be_is_refused(change: Change) -> None:
    with pytest.raises(ApiError):
        check_log_levels(Loggers(), [change])
