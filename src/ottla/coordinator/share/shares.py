"""Everything about share groups on one broker, as handlers see it."""

import logging

from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.share.coordinator import ShareCoordinator
from ottla.coordinator.share.groups import ShareGroups
from ottla.coordinator.share.partitions import SharePartitions
from ottla.coordinator.share.persister import Persister
from ottla.coordinator.share.sessions import SessionKey, ShareSession, ShareSessions
from ottla.coordinator.share.turns import together
from ottla.model.clock import Clock
from ottla.model.errors import ApiError

log = logging.getLogger(__name__)


class Shares:
    """The durable state, the groups, the partitions in flight, and the sessions."""

    def __init__(
        self,
        groups: GroupCoordinator,
        state: ShareCoordinator,
        clock: Clock,
        persister: Persister | None = None,
    ) -> None:
        """`state` is what this broker keeps, `persister` the way to what any broker does.

        Without one, nobody else keeps anything.
        """
        self.state = state
        self.persister: Persister = state if persister is None else persister
        self._others_write = persister is not None
        self.groups = ShareGroups(groups, self.persister)
        self.partitions = SharePartitions(self.persister, groups.surroundings, clock)
        self.sessions = ShareSessions()
        self.surroundings = groups.surroundings
        groups.before_delete = self._before_delete
        groups.surroundings.share_member_expired = self._member_expired

    def begin_session(self, key: SessionKey, connection_id: int) -> ShareSession:
        """A new session of a member; what it held in an old one is free. Raises ApiError."""
        most = self.surroundings.number("group.share.max.share.sessions")
        session = self.sessions.begin(key, connection_id, most)
        self._release(session)
        return session

    async def look_again(self, group_id: str) -> None:
        """Let go of what is not so any more, where that is decided elsewhere.

        Offsets are altered, and groups deleted, only while they have no members: whoever comes
        then has a new session with each leader, and that is when the leader looks.
        """
        if self._others_write:
            found = self.partitions.of_group(group_id)
            for error in await together(partition.look_again() for partition in found):
                if error is not None:
                    log.info("share group %s: %s", group_id, error)

    def end_session(self, session: ShareSession) -> None:
        """The session is over: what its member holds is free."""
        if self.sessions.end(session):
            self._release(session)

    def _member_expired(self, group_id: str, member_id: str) -> None:
        """Nothing was heard of it. (One that leaves may still end its session.)"""
        session = self.sessions.of_member(group_id, member_id)
        if session is not None:
            self.end_session(session)

    async def _before_delete(self, group_id: str) -> ApiError | None:
        """A group is about to be deleted: so is what is stored of its partitions, or neither is."""
        group = self.groups.group(group_id)
        if group is None or not group.is_empty:
            return None
        try:
            known = await self.groups.topics_known(group_id)
            await self.groups.delete_state(group_id, known)
            self.partitions.forget(group_id)
        except ApiError as error:
            log.warning("the state of share group %s is not deleted: %s", group_id, error)
            return error
        return None

    def _release(self, session: ShareSession) -> None:
        group_id, member_id = session.key
        for topic_id, number in session.touched:
            partition = self.partitions.peek(group_id, topic_id, number)
            if partition is not None:
                partition.release_soon(member_id)
        session.touched.clear()
