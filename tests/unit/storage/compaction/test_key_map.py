"""The map of keys: what a dict would say, in no more memory than it was given."""

import random

from ottla.storage.compaction.key_map import ENTRY_BYTES, KeyMap


def test_it_says_what_a_dict_says() -> None:
    choose = random.Random(1)
    keys = KeyMap(ENTRY_BYTES * 1_000, 0.9, 10_000)
    model: dict[bytes, int] = {}
    for offset in range(3_000):
        key = b"%d" % choose.randrange(600)
        keys.put(key, offset)
        model[key] = offset
    assert keys.size == len(model)
    assert all(keys.get(key) == offset for key, offset in model.items())
    assert keys.get(b"another") == -1


def test_the_first_offset_counts() -> None:
    keys = KeyMap(ENTRY_BYTES * 10, 0.9, 1)
    keys.put(b"", 0)
    assert keys.get(b"") == 0


def test_it_is_full_at_its_load_factor() -> None:
    keys = KeyMap(ENTRY_BYTES * 10 + 5, 0.5, 1_000_000)
    for at in range(5):
        assert not keys.is_full
        keys.put(b"%d" % at, at)
    assert keys.is_full
    assert [keys.get(b"%d" % at) for at in range(5)] == list(range(5))


def test_a_full_one_still_answers() -> None:
    keys = KeyMap(ENTRY_BYTES * 3, 1.0, 1_000)
    for at in range(3):
        keys.put(b"%d" % at, at)
    assert keys.is_full
    assert keys.get(b"another") == -1


def test_few_records_take_little_memory() -> None:
    keys = KeyMap(128 << 20, 0.9, 3)
    assert len(keys._first) <= 4
    for at in range(3):
        assert not keys.is_full
        keys.put(b"%d" % at, at)


def test_memory_for_less_than_one_key_holds_one() -> None:
    keys = KeyMap(0, 0.9, 100)
    keys.put(b"a", 7)
    assert keys.is_full
    assert keys.get(b"a") == 7
