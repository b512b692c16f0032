"""A change in portions ends in the same keys, and is safe to stop in."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.metadata.test_changes import Keys, create

from ottla.metadata import changes, controller
from ottla.metadata.controller import Writes
from ottla.metadata.portions import portions


@given(
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=5),
    st.integers(3, 20),
)
def test_every_step_is_small_and_leaves_whole_topics(
    topics: list[tuple[int, bool]], limit: int
) -> None:
    keys = Keys()
    for number, (count, configured) in enumerate(topics):
        configs = {"retention.ms": "1"} if configured else {}
        writes = create(keys.image, f"t{number}", count, configs, number)
        for portion in portions(keys.image, writes.puts, writes.deletes, limit):
            assert len(portion.puts) <= limit
            keys.write(Writes(portion.puts, portion.deletes))
            assert keys.reloaded() == keys.image
    made = keys.image.topics
    assert [len(made[f"t{n}"].partitions) for n in range(len(topics))] == [c for c, _ in topics]
    assert [bool(made[f"t{n}"].configs) for n in range(len(topics))] == [c for _, c in topics]
    ids = [topic.topic_id for topic in made.values()]
    writes = controller.delete_topics(keys.image, ids)
    gone = 0
    for portion in portions(keys.image, writes.puts, writes.deletes, limit):
        assert len(portion.puts) <= limit
        assert len(portion.deletes) <= limit
        keys.write(Writes(portion.puts, portion.deletes))
        assert keys.reloaded() == keys.image
        gone = max(gone, len(ids) - len(keys.image.topics))
    assert not keys.image.topics
    assert not keys.image.unlisted


def test_what_is_there_is_compared_and_what_is_new_is_not() -> None:
    keys = Keys()
    new = create(keys.image, "t", 2, {}, 1)
    (portion,) = portions(keys.image, new.puts, (), 100)
    assert portion.compare == ()
    keys.write(new)
    raised = controller.raise_leader_epochs(keys.image, 1)
    for limit in (100, 1):
        compared = [c for p in portions(keys.image, raised.puts, (), limit) for c in p.compare]
        assert [compare.key for compare in compared] == [key for key, _ in raised.puts]
        assert {compare.revision for compare in compared} == {2}


def test_a_topic_that_grows_has_its_new_partitions_before_it_says_so() -> None:
    keys = Keys()
    keys.write(create(keys.image, "t", 1, {}, 1))
    grown = controller.create_partitions(keys.image, "t", 9, None)
    for portion in portions(keys.image, grown.puts, (), 3):
        assert len(keys.image.topics["t"].partitions) == 1
        keys.write(Writes(portion.puts))
    assert len(keys.image.topics["t"].partitions) == 9
    assert changes.broker_name(1) in keys.items
