"""Not too fast."""


class Pace:
    """How long to rest so that on average no more than so many bytes pass a second."""

    def __init__(self, bytes_per_second: float, now: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._free_at = now

    def rest(self, size: int, now: float) -> float:
        """Return the seconds to wait after `size` more bytes."""
        if self._bytes_per_second <= 0:
            return 0.0
        self._free_at = max(self._free_at, now - 1) + size / self._bytes_per_second
        return max(0.0, self._free_at - now)
