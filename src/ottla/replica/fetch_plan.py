"""What a follower asks one leader for, and what it makes of the answers (no I/O but its logs').

One Fetch is in flight at a time, in a session (KIP-227): a request names only what is different
from the one before, so a quiet partition costs nothing. A fetch offset says "I hold everything
below", so it is the log's end, and where acknowledged means flushed, only once that is on disk.

A row of an answer is used only if the partition still stands where it stood when the request
was made: the same leader epoch, the same end of the log. A partition that was refused, or could
not be written, rests for a while, outside of the session; so one in trouble stops no other.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, Offset, PartitionId, Uuid
from ottla.record.checksum import Buffer
from ottla.replica import following
from ottla.replica.partition import Partition
from ottla.wire.generated.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
    ReplicaState,
)

log = logging.getLogger("ottla.replica")

NO_SESSION = 0
BEGIN = 0
MAX_EPOCH = 2**31 - 1
FIRST_REST_MS = 20
"""After a refusal; twice as long after each further one, up to `replica.fetch.backoff.ms`."""

NOT_YET = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
)
"""One of the two has not heard of the newest image yet: nothing to write home about."""

SESSION_IS_GONE = frozenset(
    {
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
    }
)

Key = tuple[Uuid, PartitionId]


class FetchSettings(Protocol):
    """The broker's settings that a follower obeys."""

    replica_fetch_backoff_ms: int
    replica_fetch_max_bytes: int
    replica_fetch_min_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_wait_max_ms: int


class Throttle(Protocol):
    """How fast replicas that are being moved may be copied."""

    def allows(self, partition: Partition, /) -> bool:
        """Whether more may be fetched of it now."""

    def took(self, partition: Partition, size: int, /) -> None:
        """So many bytes of it came."""


class Followed:
    """One partition that is fetched, and where it stood when it was asked for last."""

    __slots__ = (
        "leader_start",
        "partition",
        "refusals",
        "rests",
        "sent_end",
        "sent_epoch",
        "sent_start",
        "told",
    )

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.sent_epoch: LeaderEpoch = -1
        self.sent_end: Offset = -1
        """-1: it was not asked for, or what comes is not wanted any more."""
        self.sent_start: Offset = -1
        self.leader_start: Offset = 0
        self.refusals = 0
        self.rests = False
        self.told = ""
        """Why it is not copied, as the log has it last."""

    @property
    def key(self) -> Key:
        return self.partition.topic_id, self.partition.partition

    @property
    def stands(self) -> bool:
        """Whether an answer to what was sent can still be used."""
        partition = self.partition
        return (
            self.sent_epoch == partition.leader_epoch
            and self.sent_end == partition.log.log_end_offset
            and not partition.is_leader
        )


