"""Plans that spread replicas, bytes and leaders: legal, few moves, and nothing left to do after."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.client.balance import Move, NoRoomError, Placed, Site, balance, empty
from ottla.model.ids import BrokerId


def after(partitions: list[Placed], moves: list[Move]) -> list[Placed]:
    to = {(move.topic, move.partition): move.after for move in moves}
    return [
        each._replace(replicas=to.get((each.topic, each.partition), each.replicas))
        for each in partitions
    ]


def counts(sites: list[Site], partitions: list[Placed]) -> list[int]:
    held = Counter(broker for each in partitions for broker in each.replicas)
    return [held[site.broker_id] for site in sites]


def leaders(sites: list[Site], partitions: list[Placed]) -> list[int]:
    led = Counter(each.replicas[0] for each in partitions)
    return [led[site.broker_id] for site in sites]


def plain(*replicas: tuple[int, ...]) -> list[Placed]:
    return [Placed("t", number, each, 100) for number, each in enumerate(replicas)]


def sites(count: int) -> list[Site]:
    return [Site(number) for number in range(1, count + 1)]


def test_what_is_even_stays() -> None:
    assert balance(sites(3), plain((1, 2), (2, 3), (3, 1))) == []


def test_a_new_broker_gets_its_share_and_nobody_else_anything() -> None:
    partitions = plain(*[(1, 2, 3), (2, 3, 1), (3, 1, 2)] * 4)
    moves = balance(sites(4), partitions)
    now = after(partitions, moves)
    assert counts(sites(4), now) == [9, 9, 9, 9]
    assert leaders(sites(4), now) == [3, 3, 3, 3]
    assert sum(len(move.added) for move in moves) == 9
    assert {broker for move in moves for broker in move.added} == {4}


def test_a_broker_is_emptied_and_the_others_keep_what_they_have() -> None:
    partitions = plain((1, 2), (2, 3), (3, 1), (4, 1), (2, 4))
    moves = empty(sites(4), partitions, [4])
    assert [(move.partition, move.before) for move in moves] == [(3, (4, 1)), (4, (2, 4))]
    assert counts(sites(4), after(partitions, moves))[3] == 0


def test_nobody_can_be_emptied_whom_nobody_can_replace() -> None:
    with pytest.raises(NoRoomError, match="t-0 has 3 replicas"):
        empty(sites(3), plain((1, 2, 3)), [2])


def test_replicas_of_a_rack_go_to_another() -> None:
    racks = [Site(1, "a"), Site(2, "a"), Site(3, "b"), Site(4, "b")]
    (move, *_) = balance(racks, plain((1, 2)))
    assert {racks[broker - 1].rack for broker in move.after} == {"a", "b"}


def test_large_partitions_do_not_stay_together() -> None:
    partitions = [Placed("t", n, (1 if n < 4 else 2,), 1000 if n < 4 else 10) for n in range(8)]
    moves = balance(sites(2), partitions)
    held = Counter[BrokerId]()
    for each in after(partitions, moves):
        held[each.replicas[0]] += each.size_bytes
    assert held[1] == held[2]
    assert len(moves) == 4


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Site], list[Placed]]:
    count = draw(st.integers(1, 6))
    racks = draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=count, max_size=count))
    brokers = [Site(number, rack) for number, rack in enumerate(racks, 1)]
    partitions = [
        Placed(
            "t",
            number,
            tuple(draw(st.permutations(range(1, count + 1)))[: draw(st.integers(1, count))]),
            draw(st.integers(0, 1000)),
        )
        for number in range(draw(st.integers(0, 15)))
    ]
    return brokers, partitions


def racks_of(brokers: list[Site], each: Placed) -> int:
    racks = {site.broker_id: site.rack for site in brokers}
    return len({racks[broker] for broker in each.replicas})


@given(clusters())
@settings(max_examples=200, deadline=None)
def test_a_plan_is_legal_keeps_racks_and_leaves_nothing_to_do(
    cluster: tuple[list[Site], list[Placed]],
) -> None:
    brokers, partitions = cluster
    moves = balance(brokers, partitions)
    now = after(partitions, moves)
    everywhere = {site.rack for site in brokers}
    for was, each in zip(partitions, now, strict=True):
        assert len(set(each.replicas)) == len(each.replicas) == len(was.replicas)
        assert racks_of(brokers, each) == min(len(everywhere), len(each.replicas))
    assert balance(brokers, now) == []
    if len(everywhere) == 1 and partitions:
        held = counts(brokers, now)
        assert max(held) - min(held) <= 1
    if all(len(each.replicas) == len(brokers) for each in partitions) and partitions:
        assert not any(move.added for move in moves)
        led = leaders(brokers, now)
        assert max(led) - min(led) <= 1


@given(clusters())
@settings(max_examples=100, deadline=None)
def test_no_more_moves_than_there_are_replicas_too_many(
    cluster: tuple[list[Site], list[Placed]],
) -> None:
    brokers = [Site(site.broker_id) for site in cluster[0]]
    partitions = [each._replace(size_bytes=0) for each in cluster[1]]
    moves = balance(brokers, partitions)
    held = counts(brokers, partitions)
    now = counts(brokers, after(partitions, moves))
    excess = sum(max(0, was - is_) for was, is_ in zip(held, now, strict=True))
    assert sum(len(move.added) for move in moves) == excess


@given(clusters(), st.data())
@settings(max_examples=100, deadline=None)
def test_who_is_emptied_holds_nothing(
    cluster: tuple[list[Site], list[Placed]], data: st.DataObject
) -> None:
    brokers, partitions = cluster
    gone = data.draw(st.sampled_from(brokers)).broker_id
    wide = max((len(each.replicas) for each in partitions), default=0)
    if wide > len(brokers) - 1:
        return
    moves = empty(brokers, partitions, [gone])
    now = after(partitions, moves)
    assert all(gone not in each.replicas for each in now)
    assert all(len(set(each.replicas)) == len(each.replicas) for each in now)
    assert {move.partition for move in moves} == {
        each.partition for each in partitions if gone in each.replicas
    }
