"""Who reads which partition: balance, stickiness, and ranges."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.coordinator.group.assignors import (
    Assignment,
    Subscriber,
    range_assign,
    uniform_assign,
)

T, U, V = (bytes([number]) * 16 for number in (1, 2, 3))


def subscriber(*topics: bytes, **rest: object) -> Subscriber:
    return Subscriber(frozenset(topics), rest.pop("target", {}), **rest)  # type: ignore[arg-type]


def test_ranges_are_neighbours_and_the_first_get_one_more() -> None:
    members = {name: subscriber(T, U) for name in "ba"}
    assigned = range_assign(members, {T: 3, U: 2})
    assert assigned == {"a": {T: (0, 1), U: (0,)}, "b": {T: (2,), U: (1,)}}


def test_ranges_go_to_subscribers_alone_static_members_first() -> None:
    members = {"a": subscriber(T, instance_id="z"), "b": subscriber(T), "c": subscriber(U)}
    assert range_assign(members, {T: 2}) == {"a": {T: (0,)}, "b": {T: (1,)}, "c": {}}


def test_uniform_moves_only_what_it_must() -> None:
    members = {"a": subscriber(T, target={T: (0, 1, 2, 3, 4)}), "b": subscriber(T)}
    assert uniform_assign(members, {T: 5}) == {"a": {T: (0, 1, 2)}, "b": {T: (3, 4)}}


def test_uniform_forgets_partitions_that_are_gone_and_topics_not_subscribed_to() -> None:
    members = {"a": subscriber(T, target={T: (0, 7), U: (0,)})}
    assert uniform_assign(members, {T: 2, U: 1}) == {"a": {T: (0, 1)}}


def test_nobody_gets_nothing() -> None:
    assert uniform_assign({}, {T: 3}) == {}
    assert range_assign({}, {T: 3}) == {}
    assert uniform_assign({"a": subscriber()}, {T: 3}) == {"a": {}}


topics = st.frozensets(st.sampled_from([T, U, V]))
counts = st.fixed_dictionaries({T: st.integers(1, 9), U: st.integers(0, 5), V: st.integers(1, 3)})
members = st.dictionaries(st.sampled_from("abcdefg"), topics, min_size=1)


def pairs(assignment: Assignment) -> list[tuple[bytes, int]]:
    return [(topic, number) for topic, numbers in assignment.items() for number in numbers]


def everything_once(
    assigned: dict[str, Assignment], wanted: dict[str, frozenset[bytes]], counts: dict[bytes, int]
) -> None:
    read = [pair for assignment in assigned.values() for pair in pairs(assignment)]
    assert len(read) == len(set(read)), "a partition has two readers"
    known = frozenset().union(*wanted.values())
    assert set(read) == {(topic, number) for topic in known for number in range(counts[topic])}
    for name, assignment in assigned.items():
        assert set(assignment) <= wanted[name]


@settings(max_examples=150, deadline=None)
@given(members, members, counts)
def test_whoever_comes_and_goes_everything_is_read_once_evenly(
    before: dict[str, frozenset[bytes]],
    after: dict[str, frozenset[bytes]],
    counts: dict[bytes, int],
) -> None:
    targets: dict[str, Assignment] = {}
    for wanted in (before, after):
        subscribers = {
            name: Subscriber(topics, targets.get(name, {})) for name, topics in wanted.items()
        }
        everything_once(range_assign(subscribers, counts), wanted, counts)
        targets = uniform_assign(subscribers, counts)
        everything_once(targets, wanted, counts)
        load = {name: len(pairs(assignment)) for name, assignment in targets.items()}
        for one, other in itertools.permutations(wanted, 2):
            if set(targets[one]) & wanted[other]:
                assert load[one] <= load[other] + 1
    again = {name: Subscriber(topics, targets[name]) for name, topics in after.items()}
    assert uniform_assign(again, counts) == targets, "it moves although nothing changed"
