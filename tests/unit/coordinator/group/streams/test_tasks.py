"""Tasks as rows of requests and records say them, and in order again."""

from ottla.coordinator.group.streams.tasks import Wanted, each, in_order, read
from ottla.wire.generated.streams_group_heartbeat import TaskIdsRequest


def rows(*tasks: tuple[str, list[int]]) -> list[TaskIdsRequest]:
    return [TaskIdsRequest(subtopology_id=name, partitions=numbers) for name, numbers in tasks]


def test_rows_of_one_subtopology_are_taken_together_and_empty_ones_left_out() -> None:
    assert read(rows(("a", [1, 0]), ("b", []), ("a", [2, 1]))) == {"a": frozenset({0, 1, 2})}
    assert Wanted(read(rows(("b", [])))) == Wanted()


def test_a_row_for_each_of_very_many_tasks_is_read() -> None:
    """Taken together one by one, by a new set for each, this would take half a minute."""
    count = 100_000
    assert read(rows(*(("a", [number]) for number in range(count)))) == {
        "a": frozenset(range(count))
    }


def test_tasks_are_shown_in_order() -> None:
    tasks = read(rows(("b", [1]), ("a", [3, 2])))
    assert list(in_order(tasks)) == [("a", [2, 3]), ("b", [1])]
    assert sorted(each(tasks)) == [("a", 2), ("a", 3), ("b", 1)]
