"""The members of etcd, which of them to ask, and how each was last found."""

import logging
from collections.abc import Mapping, Sequence

from ottla.metadata.etcd_options import Endpoint

log = logging.getLogger("ottla.metadata")


class Endpoints:
    """One is asked until it fails, then the next in turn."""

    def __init__(self, endpoints: Sequence[Endpoint], first: int = 0) -> None:
        """`first` counts round and round."""
        self._endpoints = tuple(endpoints)
        self._current = first % len(self._endpoints)
        self._failures: dict[Endpoint, str] = {}

    @property
    def current(self) -> Endpoint:
        return self._endpoints[self._current]

    @property
    def failures(self) -> Mapping[Endpoint, str]:
        """Why each endpoint that failed last time did so."""
        return self._failures

    def order(self) -> list[Endpoint]:
        """All of them, the one to ask first in front."""
        return [*self._endpoints[self._current :], *self._endpoints[: self._current]]

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        """Ask the next one from now on."""
        if endpoint not in self._failures:
            log.warning("etcd at %s fails: %s", endpoint, error)
        self._failures[endpoint] = str(error)
        if endpoint == self.current:
            self._current = (self._current + 1) % len(self._endpoints)

    def answered(self, endpoint: Endpoint) -> None:
        if self._failures.pop(endpoint, None) is not None:
            log.info("etcd at %s answers again", endpoint)
