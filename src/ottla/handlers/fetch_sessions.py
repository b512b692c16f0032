"""Incremental fetch sessions (KIP-227), pure.

A session remembers what a client wants to read and what it was last told, so that
a poll sends only what is different. Ours also remembers which of its partitions
may have news (*dirty*): a partition's `advanced` marks it, a poll looks at dirty
partitions only, so a poll costs nothing for the thousands that are quiet. What is
quiet is watched; what is dirty need not be, except while a fetch waits for more.

Partitions take turns: whoever was served goes behind all others, so that a
poll with little room starves nobody.

A fetch without a session has the same shape and lives for one request.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ottla.model.errors import ErrorCode
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, Offset, PartitionId, TopicName, Uuid
from ottla.model.randomness import Randomness
from ottla.replica.partition import Partition

INITIAL_EPOCH = 0
FINAL_EPOCH = -1
NO_SESSION = 0
MAX_EPOCH = 2**31 - 1
EVICT_AFTER_MS = 120_000
"""A session unused for this long gives its place to a new one."""

MAX_WANTED = 500_000
"""Partitions that all sessions may want together: some 150 MB."""

PartitionKey = tuple[TopicName | Uuid, PartitionId]


class Wanted:
    """One partition of a fetch: what the client asked for, what it knows."""

    __slots__ = (
        "current_leader_epoch",
        "error",
        "key",
        "last_fetched_epoch",
        "max_bytes",
        "offset",
        "replica",
        "seen_high_watermark",
        "seen_start",
        "topic",
        "topic_id",
        "turn",
    )

    def __init__(self, key: PartitionKey, topic: TopicName, topic_id: Uuid) -> None:
        self.key = key
        self.topic = topic
        self.topic_id = topic_id
        self.offset: Offset = 0
        self.max_bytes = 0
        self.current_leader_epoch: LeaderEpoch = -1
        self.last_fetched_epoch: LeaderEpoch = -1
        self.replica: Partition | None = None
        self.error = ErrorCode.NONE
        self.seen_high_watermark: Offset = -1
        self.seen_start: Offset = -1
        self.turn = 0
        """The lowest of a session is served first."""

    @property
    def partition(self) -> PartitionId:
        return self.key[1]


class FetchSet:
    """The partitions of a fetch, and which of them may have news. A `Watcher` of each."""

    follower: BrokerId = NO_BROKER
    """The broker that fetches for its replicas; none: a consumer."""

    hears_of_commits = False
    """A follower is to be told at once what is committed: its consumers wait for it."""

    def __init__(self, *, by_id: bool) -> None:
        self.by_id = by_id
        self.wanted: dict[PartitionKey, Wanted] = {}
        self.dirty: dict[Wanted, None] = {}
        self.reshaped: dict[Wanted, None] = {}
        """What a follower wants whose topic has changed since its last request."""
        self.session_id = NO_SESSION
        self.epoch = INITIAL_EPOCH
        self.used_ms = 0
        self.on_news: Callable[[int], None] | None = None
        """Called with the bytes appended while a fetch waits on this set."""
        self._watched: dict[Partition, Wanted] = {}
        self._turns = 0

    def add(self, wanted: Wanted) -> None:
        """Want one more partition, behind the others."""
        self.wanted[wanted.key] = wanted
        self.dirty[wanted] = None
        self.queue_last(wanted)

    def queue_last(self, wanted: Wanted) -> None:
        """Serve it after all others from now on."""
        self._turns += 1
        wanted.turn = self._turns

    def in_turn(self) -> list[Wanted]:
        """The dirty ones, in the order in which they are to be served."""
        return sorted(self.dirty, key=_turn)

    def remove(self, key: PartitionKey) -> None:
        wanted = self.wanted.pop(key, None)
        if wanted is not None:
            self.dirty.pop(wanted, None)
            self.reshaped.pop(wanted, None)
            self.unwatch(wanted)

    def watch(self, wanted: Wanted, replica: Partition) -> None:
        """Learn of the replica's news from now on."""
        if wanted.replica is not replica:
            self.unwatch(wanted)
            wanted.replica = replica
            self._watched[replica] = wanted
            (replica.watchers if self.follower < 0 else replica.tails)[self] = None

    def unwatch(self, wanted: Wanted) -> None:
        replica, wanted.replica = wanted.replica, None
        if replica is not None:
            self._watched.pop(replica, None)
            (replica.watchers if self.follower < 0 else replica.tails).pop(self, None)

    def close(self) -> None:
        """Nobody reads through this set any more."""
        for wanted in self.wanted.values():
            self.unwatch(wanted)
        self.wanted.clear()
        self.dirty.clear()
        self.reshaped.clear()
        self.on_news = None

    # As a watcher of its partitions

    def advanced(self, partition: Partition, size: int) -> None:
        wanted = self._watched.get(partition)
        if wanted is not None:
            self.dirty[wanted] = None
            if self.on_news is not None:
                self.on_news(size)
            else:
                # The next poll looks at what is dirty, and watches again. Until then, and for
                # ever if the client is dead, appends need not pay for this session.
                self.unwatch(wanted)

    def start_moved(self, partition: Partition) -> None:
        wanted = self._watched.get(partition)
        if wanted is not None:
            self.dirty[wanted] = None
            if self.hears_of_commits and self.on_news is not None:
                self.on_news(MAX_EPOCH)

    def changed(self, partition: Partition) -> None:
        wanted = self._watched.get(partition)
        if wanted is not None:
            self.unwatch(wanted)
            self.dirty[wanted] = None
            if self.on_news is not None:
                self.on_news(MAX_EPOCH)


