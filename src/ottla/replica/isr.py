"""Which followers belong into an ISR (pure).

A member leaves when it has not been caught up for `replica.lag.time.max.ms`; so does one that
does not fetch. Another joins when it holds all that is committed, and all that was there when
this leader began: an earlier leader may have told more than this one knows to be committed.
"""

from ottla.model.ids import BrokerId, Offset
from ottla.replica.leadership import FollowerState, Leadership


def laggards(
    leadership: Leadership, *, leader_end: Offset, now_ms: int, lag_max_ms: int
) -> set[BrokerId]:
    """The members that are to leave.

    Whoever holds everything is caught up now, though nothing was there for it to fetch.
    """
    state = leadership.state
    out = set()
    for follower in leadership.followers.values():
        if follower.end_offset == leader_end:
            follower.caught_up_ms = max(follower.caught_up_ms, now_ms)
        elif follower.broker_id in state.isr and now_ms - follower.caught_up_ms > lag_max_ms:
            out.add(follower.broker_id)
    return out


def has_caught_up(follower: FollowerState, *, high_watermark: Offset, epoch_start: Offset) -> bool:
    """Whether it holds enough to join."""
    return follower.end_offset >= high_watermark and follower.end_offset >= epoch_start


def joiners(
    leadership: Leadership, *, high_watermark: Offset, epoch_start: Offset
) -> list[FollowerState]:
    """Those who hold enough to be taken in."""
    return [
        follower
        for follower in leadership.followers.values()
        if follower.broker_id not in leadership.state.isr
        and has_caught_up(follower, high_watermark=high_watermark, epoch_start=epoch_start)
    ]
