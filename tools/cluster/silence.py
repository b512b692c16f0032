"""How long each partition went without an acknowledgement, fault by fault."""

import threading

NEVER = -1.0


class Silence:
    """The longest gap between acknowledgements of each partition since `begin`.

    What counts is a gap's part behind the fault, so the first one begins with it. Times are
    seconds of one clock, given by the caller.
    """

    def __init__(self, partitions: int) -> None:
        self._lock = threading.Lock()
        self._since = 0.0
        self._last = [0.0] * partitions
        self._longest = [0.0] * partitions
        self._newest = [NEVER] * partitions

    def begin(self, at: float) -> None:
        """A fault happens now."""
        with self._lock:
            self._since = at
            self._longest = [0.0] * len(self._last)

    def acknowledged(self, partition: int, at: float, sent_at: float) -> None:
        """A record, sent then, was acknowledged."""
        with self._lock:
            gap = at - max(self._last[partition], self._since)
            self._longest[partition] = max(gap, self._longest[partition])
            self._last[partition] = at
            self._newest[partition] = max(sent_at, self._newest[partition])

    def heard_since(self, at: float) -> list[bool]:
        """Of each partition, whether a record sent after that moment has been acknowledged."""
        with self._lock:
            return [sent_at > at for sent_at in self._newest]

    def longest(self, now: float) -> list[float]:
        """Of each partition, the longest gap since `begin`, the one that lasts included."""
        with self._lock:
            return [
                max(longest, now - max(last, self._since))
                for longest, last in zip(self._longest, self._last, strict=True)
            ]
