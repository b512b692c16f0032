"""The range assignor, as Kafka's documentation of it counts."""

from ottla.client.range_assignor import assign
from ottla.model.ids import TopicPartition


def numbers(partitions: list[TopicPartition]) -> list[str]:
    return [str(partition) for partition in partitions]


def test_the_first_members_take_one_more() -> None:
    given = assign({"b": ["t", "u"], "a": ["t", "u"]}, {"t": 3, "u": 3})
    assert numbers(given["a"]) == ["t-0", "t-1", "u-0", "u-1"]
    assert numbers(given["b"]) == ["t-2", "u-2"]


def test_only_subscribers_take_part() -> None:
    given = assign({"a": ["t"], "b": ["u"]}, {"t": 2, "u": 1, "v": 5})
    assert numbers(given["a"]) == ["t-0", "t-1"]
    assert numbers(given["b"]) == ["u-0"]


def test_members_without_a_partition_have_an_empty_assignment() -> None:
    assert assign({"a": ["t"], "b": ["t"]}, {"t": 1})["b"] == []
