"""What a follower asks for, and what it makes of the answers."""

import pytest
from tests.unit.replica.nodes import BACKOFF_MS, NEVER_WAIT, Node
from tests.unit.replica.parts import FLUSHED, among, append, make_partition

from ottla.model.errors import ApiError, ErrorCode
from ottla.replica.fetch_plan import FIRST_REST_MS, FetchPlan, Followed
from ottla.storage.log_config import LogConfig
from ottla.wire.generated.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)


def pair(config: LogConfig | None = None) -> tuple[Node, Node]:
    """A leader and its follower, in epoch 1."""
    leader, follower = Node(1, config), Node(2, config)
    nodes = {1: leader, 2: follower}
    for node in nodes.values():
        node.know(nodes)
        node.learn(among(1, replicas=(1, 2)))
    return leader, follower


def named(request: FetchRequest) -> list[tuple[int, int, int]]:
    """(offset, epoch, last fetched epoch) of every partition that a request names."""
    return [
        (row.fetch_offset, row.current_leader_epoch, row.last_fetched_epoch)
        for topic in request.topics
        for row in topic.partitions
    ]


def forgotten(request: FetchRequest) -> list[int]:
    return [number for topic in request.forgotten_topics_data for number in topic.partitions]


def answer_with(
    node: Node, code: ErrorCode = ErrorCode.NONE, records: bytes = b""
) -> FetchResponse:
    """An answer, in a session, with this row for the partition."""
    row = PartitionData(partition_index=0, error_code=code, records=records)
    topic = FetchableTopicResponse(topic_id=node.partition.topic_id, partitions=[row])
    return FetchResponse(session_id=9, responses=[topic])


def test_a_follower_copies_and_commits() -> None:
    leader, follower = pair()
    append(leader.partition, 3)
    follower.fetch_from(leader)
    assert follower.records() == leader.records()
    assert (leader.partition.high_watermark, follower.partition.high_watermark) == (0, 0)
    follower.fetch_from(leader)
    assert (leader.partition.high_watermark, follower.partition.high_watermark) == (3, 3)


def test_a_request_names_what_is_different() -> None:
    leader, follower = pair()
    append(leader.partition, 3)
    request = follower.ask()
    assert (named(request), request.session_id, request.session_epoch) == ([(0, 1, -1)], 0, 0)
    assert (request.replica_state.replica_id, request.replica_state.replica_epoch) == (2, 20)
    follower.take(leader.serve(request))
    request = follower.ask()
    assert (named(request), request.session_epoch) == ([(3, 1, 1)], 1)
    follower.take(leader.serve(request))
    request = follower.ask()
    assert (named(request), request.session_epoch) == ([], 2)


def test_an_answer_that_is_lost_begins_the_session_anew() -> None:
    leader, follower = pair()
    append(leader.partition, 3)
    leader.serve(follower.ask())
    follower.plan.begin_anew()
    request = follower.ask()
    assert (named(request), request.session_epoch) == ([(0, 1, -1)], 0)
    follower.take(leader.serve(request))
    assert follower.records() == leader.records()


@pytest.mark.parametrize(
    "code", [ErrorCode.FETCH_SESSION_ID_NOT_FOUND, ErrorCode.INVALID_FETCH_SESSION_EPOCH]
)
def test_a_session_that_is_gone_begins_anew(code: ErrorCode) -> None:
    leader, follower = pair()
    follower.fetch_from(leader)
    follower.ask()
    follower.take(FetchResponse(error_code=code))
    assert follower.ask().session_epoch == 0
    with pytest.raises(ApiError):
        follower.take(FetchResponse(error_code=ErrorCode.UNKNOWN_SERVER_ERROR))


def test_a_leader_without_room_for_sessions_is_asked_for_everything() -> None:
    leader, follower = pair()
    leader.broker.fetch_sessions.slots = 0
    append(leader.partition, 3)
    follower.fetch_from(leader)
    append(leader.partition, 3)
    request = follower.ask()
    assert (named(request), request.session_id, request.session_epoch) == ([(3, 1, 1)], 0, 0)
    follower.take(leader.serve(request))
    assert follower.records() == leader.records()


