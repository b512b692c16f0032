"""Where new partitions go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.metadata.image import BrokerImage
from ottla.metadata.placement import place
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId


def brokers(*ids: BrokerId, fenced: tuple[BrokerId, ...] = ()) -> dict[BrokerId, BrokerImage]:
    return {number: BrokerImage(number, 0, None, (), number in fenced) for number in ids}


def test_leaders_go_round() -> None:
    assert place(brokers(1, 2, 3), 4, 2, first_partition=0) == [[1, 2], [2, 3], [3, 1], [1, 3]]


def test_added_partitions_go_on_where_the_others_ended() -> None:
    known = brokers(1, 2, 3)
    whole = place(known, 5, 2, first_partition=0)
    assert place(known, 2, 2, first_partition=3) == whole[3:]


def test_who_is_fenced_gets_none() -> None:
    assert place(brokers(1, 2, fenced=(1,)), 2, 1, first_partition=0) == [[2], [2]]


@pytest.mark.parametrize("factor", [2, 3])
def test_more_replicas_than_brokers_are_refused(factor: int) -> None:
    with pytest.raises(ApiError) as refused:
        place(brokers(1, 2, fenced=(2,)), 1, factor, first_partition=0)
    assert refused.value.code is ErrorCode.INVALID_REPLICATION_FACTOR


@given(st.sets(st.integers(0, 50), min_size=1, max_size=9), st.integers(1, 30), st.data())
def test_replicas_are_different_and_leaders_spread(
    ids: set[int], partitions: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, len(ids)))
    placed = place(brokers(*ids), partitions, factor, first_partition=data.draw(st.integers(0, 9)))
    assert all(len(set(replicas)) == factor for replicas in placed)
    leaders = [replicas[0] for replicas in placed]
    counts = [leaders.count(number) for number in ids]
    assert max(counts) - min(counts) <= 1


def test_topics_of_one_partition_are_led_by_different_brokers() -> None:
    known = brokers(1, 2, 3)
    led = [place(known, 1, 1, first_partition=0, start=topic)[0][0] for topic in range(6)]
    assert led == [1, 2, 3, 1, 2, 3]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.integers(1, 30), st.data())
def test_replicas_are_in_as_many_racks_as_there_are(
    racks: list[str], partitions: int, data: st.DataObject
) -> None:
    known = {n: BrokerImage(n, 0, rack, ()) for n, rack in enumerate(racks)}
    factor = data.draw(st.integers(1, len(racks)))
    for replicas in place(known, partitions, factor, first_partition=0):
        assert len(set(replicas)) == factor
        assert len({racks[broker] for broker in replicas}) == min(factor, len(set(racks)))
