"""Share sessions begin, go on and end."""

import pytest

from ottla.coordinator.share.sessions import SessionKey, ShareSessions
from ottla.model.errors import ApiError, ErrorCode

KEY = SessionKey("g", "m")


def test_epochs_count_and_wrap_to_one() -> None:
    sessions = ShareSessions()
    session = sessions.begin(KEY, 1, 10)
    assert sessions.go_on(KEY, 1) is session
    with pytest.raises(ApiError) as wrong:
        sessions.go_on(KEY, 1)
    assert wrong.value.code is ErrorCode.INVALID_SHARE_SESSION_EPOCH
    session.epoch = 2**31 - 1
    sessions.go_on(KEY, 2**31 - 1)
    assert session.epoch == 1


def test_a_new_session_takes_the_place_of_the_old_one() -> None:
    sessions = ShareSessions()
    woken = []
    old = sessions.begin(KEY, 1, 1)
    old.wake = lambda: woken.append(1)
    sessions.begin(KEY, 2, 1)
    assert (old.is_over, woken, len(sessions)) == (True, [1], 1)
    assert not sessions.end(old)
    assert len(sessions) == 1


def test_there_are_no_more_than_so_many() -> None:
    sessions = ShareSessions()
    sessions.begin(KEY, 1, 1)
    with pytest.raises(ApiError) as full:
        sessions.begin(SessionKey("g", "n"), 1, 1)
    assert full.value.code is ErrorCode.SHARE_SESSION_LIMIT_REACHED


def test_what_has_ended_is_not_found() -> None:
    sessions = ShareSessions()
    assert sessions.end(sessions.begin(KEY, 1, 1))
    with pytest.raises(ApiError) as gone:
        sessions.go_on(KEY, -1)
    assert gone.value.code is ErrorCode.SHARE_SESSION_NOT_FOUND