class Opened(NamedTuple):
    """What a fetch request's session fields mean."""

    fetch: FetchSet | None
    error: ErrorCode = ErrorCode.NONE
    full: bool = True
    """Whether the answer names every partition."""


class FetchSessions:
    """All sessions of a broker; at most `slots`."""

    def __init__(self, slots: int, randomness: Randomness) -> None:
        self.slots = slots
        self._randomness = randomness
        self._sessions: dict[int, FetchSet] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(
        self,
        session_id: int,
        epoch: int,
        *,
        by_id: bool,
        now_ms: int,
        follower: BrokerId = NO_BROKER,
    ) -> Opened:
        """Find or begin the set a request speaks of; its partitions are still to be updated.

        Nobody goes on with a session that a `follower` began but that follower.
        """
        if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            if session_id != NO_SESSION:
                self.forget(session_id)
            fetch = FetchSet(by_id=by_id)
            if follower != NO_BROKER:
                fetch.follower = follower
            if epoch == INITIAL_EPOCH:
                self._begin(fetch, now_ms)
            return Opened(fetch)
        session = self._sessions.get(session_id)
        if session is None or session.follower != follower:
            return Opened(None, ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != epoch:
            return Opened(None, ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.by_id is not by_id:
            return Opened(None, ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        session.epoch = 1 if epoch == MAX_EPOCH else epoch + 1
        session.used_ms = now_ms
        return Opened(session, full=False)

    def _begin(self, fetch: FetchSet, now_ms: int) -> None:
        """Give the set an id to come back to, unless all places are taken."""
        if len(self._sessions) >= self.slots:
            oldest = min(self._sessions.values(), key=_used_ms, default=None)
            if oldest is None or now_ms - oldest.used_ms <= EVICT_AFTER_MS:
                return
            self.forget(oldest.session_id)
        session_id = 1 + self._randomness.below(MAX_EPOCH)
        while session_id in self._sessions:
            session_id = 1 + self._randomness.below(MAX_EPOCH)
        fetch.session_id = session_id
        fetch.epoch = 1
        fetch.used_ms = now_ms
        self._sessions[session_id] = fetch

    def keep(self, fetch: FetchSet) -> bool:
        """Say whether a set that grew may go on as a session, if it is one.

        Where all sessions together want too much it is none any more, and lives
        for this request.
        """
        if fetch.session_id == NO_SESSION or self.wanted() <= MAX_WANTED:
            return True
        del self._sessions[fetch.session_id]
        fetch.session_id = NO_SESSION
        return False

    def wanted(self) -> int:
        """How many partitions all sessions want."""
        return sum(len(session.wanted) for session in self._sessions.values())

    def forget(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close()

    def forget_empty(self, fetch: FetchSet) -> None:
        """A session that wants nothing any more ends."""
        if fetch.session_id != NO_SESSION and not fetch.wanted:
            self.forget(fetch.session_id)
            fetch.session_id = NO_SESSION

    def dirty_topics(self, topics: Iterable[TopicName]) -> None:
        """Topics came, went or changed: sessions that want them look again.

        Followers that wait are answered: they may have more to ask for now.
        """
        names = frozenset(topics)
        for session in self._sessions.values():
            for wanted in session.wanted.values():
                if wanted.topic in names or wanted.topic == "":
                    session.dirty[wanted] = None
                    if session.follower >= 0:
                        session.reshaped[wanted] = None
            if session.follower >= 0 and session.on_news is not None:
                session.on_news(MAX_EPOCH)


def _turn(wanted: Wanted) -> int:
    return wanted.turn


def _used_ms(session: FetchSet) -> int:
    return session.used_ms
