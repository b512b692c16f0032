from ottla.model.errors import ApiError, ErrorCode
from ottla.replica.waiting import OffsetWaits


def test_waits_are_told_in_the_order_of_their_offsets_then_of_their_coming() -> None:
    told: list[str] = []
    waits = OffsetWaits()
    waits.add(5, lambda error: told.append("five"))
    waits.add(3, lambda error: told.append("three"))
    waits.add(3, lambda error: told.append("three too"))
    waits.add(9, lambda error: told.append("nine"))
    waits.committed(5)
    assert told == ["three", "three too", "five"]
    assert len(waits) == 1


def test_a_failure_reaches_everyone_once() -> None:
    told: list[ApiError | None] = []
    waits = OffsetWaits()
    waits.add(5, told.append)
    waits.add(1, told.append)
    error = ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    waits.fail(error)
    waits.committed(100)
    assert told == [error, error]
