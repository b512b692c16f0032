"""When a replica that finds no room is one that others should do without."""

from tests.unit.replica.parts import make_partition

from ottla.replica.crowding import Crowding


def test_at_the_third_look_at_which_there_was_no_room() -> None:
    one, other = make_partition(), make_partition()
    crowding = Crowding()
    for expected in ([], [], [one], [one]):
        one.log.found_no_room = True
        assert crowding.look([one, other]) == expected
    assert crowding.look([one, other]) == []


def test_who_tries_more_seldom_than_we_look_counts_too() -> None:
    one = make_partition()
    crowding = Crowding()
    found = []
    for tried in (True, False, True, False, True):
        one.log.found_no_room = tried
        found.append(crowding.look([one]))
    assert found == [[], [], [], [], [one]]


def test_after_two_quiet_looks_it_begins_anew() -> None:
    one = make_partition()
    crowding = Crowding()
    for tried in (True, True, False, False, True, True):
        one.log.found_no_room = tried
        assert crowding.look([one]) == []
