"""Who fetches which partitions of a share group."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.share.assignor import Assignment, assign

T = bytes(15) + b"\1"
U = bytes(15) + b"\2"


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_every_member_and_every_partition_is_served_and_evenly(
    members: int, partitions: int, before: int
) -> None:
    parts = {T: range(partitions)}
    old = assign({f"m{n}": frozenset({T}) for n in range(before)}, parts, {})
    found = assign({f"m{n}": frozenset({T}) for n in range(members)}, parts, old)
    sizes = [len(mine.get(T, ())) for mine in found.values()]
    users = Counter(number for mine in found.values() for number in mine[T])
    assert min(sizes) >= 1
    assert set(users) == set(range(partitions))
    assert max(sizes) <= max(1, -(-partitions // members))
    assert max(users.values()) <= max(1, -(-members // partitions))


def test_nobody_gets_what_they_did_not_ask_for() -> None:
    found = assign({"a": frozenset({T}), "b": frozenset({U})}, {T: [0, 1], U: [0]}, {})
    assert found == {"a": {T: (0, 1)}, "b": {U: (0,)}}


def test_a_partition_stays_where_it_was() -> None:
    before: dict[str, Assignment] = {"a": {T: (1,)}, "b": {T: (0,)}}
    both = frozenset({T})
    assert assign({"a": both, "b": both}, {T: [0, 1]}, before) == before
