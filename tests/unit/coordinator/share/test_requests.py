"""What a heartbeat must say, and what is told of a group."""

import pytest
from tests.support.share_world import GROUP, ShareWorld, play, topic_id

from ottla.coordinator.share.requests import check_heartbeat
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.share_group_heartbeat import ShareGroupHeartbeatRequest


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"group_id": " "}, "GroupId can't be empty."),
        ({"member_id": ""}, None),
        ({"rack_id": ""}, "RackId can't be empty."),
        ({"subscribed_topic_names": None}, "SubscribedTopicNames must be set in first request."),
        ({"member_epoch": -2}, "MemberEpoch is invalid."),
    ],
)
def test_a_heartbeat_no_member_sends_is_refused(wrong: dict[str, object], words: str) -> None:
    right = {"group_id": "g", "member_id": "m", "member_epoch": 0, "subscribed_topic_names": ["t"]}
    check_heartbeat(ShareGroupHeartbeatRequest(**right))  # type: ignore[arg-type]
    with pytest.raises(ApiError) as refused:
        check_heartbeat(ShareGroupHeartbeatRequest(**{**right, **wrong}))  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.message) == (ErrorCode.INVALID_REQUEST, words)


def test_only_who_joins_makes_a_group() -> None:
    async def scenario(world: ShareWorld) -> None:
        for epoch in (1, -1):
            with pytest.raises(ApiError) as absent:
                await world.beat("a", "t", epoch=epoch)
            assert absent.value.code is ErrorCode.GROUP_ID_NOT_FOUND
        await world.beat("a", "t")
        assert world.group.epoch == 3  # one for the member, one for the partitions' state

    play(scenario)


def test_a_group_whose_first_write_was_refused_is_not_there() -> None:
    async def scenario(world: ShareWorld) -> None:
        world.group_port.refuse = ApiError(ErrorCode.NOT_COORDINATOR)
        with pytest.raises(ApiError) as refused:
            await world.beat("a", "t")
        assert refused.value.code is ErrorCode.NOT_COORDINATOR
        assert world.shares.groups.group(GROUP) is None

    play(scenario)


def test_a_group_is_described_with_its_members() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t", rack_id="r")
        found, absent = await world.shares.groups.describe([GROUP, "none"])
        assert (found.group_state, found.assignor_name, found.assignment_epoch) == (
            "Stable",
            "simple",
            world.group.epoch,
        )
        (member,) = found.members
        assert (member.member_id, member.rack_id, member.client_id) == ("a", "r", "a")
        (row,) = member.assignment.topic_partitions
        assert (row.topic_id, row.topic_name, row.partitions) == (topic_id(), "t", [0, 1])
        assert absent.error_code == ErrorCode.GROUP_ID_NOT_FOUND

    play(scenario)
