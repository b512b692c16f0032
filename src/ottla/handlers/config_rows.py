"""Rows of settings as the bytes of an answer, kept for topics that share their settings.

A thousand topics with the same settings have the same rows, and those of one
topic take longer to make and encode than all else about it.
"""

from collections.abc import Callable, Hashable

from ottla.config.broker_config import BrokerConfig

MAX_KEPT = 256
"""Different settings, APIs and versions; with documentation each holds some 12 KiB."""


class ConfigRows:
    """The rows of one snapshot of the broker's settings; another one begins anew."""

    def __init__(self) -> None:
        self._config: BrokerConfig | None = None
        self._kept: dict[Hashable, list[bytes]] = {}

    def of(
        self, config: BrokerConfig, key: Hashable, make: Callable[[], list[bytes]]
    ) -> list[bytes]:
        """The rows kept for `key`, else made now; beside `config` all they depend on is in `key`."""
        if config is not self._config or len(self._kept) >= MAX_KEPT:
            self._config = config
            self._kept = {}
        rows = self._kept.get(key)
        if rows is None:
            rows = self._kept[key] = make()
        return rows
