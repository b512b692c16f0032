"""Share sessions: what a member of a share group fetches from this broker. Pure.

A session begins with a fetch of epoch 0, goes on with 1, 2, ... (after 2^31 - 1
comes 1), and ends with epoch -1, with its connection, or when the member
begins another. One member has one session.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, Uuid

FIRST_EPOCH = 0
LAST_EPOCH = -1
_MAX_EPOCH = 2**31 - 1

MAX_PARTS = 500_000
"""Partitions in all share sessions of a broker: about 100 bytes each."""

Part = tuple[Uuid, PartitionId]


class SessionKey(NamedTuple):
    group_id: str
    member_id: str


class ShareSession:
    """Partitions in the order in which they are served: those served go to the end."""

    __slots__ = ("connection_id", "epoch", "is_over", "key", "parts", "touched", "wake")

    def __init__(self, key: SessionKey, connection_id: int) -> None:
        self.key = key
        self.connection_id = connection_id
        self.epoch = 1
        self.parts: dict[Part, None] = {}
        self.touched: dict[Part, None] = {}
        """Partitions fetched from since the session began, whose records may be held."""
        self.is_over = False
        self.wake: Callable[[], object] | None = None
        """Tells the fetch that waits in this session to look again."""

    def serve_last(self, part: Part) -> None:
        if part in self.parts:
            del self.parts[part]
            self.parts[part] = None


class ShareSessions:
    """The sessions of a broker, at most so many."""

    def __init__(self) -> None:
        self._sessions: dict[SessionKey, ShareSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, key: SessionKey, connection_id: int, most: int) -> ShareSession:
        """A new session, in place of the member's old one if it has one.

        Raises:
            ApiError: SHARE_SESSION_LIMIT_REACHED.
        """
        if key not in self._sessions and len(self._sessions) >= most:
            raise ApiError(ErrorCode.SHARE_SESSION_LIMIT_REACHED)
        old = self._sessions.pop(key, None)
        session = self._sessions[key] = ShareSession(key, connection_id)
        if old is not None:
            _finish(old)
            session.touched.update(old.touched)
        return session

    def update(
        self, session: ShareSession, added: Iterable[Part], forgotten: Iterable[Part]
    ) -> None:
        """Change what the session fetches.

        Raises:
            ApiError: SHARE_SESSION_LIMIT_REACHED, all sessions together have too many partitions.
        """
        new = [part for part in added if part not in session.parts]
        if new and len(new) + sum(len(each.parts) for each in self._sessions.values()) > MAX_PARTS:
            raise ApiError(ErrorCode.SHARE_SESSION_LIMIT_REACHED)
        for part in new:
            session.parts[part] = None
        for part in forgotten:
            session.parts.pop(part, None)

    def go_on(self, key: SessionKey, epoch: int) -> ShareSession:
        """The session, for its next request or (epoch -1) its last.

        Raises:
            ApiError: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH.
        """
        session = self._sessions.get(key)
        if session is None:
            raise ApiError(ErrorCode.SHARE_SESSION_NOT_FOUND)
        if epoch == LAST_EPOCH:
            return session
        if epoch != session.epoch:
            raise ApiError(ErrorCode.INVALID_SHARE_SESSION_EPOCH)
        session.epoch = 1 if epoch == _MAX_EPOCH else epoch + 1
        return session

    def end(self, session: ShareSession) -> bool:
        """Forget a session; False if it had ended before."""
        if session.is_over:
            return False
        _finish(session)
        del self._sessions[session.key]
        return True

    def of_member(self, group_id: str, member_id: str) -> ShareSession | None:
        return self._sessions.get(SessionKey(group_id, member_id))


def _finish(session: ShareSession) -> None:
    session.is_over = True
    session.parts.clear()  # somebody may hold the session until its connection is closed
    if session.wake is not None:
        session.wake()
