"""Which replica a consumer should read from, if not from the leader (KIP-392; pure)."""

from collections.abc import Callable

from ottla.model.ids import NO_BROKER, BrokerId, Offset
from ottla.replica.leadership import Leadership


def nearest(
    leadership: Leadership, offset: Offset, is_near: Callable[[BrokerId], bool]
) -> BrokerId:
    """The follower to read `offset` from, or -1: the leader is as near as any.

    Only those in sync count that have the offset; the one that is furthest, else the one that
    caught up last.
    """
    if is_near(leadership.me):
        return NO_BROKER
    near = [
        follower
        for broker, follower in leadership.followers.items()
        if broker in leadership.state.isr
        and follower.log_start_offset <= offset <= follower.end_offset
        and is_near(broker)
    ]
    if not near:
        return NO_BROKER
    best = max(near, key=lambda each: (each.end_offset, each.caught_up_ms, each.broker_id))
    return best.broker_id
