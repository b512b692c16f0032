"""How fast replicas may be copied that are being moved: Kafka's replication throttles (KIP-73).

A topic names the replicas that are throttled, by `leader.replication.throttled.replicas` where
they are read and `follower.replication.throttled.replicas` where they are written; each broker
has a rate for either. What travels counts; who is over the rate waits. A replica that is in sync
is counted and never waits: moving others must not make it fall behind.
"""

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from ottla.metadata.image import Image
from ottla.model.ids import BrokerId, PartitionId
from ottla.replica.partition import Partition

UNLIMITED = 2**63 - 1

MS = 1000


class ThrottleSettings(Protocol):
    """Rates are bytes/s; they may change while the broker runs, the windows may not."""

    leader_replication_throttled_rate: int
    follower_replication_throttled_rate: int
    replication_quota_window_num: int
    replication_quota_window_size_seconds: int


class Rate:
    """Bytes per second, on average over the last windows."""

    def __init__(self, windows: int, window_ms: int) -> None:
        self._window_ms = window_ms
        self._kept_ms = windows * window_ms
        self._samples: deque[list[int]] = deque()
        """When each window began, and the bytes in it; oldest first."""
        self._total = 0

    def add(self, size: int, now_ms: int) -> None:
        samples = self._samples
        if not samples or now_ms - samples[-1][0] >= self._window_ms:
            samples.append([now_ms, 0])
        samples[-1][1] += size
        self._total += size

    def now(self, now_ms: int) -> float:
        """Return bytes/s since the oldest window began, which is a whole window ago at least."""
        samples = self._samples
        while samples and now_ms - samples[0][0] >= self._kept_ms:
            self._total -= samples.popleft()[1]
        if not samples:
            return 0.0
        return self._total * MS / max(now_ms - samples[0][0], self._window_ms)


class ReplicationThrottles:
    """A broker's, in both directions."""

    def __init__(
        self,
        broker_id: BrokerId,
        settings: Callable[[], ThrottleSettings],
        image: Callable[[], Image],
        now_ms: Callable[[], int],
    ) -> None:
        """`now_ms` reads the transport clock."""
        self._broker_id = broker_id
        self._settings = settings
        self._image = image
        self._now_ms = now_ms
        at_start = settings()
        windows = at_start.replication_quota_window_num
        window_ms = at_start.replication_quota_window_size_seconds * MS
        self._came = Rate(windows, window_ms)
        self._went = Rate(windows, window_ms)

    # As a follower: fetch_plan.Throttle

    def allows(self, partition: Partition, /) -> bool:
        """Whether more may be fetched of it now."""
        limit = self._settings().follower_replication_throttled_rate
        if limit == UNLIMITED or self._came.now(self._now_ms()) <= limit:
            return True
        return self._is_in_sync(partition) or not self._is_written_slowly(partition)

    def took(self, partition: Partition, size: int, /) -> None:
        """So many bytes of it came."""
        limit = self._settings().follower_replication_throttled_rate
        if limit != UNLIMITED and self._is_written_slowly(partition):
            self._came.add(size, self._now_ms())

    def _is_in_sync(self, partition: Partition) -> bool:
        state = self._image().partition(partition.topic, partition.partition)
        if state is not None and self._broker_id in state.isr:
            return True
        return 0 < partition.leader_high_watermark <= partition.log.log_end_offset

    # As a leader

    @property
    def limits_leaders(self) -> bool:
        """Whether there is anything to ask about what is led here."""
        return self._settings().leader_replication_throttled_rate != UNLIMITED

    def holds_back(self, partition: Partition, follower: BrokerId) -> bool:
        """Whether a follower gets nothing of it now."""
        limit = self._settings().leader_replication_throttled_rate
        if self._went.now(self._now_ms()) <= limit:
            return False
        leadership = partition.leadership
        if leadership is None or follower in leadership.state.isr:
            return False
        return self._is_read_slowly(partition)

    def sent(self, partition: Partition, size: int) -> None:
        """So many bytes of it go to a follower."""
        if self._is_read_slowly(partition):
            self._went.add(size, self._now_ms())

    # What topics name

    def _is_written_slowly(self, partition: Partition) -> bool:
        return self._is_named(partition, "follower.replication.throttled.replicas")

    def _is_read_slowly(self, partition: Partition) -> bool:
        return self._is_named(partition, "leader.replication.throttled.replicas")

    def _is_named(self, partition: Partition, setting: str) -> bool:
        topic = self._image().topics.get(partition.topic)
        if topic is None:
            return False
        named = throttled(topic.configs.get(setting, ""))
        return named is None or (partition.partition, self._broker_id) in named


@lru_cache(maxsize=1024)
def throttled(text: str) -> frozenset[tuple[PartitionId, BrokerId]] | None:
    """Return the replicas that a topic's setting names as "partition:broker,..."; None: all ("*")."""
    if text.strip() == "*":
        return None
    pairs = (pair.strip().partition(":") for pair in text.split(",") if pair.strip())
    return frozenset((int(partition), int(broker)) for partition, _, broker in pairs)
