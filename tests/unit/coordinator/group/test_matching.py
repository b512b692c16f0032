"""What expressions match, found out in slices and by what changed."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.consumer_world import ConsumerWorld

from ottla.coordinator.group.matching import SLICE_COST, Matching
from ottla.coordinator.group.regexes import Automaton, compiled, resolve

TOPICS = [f"orders-{number:04}" for number in range(2_000)]


def test_a_new_expression_alone_looks_at_every_topic() -> None:
    matching = Matching()
    matching.begin(["orders-.*1"], TOPICS)
    slices = 1
    while not matching.work():
        slices += 1
    assert slices >= sum(map(len, TOPICS)) // SLICE_COST
    first = matching.done()["orders-.*1"]
    assert first == resolve("orders-.*1", TOPICS)
    matching.write("orders-.*1", first)
    matching.begin(["orders-.*1"], TOPICS)
    assert matching.work()
    assert not matching.done()
    matching.topics_changed({"orders-x1", "orders-0001"})
    matching.begin(["orders-.*1"], [*TOPICS[2:], "orders-x1"])
    assert matching.work(), "only what changed is looked at"
    assert matching.done() == {"orders-.*1": [*first[1:], "orders-x1"]}


def test_topics_that_change_meanwhile_are_looked_at() -> None:
    matching = Matching()
    matching.begin(["orders-.*"], TOPICS)
    assert not matching.work()
    matching.topics_changed({"orders-new", "orders-1999"})
    now = [*TOPICS[:-1], "orders-new"]
    matching.begin(["orders-.*", "late"], [*now, "late"])
    while not matching.work():
        pass
    assert matching.done() == {"orders-.*": sorted(now), "late": ["late"]}


def test_a_move_that_is_not_remembered_costs_what_its_states_do() -> None:
    automaton = compiled("(.|.{0,30}){0,20}x")
    first = sum(automaton.walk("orders-eu-west-00001"))
    assert first > SLICE_COST, "a slice ends within a name"
    assert list(automaton.walk("orders-eu-west-00001")) == []


@given(st.lists(st.frozensets(st.sampled_from(["a", "ab", "b", "ba"])), min_size=1, max_size=6))
def test_it_comes_to_what_looking_at_everything_does(images: list[frozenset[str]]) -> None:
    matching = Matching()
    before: frozenset[str] = frozenset()
    for image in images:
        matching.topics_changed(image ^ before)
        before = image
        matching.begin(["a.*", ".*b"], image)
        assert matching.work()
        for regex, topics in matching.done().items():
            matching.write(regex, topics)
        assert matching.written == {
            regex: frozenset(resolve(regex, image)) for regex in ("a.*", ".*b")
        }


def test_what_was_refused_is_written_when_tried_again() -> None:
    world = ConsumerWorld({"ride-eu": 1})
    world.beat("a", subscribed_topic_regex="ride-.*")
    group = world.group()
    out = group.resolve_regexes(world.now_ms)
    assert out.records
    assert len(group.resolve_regexes(world.now_ms).records) == len(out.records)


def test_a_slice_leaves_the_turn_to_others() -> None:
    world = ConsumerWorld(dict.fromkeys(TOPICS, 1))
    world.beat("a", subscribed_topic_regex="orders-.*1")
    out = world.shard.wake(world.now_ms)
    assert out is not None
    assert (out.goes_on, out.records) == (True, [])
    world.advance(0)
    assert len(world.group().regexes["orders-.*1"].topics) == 200


def test_after_loading_expressions_are_resolved_by_the_next_heartbeat() -> None:
    world = ConsumerWorld({"ride-eu": 1})
    world.beat("a", subscribed_topic_regex="ride-.*")
    world.advance(0)
    world.set_topics({"ride-us": 1})
    world.shard = world.replay()
    world.shard.loaded(world.now_ms)
    world.advance(0)
    assert world.group().regexes["ride-.*"].topics == ["ride-eu"]
    world.beat("a")
    world.advance(0)
    assert world.group().regexes["ride-.*"].topics == ["ride-us"]


def test_moves_are_forgotten_together_with_the_states_they_lead_to() -> None:
    automaton: Automaton = compiled("(a|b)*a(a|b){12}")
    names = [f"{number:014b}".replace("0", "a").replace("1", "b") for number in range(1 << 14)]
    wanted = [name[-13] == "a" for name in names]
    assert [automaton.matches(name) for name in names] == wanted
