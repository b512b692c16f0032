"""Share groups as handlers see them: the group's shard and the share coordinator together.

A partition must have state before it is assigned. Kafka answers the first
heartbeat without partitions and hands them out with the next, a heartbeat
interval later; here the state is written first, and the first answer has them.
"""

import logging
from collections.abc import Iterable, Sequence
from itertools import islice

from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.share import requests
from ottla.coordinator.share.group import ShareGroup
from ottla.coordinator.share.group_records import Topics
from ottla.coordinator.share.persister import Persister
from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.shard import UNINITIALIZED
from ottla.coordinator.share.turns import Turns, together
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Offset, PartitionId, Uuid
from ottla.wire.generated.share_group_describe import DescribedGroup
from ottla.wire.generated.share_group_heartbeat import (
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)

INITIALIZED_AT_ONCE = 500
"""Partitions that get their state with one heartbeat; the next goes on."""

log = logging.getLogger("ottla.share")


class ShareGroups:
    """What is asked about whole share groups."""

    def __init__(self, groups: GroupCoordinator, state: Persister) -> None:
        self._groups = groups
        self.state = state
        self._beginning = Turns()
        """Who came second would begin anew what the first one's members have acknowledged."""

    async def heartbeat(
        self, request: ShareGroupHeartbeatRequest, caller: Caller
    ) -> ShareGroupHeartbeatResponse:
        """Answer one heartbeat. Raises ApiError."""
        requests.check_heartbeat(request)
        response = await self._heartbeat(request, caller)
        if request.member_epoch < 0:
            return response
        group_id = request.group_id
        missing = await self._groups.look(
            group_id, lambda shard: requests.share_group(shard, group_id).without_state()
        )
        if not missing:
            return response
        try:
            await self._initialize(group_id)
        except ApiError as error:
            log.info("share group %s: partitions are not initialized: %s", group_id, error)
            return response  # the next heartbeat tries again
        request.member_epoch = response.member_epoch
        request.subscribed_topic_names = None
        again = await self._heartbeat(request, caller)
        if again.assignment is None:
            again.assignment = response.assignment
        return again

    async def _heartbeat(
        self, request: ShareGroupHeartbeatRequest, caller: Caller
    ) -> ShareGroupHeartbeatResponse:
        response: ShareGroupHeartbeatResponse = await self._groups.decide(
            request.group_id,
            lambda shard, waiter, now_ms: requests.heartbeat(
                shard, request, caller, waiter, now_ms
            ),
        )
        return response

    async def _initialize(self, group_id: str) -> None:
        """Give state to partitions that have none; where consumers begin is found out later."""
        async with self._beginning.of(group_id):
            epoch, missing = await self._groups.decide(
                group_id,
                lambda shard, waiter, now_ms: requests.begin_initializing(shard, group_id, waiter),
            )
            begun = list(islice(_each(missing), INITIALIZED_AT_ONCE))
            errors = await together(
                self.state.initialize(ShareKey(group_id, topic_id, number), epoch, UNINITIALIZED)
                for topic_id, _, number in begun
            )
            await self._initialized(group_id, begun, errors)
            for error in errors:
                if error is not None:
                    raise error

    async def _initialized(
        self, group_id: str, begun: "list[_Part]", errors: list[ApiError | None]
    ) -> None:
        """Take down which partitions have state by now: those without an error."""
        done: Topics = {}
        for (topic_id, name, number), error in zip(begun, errors, strict=True):
            if error is None:
                done[topic_id] = (name, (*done.get(topic_id, (name, ()))[1], number))
        if done:
            await self._groups.decide(
                group_id,
                lambda shard, waiter, now_ms: requests.state_initialized(
                    shard, group_id, done, waiter
                ),
            )

    async def describe(self, group_ids: Sequence[str]) -> list[DescribedGroup]:
        """One description for each id, in this order."""
        described = []
        for group_id in group_ids:
            try:
                described.append(
                    await self._groups.look(
                        group_id,
                        lambda shard, group_id=group_id: requests.describe(shard, group_id),  # type: ignore[misc]
                    )
                )
            except ApiError as error:
                described.append(
                    DescribedGroup(
                        group_id=group_id, error_code=error.code, error_message=error.message
                    )
                )
        return described

    def group(self, group_id: str) -> ShareGroup | None:
        """The group as it is now, without waiting for anything."""
        group = self._groups.peek_any(group_id)
        return group if isinstance(group, ShareGroup) else None

    def is_member(self, group_id: str, member_id: str) -> bool:
        group = self.group(group_id)
        return group is not None and member_id in group.members

    # Offsets

    async def topics_with_state(self, group_id: str) -> Topics:
        """Which partitions the group has state for. Raises ApiError."""
        return await self._groups.look(
            group_id, lambda shard: dict(requests.share_group(shard, group_id).initialized)
        )

    async def topics_known(self, group_id: str) -> set[Uuid]:
        """Topics that the group has state for, or may have. Raises ApiError."""
        known, begun = await self._groups.look(group_id, lambda shard: _state_of(shard, group_id))
        return {*known, *begun}

    async def check_empty(self, group_id: str, *, must_exist: bool = True) -> None:
        """Raises ApiError: INVALID_GROUP_ID, NON_EMPTY_GROUP, or GROUP_ID_NOT_FOUND."""
        if not group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID, "The group id is invalid.")
        is_empty = await self._groups.look(
            group_id,
            lambda shard: (
                (not must_exist and group_id not in shard.groups)
                or requests.share_group(shard, group_id).is_empty
            ),
        )
        if not is_empty:
            raise ApiError(ErrorCode.NON_EMPTY_GROUP, "The group is not empty.")

    async def alter(
        self, group_id: str, offsets: Iterable[tuple[Uuid, str, PartitionId, Offset]]
    ) -> list[ErrorCode]:
        """Begin anew at these offsets, an answer for each; a group that is not there is made."""
        offsets = list(offsets)
        if not offsets:
            return []
        wanted: Topics = {}
        for topic_id, name, number, _ in offsets:
            wanted[topic_id] = (name, (*wanted.get(topic_id, (name, ()))[1], number))
        async with self._beginning.of(group_id):
            epoch = await self._groups.decide(
                group_id,
                lambda shard, waiter, now_ms: requests.begin_altering(
                    shard, group_id, wanted, waiter
                ),
            )
            errors = await together(
                self.state.initialize(ShareKey(group_id, topic_id, number), epoch, offset)
                for topic_id, _, number, offset in offsets
            )
            await self._initialized(group_id, [each[:3] for each in offsets], errors)
        return [ErrorCode.NONE if error is None else error.code for error in errors]

    async def delete_state(self, group_id: str, topic_ids: Iterable[Uuid]) -> None:
        """Forget everything about these topics. Raises ApiError."""
        topics = set(topic_ids)
        known, begun = await self._groups.look(group_id, lambda shard: _state_of(shard, group_id))
        parts = dict.fromkeys(
            (topic_id, number)
            for topic_id, _, number in (*_each(known), *_each(begun))
            if topic_id in topics
        )
        if parts:
            await self._groups.decide(
                group_id,
                lambda shard, waiter, now_ms: requests.begin_deleting(
                    shard, group_id, topics, waiter
                ),
            )
        errors = await together(self.state.delete(ShareKey(group_id, *part)) for part in parts)
        for error in errors:
            if error is not None:
                raise error
        await self._groups.decide(
            group_id,
            lambda shard, waiter, now_ms: requests.state_deleted(shard, group_id, topics, waiter),
        )


def _state_of(shard: GroupShard, group_id: str) -> tuple[Topics, Topics]:
    """Partitions that have state, and those that may have it: it was not said any more."""
    group = requests.share_group(shard, group_id)
    return dict(group.initialized), dict(group.initializing)


_Part = tuple[Uuid, str, PartitionId]


def _each(topics: Topics) -> Iterable[_Part]:
    for topic_id, (name, numbers) in topics.items():
        for number in numbers:
            yield topic_id, name, number