def test_who_has_registered_anew_says_everything_anew() -> None:
    leader, follower = pair()
    follower.fetch_from(leader)
    follower.epoch += 1
    request = follower.ask()
    assert (named(request), request.session_epoch) == ([(0, 1, -1)], 0)
    assert leader.partition.leadership is not None
    known = leader.partition.leadership.followers[2]
    follower.take(leader.serve(request))
    assert known.broker_epoch == follower.epoch - 1, "the leader does not know of it yet"
    leader.know({1: leader, 2: follower})
    follower.wake()
    follower.fetch_from(leader)
    assert known.broker_epoch == follower.epoch


def test_an_answer_from_before_another_epoch_is_not_used() -> None:
    leader, follower = pair()
    append(leader.partition, 3)
    answer = leader.serve(follower.ask())
    follower.learn(among(2, replicas=(1, 2)))
    follower.take(answer)
    assert follower.log.log_end_offset == 0
    assert named(follower.ask()) == [(0, 2, -1)]


def test_an_answer_for_another_end_is_not_used() -> None:
    leader, follower = pair()
    append(leader.partition, 2)
    follower.fetch_from(leader)
    append(leader.partition, 2)
    answer = leader.serve(follower.ask())
    follower.log.truncate_to(1, 0)
    follower.take(answer)
    assert follower.log.log_end_offset == 0, "the batch that spanned it went whole"
    assert named(follower.ask()) == [(0, 1, -1)]


def test_histories_that_part_are_cut_and_go_on() -> None:
    leader, follower = pair()
    append(leader.partition, 2)
    follower.fetch_from(leader)
    follower.learn(among(2, leader=2, replicas=(1, 2)))
    append(follower.partition, 4)
    leader.learn(among(3, replicas=(1, 2)))
    append(leader.partition, 3)
    follower.learn(among(3, replicas=(1, 2)))
    follower.fetch_from(leader)
    assert follower.log.log_end_offset == 2
    follower.fetch_from(leader)
    assert follower.records() == leader.records()
    assert list(follower.log.leader_epochs) == list(leader.log.leader_epochs)


def test_a_follower_behind_the_leaders_start_begins_anew_there() -> None:
    leader, follower = pair()
    append(leader.partition, 5)
    leader.partition.high_watermark = leader.log.high_watermark = 5
    leader.partition.advance_log_start(5)
    append(leader.partition, 2)
    follower.fetch_from(leader)
    (followed,) = follower.plan.lost
    assert named(follower.ask()) == []
    follower.plan.place(followed, 1, 5, 7, BACKOFF_MS)
    assert follower.log.log_start_offset == 5
    follower.fetch_from(leader)
    assert follower.records() == leader.records()


def test_a_follower_that_ends_where_the_leader_begins_within_a_batch_goes_on() -> None:
    leader, follower = Node(1), Node(2)
    nodes = {1: leader, 2: follower}
    for node in nodes.values():
        node.know(nodes)
    leader.learn(among(1, replicas=(1, 2)))
    append(leader.partition, 3)
    follower.learn(among(1, leader=2, replicas=(1, 2))._replace(leader_epoch=0))
    append(follower.partition, 1)
    follower.learn(among(3, replicas=(1, 2)))
    leader.learn(among(3, replicas=(1, 2)))
    leader.partition.high_watermark = leader.log.high_watermark = 3
    leader.partition.advance_log_start(1)
    leader.log.leader_epochs.truncate_from_start(1)
    for _ in range(3):
        follower.fetch_from(leader)
    assert (follower.log.log_start_offset, follower.log.log_end_offset) == (1, 3)


