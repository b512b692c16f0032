"""How many clients look for a group's coordinator."""

from ottla.coordinator.group.lookups import MAX_GROUPS, RECENT_MS, Lookups


def test_one_client_may_ask_over_two_connections() -> None:
    lookups = Lookups()
    assert not lookups.several("g", 0)
    for connection_id in (1, 2, 1, 2):
        lookups.add("g", connection_id, 0)
    assert not lookups.several("g", 0)
    lookups.add("g", 3, 0)
    assert lookups.several("g", 0)
    assert not lookups.several("h", 0)


def test_what_was_asked_long_ago_does_not_count() -> None:
    lookups = Lookups()
    for connection_id in range(5):
        lookups.add("g", connection_id, 0)
    assert lookups.several("g", RECENT_MS)
    assert not lookups.several("g", RECENT_MS + 1)


def test_memory_is_bounded() -> None:
    lookups = Lookups()
    for number in range(10_000):
        lookups.add(f"g{number}", 1, 0)
        lookups.add("g", number, 0)
    assert len(lookups._by_group) == MAX_GROUPS
    assert len(lookups._by_group["g"]) < 20