class FetchPlan:
    """The partitions fetched from one leader, and the session with it."""

    def __init__(
        self,
        broker_id: BrokerId,
        *,
        now_ms: Callable[[], int],
        rest: Callable[[Followed, int], None],
        failed: Callable[[Partition, BaseException], None],
        throttle: Throttle | None = None,
    ) -> None:
        """`now_ms` reads the domain clock.

        `rest` is to call `rested` after so many milliseconds; `failed` hears of a partition
        whose log directory is offline now, which is fetched no more.
        """
        self.followed: dict[Key, Followed] = {}
        self.changed: dict[Followed, None] = {}
        """What the next request must name."""
        self.lost: dict[Followed, None] = {}
        """Whose offset the leader does not have."""
        self.resting = 0
        self._broker_id = broker_id
        self._now_ms = now_ms
        self._rest = rest
        self._failed = failed
        self._throttle = throttle
        self._in_session: set[Key] = set()
        self._forgotten: dict[Key, None] = {}
        self._session_id = NO_SESSION
        self._session_epoch = BEGIN
        self._broker_epoch = -1

    @property
    def is_idle(self) -> bool:
        """Nothing is to be fetched now."""
        return len(self.followed) == self.resting

    # Which partitions

    def add(self, partition: Partition) -> None:
        """Fetch it, or look again: its leader epoch may be another."""
        key = partition.topic_id, partition.partition
        followed = self.followed.get(key)
        if followed is None or followed.partition is not partition:
            self.remove(key)
            followed = self.followed[key] = Followed(partition)
            self.changed[followed] = None
        elif followed.rests:
            if followed.sent_epoch != partition.leader_epoch:
                self.rested(followed)
        elif followed.sent_epoch != partition.leader_epoch:
            self.changed[followed] = None

    def remove(self, key: Key) -> None:
        """Fetch it no more."""
        followed = self.followed.pop(key, None)
        if followed is None:
            return
        self.resting -= followed.rests
        followed.rests = False
        self._leave(followed)

    def _leave(self, followed: Followed) -> None:
        """It is not part of the session any more."""
        followed.sent_end = -1
        self.changed.pop(followed, None)
        self.lost.pop(followed, None)
        if followed.key in self._in_session:
            self._forgotten[followed.key] = None

    def let_rest(self, followed: Followed, longest_ms: int) -> None:
        """Leave it alone for a while, longer each time."""
        if followed.rests:
            return
        self._leave(followed)
        followed.rests = True
        self.resting += 1
        delay_ms = min(longest_ms, FIRST_REST_MS << min(followed.refusals, 16))
        followed.refusals += 1
        self._rest(followed, delay_ms)

    def rested(self, followed: Followed) -> None:
        """Fetch it again, unless it is not wanted any more."""
        if followed.rests and self.followed.get(followed.key) is followed:
            followed.rests = False
            self.resting -= 1
            self.changed[followed] = None

    def begin_anew(self) -> None:
        """The session is gone, or what it knows is not known: the next request names everything."""
        self._session_id = NO_SESSION
        self._session_epoch = BEGIN
        self._in_session.clear()
        self._forgotten.clear()
        for followed in self.followed.values():
            followed.sent_end = -1
            if not followed.rests:
                self.changed[followed] = None

    # Asking

    def ask_as(self, broker_epoch: int) -> None:
        """The next request is of this incarnation; before `unflushed` and `request`.

        What an earlier one said of quiet partitions does not count for this one (KIP-903).
        """
        if broker_epoch != self._broker_epoch:
            self._broker_epoch = broker_epoch
            self.begin_anew()

    def unflushed(self) -> list[Followed]:
        """Those whose end may not be told before it is on disk; who is not followed is let go."""
        for followed in list(self.changed):
            partition = followed.partition
            if partition.leader == NO_BROKER or not partition.log.directory.is_online:
                self.remove(followed.key)
        return [
            followed
            for followed in self.changed
            if followed.partition.counted_end < followed.partition.log.log_end_offset
        ]

    def request(self, settings: FetchSettings) -> FetchRequest:
        """The next request; nothing of it is unflushed."""
        topics: dict[Uuid, FetchTopic] = {}
        throttle = self._throttle
        for followed in list(self.changed):
            partition = followed.partition
            if throttle is not None and not throttle.allows(partition):
                self.let_rest(followed, settings.replica_fetch_backoff_ms)
                continue
            topic = topics.get(partition.topic_id)
            if topic is None:
                topic = topics[partition.topic_id] = FetchTopic(
                    topic=partition.topic, topic_id=partition.topic_id
                )
            topic.partitions.append(self._row(followed, settings.replica_fetch_max_bytes))
        self.changed.clear()
        forgotten: dict[Uuid, ForgottenTopic] = {}
        for topic_id, number in self._forgotten:
            forgotten.setdefault(topic_id, ForgottenTopic(topic_id=topic_id)).partitions.append(
                number
            )
        self._in_session.difference_update(self._forgotten)
        self._forgotten.clear()
        return FetchRequest(
            replica_state=ReplicaState(
                replica_id=self._broker_id, replica_epoch=self._broker_epoch
            ),
            max_wait_ms=settings.replica_fetch_wait_max_ms,
            min_bytes=settings.replica_fetch_min_bytes,
            max_bytes=settings.replica_fetch_response_max_bytes,
            session_id=self._session_id,
            session_epoch=self._session_epoch,
            topics=list(topics.values()),
            forgotten_topics_data=list(forgotten.values()),
        )

    def _row(self, followed: Followed, max_bytes: int) -> FetchPartition:
        partition = followed.partition
        log_of = partition.log
        followed.sent_epoch = partition.leader_epoch
        followed.sent_end = log_of.log_end_offset
        followed.sent_start = log_of.log_start_offset
        self._in_session.add(followed.key)
        self._forgotten.pop(followed.key, None)
        return FetchPartition(
            partition=partition.partition,
            current_leader_epoch=partition.leader_epoch,
            fetch_offset=log_of.log_end_offset,
            last_fetched_epoch=log_of.latest_epoch,
            log_start_offset=log_of.log_start_offset,
            partition_max_bytes=max_bytes,
            high_watermark=partition.leader_high_watermark,
        )

    # Answers

    def take(self, response: FetchResponse, backoff_ms: int) -> Iterable[int]:
        """Use an answer, a row a step; yields the bytes of each row.

        Raises:
            ApiError: the leader refused the whole request.
        """
        code = ErrorCode(response.error_code)
        if code is not ErrorCode.NONE:
            self.begin_anew()
            if code in SESSION_IS_GONE:
                return
            raise ApiError(code)
        if response.session_id == NO_SESSION:
            self.begin_anew_after(response)
        else:
            self._session_id = response.session_id
            self._session_epoch = 1 if self._session_epoch == MAX_EPOCH else self._session_epoch + 1
        for topic in response.responses:
            for row in topic.partitions:
                followed = self.followed.get((topic.topic_id, row.partition_index))
                if followed is not None and not followed.rests:
                    self._take_row(followed, row, backoff_ms)
                    yield len(row.records or b"")

    def begin_anew_after(self, response: FetchResponse) -> None:
        """The leader has no room for a session: what it answered counts, and then all is asked for."""
        sent = {followed: followed.sent_end for followed in self.followed.values()}
        self.begin_anew()
        for followed, end in sent.items():
            followed.sent_end = end

    def _take_row(self, followed: Followed, row: PartitionData, backoff_ms: int) -> None:
        partition = followed.partition
        if not followed.stands:
            # Something else happened meanwhile, and the next request says what.
            self.changed[followed] = None
            return
        code = ErrorCode(row.error_code)
        try:
            if code is ErrorCode.OFFSET_OUT_OF_RANGE:
                self._leave(followed)
                self.lost[followed] = None
            elif code is not ErrorCode.NONE:
                self._refused(followed, code, backoff_ms)
            elif row.diverging_epoch is not None:
                self._cut(followed, row, backoff_ms)
            else:
                self._append(followed, row, backoff_ms)
        except ApiError as error:
            self._say(followed, str(error), known=error.code is ErrorCode.KAFKA_STORAGE_ERROR)
            self.let_rest(followed, backoff_ms)
        except StorageError as error:
            self.remove(followed.key)
            self._failed(partition, error)

    def _refused(self, followed: Followed, code: ErrorCode, backoff_ms: int) -> None:
        self._say(followed, f"its leader said {code.name}", known=code in NOT_YET)
        self.let_rest(followed, backoff_ms)

    def _say(self, followed: Followed, why: str, *, known: bool = False) -> None:
        """Tell why a partition is not copied, when that begins or changes.

        Not where it is `known`: one of two brokers has not heard of the newest image yet, or the
        log directory has told of the disk.
        """
        if followed.told != why and not known:
            followed.told = why
            log.warning("%s is not copied: %s", followed.partition.name, why)

    def _cut(self, followed: Followed, row: PartitionData, backoff_ms: int) -> None:
        partition = followed.partition
        parting = row.diverging_epoch
        assert parting is not None
        point = following.truncation_point(partition, parting.epoch, parting.end_offset)
        if following.truncate(partition, point, self._now_ms()):
            self.changed[followed] = None
        else:
            self._say(
                followed, f"its leader parts from it at {parting.end_offset}, and it ends there"
            )
            self.let_rest(followed, backoff_ms)

    def _append(self, followed: Followed, row: PartitionData, backoff_ms: int) -> None:
        partition, records = followed.partition, row.records
        followed.leader_start = row.log_start_offset
        if records:
            if _begins_within(records, partition.log.log_end_offset, row.log_start_offset):
                following.start_over(partition, partition.log.log_end_offset, self._now_ms())
            following.append(partition, records, self._now_ms())
            if self._throttle is not None:
                self._throttle.took(partition, len(records))
        self.learn(followed, row.high_watermark)
        if partition.log.log_end_offset != followed.sent_end:
            followed.refusals = 0
            if followed.told:
                followed.told = ""
                log.info("%s is copied again", partition.name)
            self.changed[followed] = None
        elif records:
            log.debug("%s: nothing of %d bytes can be used", partition.name, len(records))
            self.let_rest(followed, backoff_ms)

    def learn(self, followed: Followed, high_watermark: Offset) -> None:
        """Take over what is committed and where the log begins; after a flush, too."""
        partition = followed.partition
        following.learn(partition, high_watermark, followed.leader_start)
        if partition.log.log_start_offset != followed.sent_start:
            self.changed[followed] = None

    # An offset that the leader does not have

    def place(
        self,
        followed: Followed,
        epoch: LeaderEpoch,
        leader_start: Offset,
        leader_end: Offset,
        backoff_ms: int,
    ) -> None:
        """Go where the leader's log is, which is there in `epoch`, and fetch again."""
        partition = followed.partition
        self.lost.pop(followed, None)
        if self.followed.get(followed.key) is not followed or followed.rests:
            return
        self.changed[followed] = None
        if partition.leader_epoch != epoch or partition.is_leader:
            return
        log_of = partition.log
        end = log_of.log_end_offset
        try:
            if end < leader_start or (end > leader_end and leader_end <= log_of.log_start_offset):
                following.start_over(partition, leader_start, self._now_ms())
            elif end > leader_end:
                following.truncate(partition, leader_end, self._now_ms())
            else:
                self.let_rest(followed, backoff_ms)
        except StorageError as error:
            self.remove(followed.key)
            self._failed(partition, error)


def _begins_within(records: Buffer, end: Offset, leader_start: Offset) -> bool:
    """Whether the leader's log begins here, where ours ends, and within a batch.

    That batch can be appended to an empty log only; all we have lies below the leader's start.
    """
    base_offset = int.from_bytes(records[:8], "big", signed=True)
    return base_offset < end <= leader_start