@pytest.mark.parametrize(("start", "end", "left"), [(0, 2, (0, 2)), (3, 3, (3, 3)), (2, 9, (0, 4))])
def test_a_follower_goes_where_its_leader_is(start: int, end: int, left: tuple[int, int]) -> None:
    _, follower = pair()
    follower.learn(among(2, leader=2, replicas=(1, 2)))
    append(follower.partition, 2)
    append(follower.partition, 2)
    if start == 3:
        follower.log.truncate_fully_and_start_at(7, 0)
    follower.learn(among(3, replicas=(1, 2)))
    (followed,) = follower.plan.followed.values()
    follower.plan.place(followed, 3, start, end, BACKOFF_MS)
    assert (follower.log.log_start_offset, follower.log.log_end_offset) == left
    assert bool(follower.resting) == (end == 9), "there was nothing to do: not at once again"


def test_where_a_leader_was_in_another_epoch_nobody_goes() -> None:
    _, follower = pair()
    (followed,) = follower.plan.followed.values()
    follower.plan.place(followed, 0, 50, 60, BACKOFF_MS)
    assert follower.log.log_end_offset == 0


def test_who_is_refused_rests_longer_each_time_and_is_out_of_the_session() -> None:
    leader, follower = pair()
    follower.fetch_from(leader)
    rests: list[int] = []
    follower.plan._rest = lambda followed, delay_ms: rests.append(delay_ms)
    (followed,) = follower.plan.followed.values()
    for _ in range(4):
        follower.plan.changed[followed] = None
        answer = leader.serve(follower.ask())
        answer.responses = answer_with(follower, ErrorCode.KAFKA_STORAGE_ERROR).responses
        follower.take(answer)
        assert follower.plan.is_idle
        request = follower.ask()
        assert (named(request), forgotten(request)) == ([], [0])
        follower.take(leader.serve(request))
        follower.plan.rested(followed)
    assert rests == [FIRST_REST_MS, 2 * FIRST_REST_MS, 4 * FIRST_REST_MS, BACKOFF_MS]


def test_who_is_not_copied_is_told_of_once_and_when_it_is_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    leader, follower = pair()
    (followed,) = follower.plan.followed.values()
    for _ in range(2):
        for code in [ErrorCode.NOT_LEADER_OR_FOLLOWER, *[ErrorCode.KAFKA_STORAGE_ERROR] * 3]:
            follower.plan.changed[followed] = None
            answer = leader.serve(follower.ask())
            answer.responses = answer_with(follower, code).responses
            follower.take(answer)
            follower.plan.rested(followed)
        append(leader.partition, 1)
        follower.fetch_from(leader)
        said = [record.getMessage() for record in caplog.records]
        assert said == [
            "t-0 is not copied: its leader said KAFKA_STORAGE_ERROR",
            "t-0 is copied again",
        ]
        caplog.clear()


def test_another_epoch_ends_a_rest() -> None:
    _, follower = pair()
    follower.ask()
    (followed,) = follower.plan.followed.values()
    follower.plan.let_rest(followed, BACKOFF_MS)
    follower.plan.add(follower.partition)
    assert follower.plan.is_idle
    follower.learn(among(2, replicas=(1, 2)))
    assert named(follower.ask()) == [(0, 2, -1)]


def test_one_partition_in_trouble_stops_no_other() -> None:
    leader, follower = pair()
    leader.broker.create("u")
    other = leader.broker.partition("u")
    other.become_leader(among(1, replicas=(1, 2)))
    follower.broker.create("u")
    copy = follower.broker.partition("u")
    copy.become_follower(among(1, replicas=(1, 2)))
    follower.plan.add(copy)
    append(leader.partition, 2)
    append(other, 3)
    follower.log.directory.go_offline("for the test")
    follower.fetch_from(leader)
    assert copy.log.log_end_offset == 3
    assert follower.log.log_end_offset == 0
    follower.fetch_from(leader)
    assert other.high_watermark == 3


