"""When the leases of an embedded store run out. Which keys hang on them, the store knows."""

from collections.abc import Callable

from ottla.metadata.store import LeaseId, LeaseNotFoundError
from ottla.model.clock import Clock, Timer


class Leases:
    """One timer a lease; a keep-alive only moves the deadline the timer looks at."""

    def __init__(self, clock: Clock, expire: Callable[[LeaseId], None]) -> None:
        """`expire` is called once for a lease that ran out, and then it is not here any more."""
        self._clock = clock
        self._expire = expire
        self._ttl_ms: dict[LeaseId, int] = {}
        self._deadline_ms: dict[LeaseId, int] = {}
        self._timers: dict[LeaseId, Timer] = {}

    def __contains__(self, lease: LeaseId) -> bool:
        return lease in self._ttl_ms

    def start(self, lease: LeaseId, ttl_ms: int) -> None:
        self._ttl_ms[lease] = ttl_ms
        self._deadline_ms[lease] = self._clock.now_ms() + ttl_ms
        self._arm(lease)

    def keep_alive(self, lease: LeaseId) -> None:
        """Raise LeaseNotFoundError if it has run out."""
        if lease not in self._ttl_ms:
            raise LeaseNotFoundError(f"lease {lease} has run out or was revoked")
        self._deadline_ms[lease] = self._clock.now_ms() + self._ttl_ms[lease]

    def end(self, lease: LeaseId) -> None:
        """Forget the lease; harmless twice."""
        if self._ttl_ms.pop(lease, None) is not None:
            del self._deadline_ms[lease]
            self._timers.pop(lease).cancel()

    def close(self) -> None:
        for lease in list(self._ttl_ms):
            self.end(lease)

    def _arm(self, lease: LeaseId) -> None:
        self._timers[lease] = self._clock.call_at(
            self._deadline_ms[lease], lambda: self._look(lease)
        )

    def _look(self, lease: LeaseId) -> None:
        if lease not in self._ttl_ms:
            return
        if self._clock.now_ms() < self._deadline_ms[lease]:
            self._arm(lease)
            return
        self.end(lease)
        self._expire(lease)
