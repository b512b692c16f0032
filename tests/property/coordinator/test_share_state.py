"""A share partition against the obvious model: one entry for each record."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.coordinator.share.runs import RecordState
from ottla.coordinator.share.state import Acknowledgement, AcknowledgeType, ShareLimits, ShareState
from ottla.model.errors import ApiError

LOG_END = 40
LIMIT = 4

member = st.sampled_from(["a", "b", "c"])
offset = st.integers(0, LOG_END - 1)
acquiring = st.tuples(st.just("acquire"), member, st.integers(1, 30), st.booleans())
acknowledging = st.tuples(
    st.just("acknowledge"),
    member,
    offset,
    st.lists(st.sampled_from(list(AcknowledgeType)), min_size=1, max_size=12),
    st.sampled_from(["stored", "refused"]),
)
releasing = st.tuples(st.just("release"), member)
waiting = st.tuples(st.just("wait"), st.integers(1, 60))
moving = st.tuples(st.just("log start"), offset)
commands = st.lists(
    st.one_of(acquiring, acquiring, acknowledging, acknowledging, releasing, waiting, moving),
    max_size=40,
)


class Record:
    def __init__(self) -> None:
        self.state = "available"
        self.count = 0
        self.member = ""
        self.until_ms = 0


class Model:
    def __init__(self) -> None:
        self.records = {at: Record() for at in range(LOG_END)}
        self.start = 0

    def move_start(self) -> None:
        while self.start in self.records and self.records[self.start].state == "over":
            self.start += 1

    def free(self, record: Record) -> None:
        record.state = "over" if record.count >= LIMIT else "available"
        record.member = ""


@given(commands)
@settings(max_examples=300, deadline=None)
def test_it_does_what_the_model_does(steps: list[tuple[object, ...]]) -> None:
    state = ShareState(ShareLimits(delivery_count_limit=LIMIT, lock_duration_ms=100), 0)
    model = Model()
    now_ms = 0
    for step in steps:
        if step[0] == "acquire":
            _acquire(state, model, step, now_ms)
        elif step[0] == "acknowledge":
            _acknowledge(state, model, step, now_ms)
        elif step[0] == "release":
            state.stored(state.release(str(step[1])))
            for record in model.records.values():
                if record.state == "acquired" and record.member == step[1]:
                    model.free(record)
        elif step[0] == "wait":
            assert isinstance(step[1], int)
            now_ms += step[1]
            state.stored(state.expire(now_ms))
            for record in model.records.values():
                if record.state == "acquired" and record.until_ms <= now_ms:
                    model.free(record)
        else:
            assert isinstance(step[1], int)
            state.log_start_moved(step[1])
            if step[1] > model.start:
                model.start = step[1]
        model.move_start()
        _compare(state, model)


def _acquire(state: ShareState, model: Model, step: tuple[object, ...], now_ms: int) -> None:
    _, who, count, exactly = step
    assert isinstance(who, str)
    assert isinstance(count, int)
    fetch_offset = state.next_fetch_offset()
    if fetch_offset >= LOG_END:
        return
    first = fetch_offset - fetch_offset % 5
    batches = [(at, at + 4) for at in range(first, LOG_END, 5)]
    got = state.acquire(
        who, batches, fetch_offset, now_ms, max_records=count, batch_size=7, exactly=bool(exactly)
    )
    total = 0
    for a, b, deliveries in got:
        for at in range(a, b + 1):
            record = model.records[at]
            assert record.state == "available", (at, record.member)
            assert at >= model.start
            record.state, record.member = "acquired", who
            record.until_ms = now_ms + 100
            record.count += 1
            assert record.count == deliveries <= LIMIT
            total += 1
    assert total > 0
    if exactly:
        assert total <= count


def _acknowledge(state: ShareState, model: Model, step: tuple[object, ...], now_ms: int) -> None:
    _, who, first, types, outcome = step
    assert isinstance(who, str)
    assert isinstance(first, int)
    assert isinstance(types, list)
    last = first + len(types) - 1
    offsets = [at for at in range(first, last + 1) if at >= model.start]
    good = not offsets or all(
        at in model.records
        and model.records[at].state == "acquired"
        and model.records[at].member == who
        for at in offsets
    )
    try:
        change = state.acknowledge(who, [Acknowledgement(first, last, types)], now_ms)
    except ApiError:
        assert not good
        return
    assert good
    if outcome == "refused":
        state.refused(change, now_ms)
    else:
        state.stored(change)
    for at, kind in zip(range(first, last + 1), types, strict=True):
        if at < model.start:
            continue
        record = model.records[at]
        if kind == AcknowledgeType.RENEW:
            record.until_ms = now_ms + 100
        elif outcome == "refused":
            record.until_ms = max(record.until_ms, now_ms + 1)
        elif kind == AcknowledgeType.RELEASE:
            model.free(record)
        else:
            record.state, record.member = "over", ""


def _compare(state: ShareState, model: Model) -> None:
    assert state.start_offset == model.start
    at = state.start_offset
    for run in state.runs:
        assert run.first == at <= run.last
        at = run.last + 1
        for offset in range(run.first, run.last + 1):
            record = model.records[offset]
            seen = "over" if run.state.is_terminal else run.state.name.lower()
            assert (seen, run.member_id) == (record.state, record.member), offset
            if run.state is not RecordState.ARCHIVED and not run.state.is_terminal:
                assert run.count == record.count
    for offset in range(at, LOG_END):
        assert model.records[offset].state == "available"
