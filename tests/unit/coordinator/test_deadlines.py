"""Deadlines by key, put off cheaply."""

from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.deadlines import Deadlines


def drain(deadlines: Deadlines, now_ms: int) -> list[object]:
    due: list[object] = []
    while (key := deadlines.pop_due(now_ms)) is not None:
        due.append(key)
    return due


def test_keys_fall_due_in_order_of_their_time() -> None:
    deadlines = Deadlines()
    deadlines.set("b", 20)
    deadlines.set("a", 10)
    deadlines.set("c", 30)
    assert deadlines.next_ms() == 10
    assert drain(deadlines, 20) == ["a", "b"]
    assert deadlines.next_ms() == 30


def test_a_deadline_put_off_falls_due_at_the_later_time() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 10)
    deadlines.set("a", 50)
    assert deadlines.next_ms() == 50
    assert drain(deadlines, 49) == []
    assert drain(deadlines, 50) == ["a"]


def test_a_deadline_brought_forward_falls_due_once() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 50)
    deadlines.set("a", 10)
    assert drain(deadlines, 100) == ["a"]
    assert deadlines.next_ms() is None


def test_a_cancelled_key_does_not_fall_due() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 10)
    deadlines.cancel("a")
    deadlines.cancel("never set")
    assert deadlines.next_ms() is None
    deadlines.set("a", 20)
    assert drain(deadlines, 15) == []
    assert drain(deadlines, 20) == ["a"]


def test_a_thousand_heartbeats_leave_one_entry_in_the_heap() -> None:
    deadlines = Deadlines()
    for now in range(1_000):
        deadlines.set("member", now + 10_000)
    assert len(deadlines._heap) == 1


def test_cancelled_keys_do_not_pile_up() -> None:
    deadlines = Deadlines()
    deadlines.set("stays", 5_000_000)
    for number in range(10_000):
        deadlines.set(number, 1_000_000 + number)
        deadlines.cancel(number)
    assert len(deadlines._heap) < 100
    assert drain(deadlines, 5_000_000) == ["stays"]


KEYS = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 20)),
        st.tuples(st.just("cancel"), KEYS),
        st.tuples(st.just("pop"), st.integers(0, 20)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_behaves_as_a_dict_of_times(steps: list[tuple[object, ...]]) -> None:
    deadlines = Deadlines()
    model: dict[object, int] = {}
    for step in steps:
        if step[0] == "set":
            assert isinstance(step[2], int)
            deadlines.set(step[1], step[2])  # type: ignore[arg-type]
            model[step[1]] = step[2]
        elif step[0] == "cancel":
            deadlines.cancel(step[1])  # type: ignore[arg-type]
            model.pop(step[1], None)
        else:
            assert isinstance(step[1], int)
            key = deadlines.pop_due(step[1])
            due = {name for name, when in model.items() if when <= step[1]}
            if key is None:
                assert not due
            else:
                assert model[key] == min(model.values())
                del model[key]
                assert key in due
        assert deadlines.next_ms() == min(model.values(), default=None)
        assert len(deadlines) == len(model)