def test_damaged_batches_are_not_kept_and_asked_for_again() -> None:
    leader, follower = pair()
    append(leader.partition, 2)
    answer = leader.serve(follower.ask())
    row = answer.responses[0].partitions[0]
    damaged = bytearray(row.records)
    damaged[-1] ^= 1
    row.records = bytes(damaged)
    follower.take(answer)
    assert (follower.log.log_end_offset, len(follower.resting)) == (0, 1)
    follower.fetch_from(leader)
    assert follower.records() == leader.records()


def test_batches_of_a_later_epoch_than_was_asked_in_are_not_used() -> None:
    leader, follower = pair()
    leader.learn(among(2, replicas=(1, 2)))
    append(leader.partition, 2)
    records = leader.log.read(0, 1000).records
    follower.ask()
    follower.take(answer_with(follower, records=bytes(records)))
    assert follower.log.log_end_offset == 0
    assert len(follower.resting) == 1, "else it would be asked for again at once"


def test_with_flushing_an_end_is_told_once_it_is_on_disk() -> None:
    leader, follower = pair(FLUSHED)
    append(leader.partition, 3)
    follower.fetch_from(leader)
    (followed,) = follower.plan.unflushed()
    assert followed.partition is follower.partition
    assert follower.broker.flushes[-1] is follower.partition
    follower.flush()
    assert follower.plan.unflushed() == []
    leader.flush()
    follower.fetch_from(leader)
    assert leader.partition.high_watermark == 3


def test_who_has_no_leader_any_more_is_not_waited_for() -> None:
    leader, follower = pair(FLUSHED)
    append(leader.partition, 3)
    follower.fetch_from(leader)
    follower.partition.resign()
    assert follower.plan.unflushed() == []
    assert follower.plan.followed == {}


def test_the_start_of_the_log_is_told_when_it_has_moved() -> None:
    leader, follower = pair()
    append(leader.partition, 3)
    append(leader.partition, 3)
    for _ in range(2):
        follower.fetch_from(leader)
    leader.partition.advance_log_start(3)
    follower.fetch_from(leader)
    assert follower.log.log_start_offset == 3
    request = follower.ask()
    assert [row.log_start_offset for topic in request.topics for row in topic.partitions] == [3]
    leader.serve(request)
    assert leader.partition.low_watermark({1, 2}) == 3


def test_what_is_throttled_is_left_out_and_counted() -> None:
    class Throttled:
        is_open = True
        bytes = 0

        def allows(self, partition: object) -> bool:
            return self.is_open

        def took(self, partition: object, size: int) -> None:
            self.bytes += size

    throttle = Throttled()
    rests: list[Followed] = []
    partition = make_partition(leads=False)
    partition.become_follower(among(1, leader=2))
    plan = FetchPlan(
        1,
        now_ms=lambda: 0,
        rest=lambda followed, delay_ms: rests.append(followed),
        failed=lambda partition, error: None,
        throttle=throttle,
    )
    plan.add(partition)
    throttle.is_open = False
    assert named(plan.request(NEVER_WAIT)) == []
    assert len(rests) == 1
    throttle.is_open = True
    plan.rested(rests[0])
    assert len(named(plan.request(NEVER_WAIT))) == 1


@pytest.mark.parametrize("partitions", [1, 40])
def test_a_request_costs_what_is_different(partitions: int) -> None:
    """Counted, not timed: rows in a request, whatever is followed."""
    leader, follower = pair()
    for number in range(1, partitions):
        name = f"quiet{number}"
        for node in (leader, follower):
            node.broker.create(name)
        leader.broker.partition(name).become_leader(among(1, replicas=(1, 2)))
        quiet = follower.broker.partition(name)
        quiet.become_follower(among(1, replicas=(1, 2)))
        follower.plan.add(quiet)
    follower.fetch_from(leader)
    follower.fetch_from(leader)
    for _ in range(5):
        append(leader.partition)
        follower.fetch_from(leader)
        assert len(follower.plan.changed) == 1
