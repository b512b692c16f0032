"""The sticky assignor of tasks: everything given once, evenly, and moved as little as possible."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.group.streams.assignor import Work, Worker, assign
from ottla.coordinator.group.streams.tasks import Wanted, each
from ottla.model.errors import ApiError

STATELESS = {"0": Work(6, False)}
STATEFUL = {"0": Work(6, True)}


def of(**processes: str) -> dict[str, Worker]:
    """Members by their processes."""
    return {member: Worker(process) for member, process in processes.items()}


def after(
    before: dict[str, Wanted], members: dict[str, Worker], topology: dict[str, Work], standbys: int
) -> dict[str, Wanted]:
    workers = {
        name: Worker(worker.process_id, before.get(name, Wanted()))
        for name, worker in members.items()
    }
    return assign(workers, topology, standbys)


def test_tasks_are_shared_evenly_among_processes_by_their_members() -> None:
    found = assign(of(a="p", b="p", c="q"), STATELESS, 0)
    assert {name: len(set(each(wanted.active))) for name, wanted in found.items()} == {
        "a": 2,
        "b": 2,
        "c": 2,
    }


def test_a_newcomer_takes_only_its_share() -> None:
    first = assign(of(a="p", b="q"), STATELESS, 0)
    second = after(first, of(a="p", b="q", c="r"), STATELESS, 0)
    for name in ("a", "b"):
        assert set(each(second[name].active)) < set(each(first[name].active))
    assert len(set(each(second["c"].active))) == 2


def test_whoever_had_the_copy_takes_over() -> None:
    topology = {"0": Work(3, True)}
    first = assign(of(a="p", b="q", c="r"), topology, 1)
    second = after(first, of(a="p", b="q"), topology, 1)
    (task,) = each(first["c"].active)
    (owner,) = [name for name in ("a", "b") if task in set(each(second[name].active))]
    assert task in set(each(first[owner].standby))


def test_who_was_active_keeps_the_copy() -> None:
    alone = assign(of(a="p"), STATEFUL, 1)
    assert not alone["a"].standby
    two = after(alone, of(a="p", b="q"), STATEFUL, 1)
    lost = set(each(alone["a"].active)) - set(each(two["a"].active))
    assert set(each(two["a"].standby)) == lost


def test_nobody_gets_nothing_to_do() -> None:
    with pytest.raises(ApiError):
        assign({}, STATELESS, 0)
    assert assign({}, {}, 1) == {}


processes = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2), st.sampled_from("pqrs"), min_size=1, max_size=9
)
topologies = st.dictionaries(
    st.sampled_from("01234"), st.builds(Work, st.integers(1, 7), st.booleans()), max_size=4
)


@given(processes, processes, topologies, st.integers(0, 3))
def test_any_assignment_is_complete_and_fair(
    before: dict[str, str], now: dict[str, str], topology: dict[str, Work], standbys: int
) -> None:
    first = assign(of(**before), topology, standbys)
    members = of(**now)
    found = after(first, members, topology, standbys)
    assert found == after(first, dict(reversed(members.items())), topology, standbys)
    tasks = [(name, number) for name, work in topology.items() for number in range(work.task_count)]
    active = Counter(task for wanted in found.values() for task in each(wanted.active))
    assert active == Counter(tasks)
    copies: Counter[tuple[str, str, int]] = Counter()
    for name, wanted in found.items():
        for task in (*each(wanted.active), *each(wanted.standby)):
            copies[now[name], task[0], task[1]] += 1
    assert not copies or max(copies.values()) == 1
    for name, number in tasks:
        if topology[name].is_stateful:
            had = sum(1 for process in set(now.values()) if copies[process, name, number])
            assert had == min(1 + standbys, len(set(now.values())))


@given(processes, topologies, st.integers(0, 2))
def test_nothing_moves_without_a_reason(
    members: dict[str, str], topology: dict[str, Work], standbys: int
) -> None:
    first = assign(of(**members), topology, standbys)
    for name, wanted in after(first, of(**members), topology, 0).items():
        room = -(-sum(work.task_count for work in topology.values()) // len(members))
        if len(list(each(first[name].active))) <= room:
            assert set(each(wanted.active)) == set(each(first[name].active))
