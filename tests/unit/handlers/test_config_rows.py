from ottla.config.broker_config import BrokerConfig
from ottla.handlers.config_rows import MAX_KEPT, ConfigRows

SETTINGS = {"node.id": "1", "log.dirs": "/data"}


def test_rows_are_made_once_for_one_snapshot_of_the_settings() -> None:
    rows = ConfigRows()
    config, changed = BrokerConfig(SETTINGS), BrokerConfig(SETTINGS)
    assert rows.of(config, "key", lambda: [b"old"]) == [b"old"]
    assert rows.of(config, "key", lambda: [b"new"]) == [b"old"]
    assert rows.of(config, "other", lambda: [b"other"]) == [b"other"]
    assert rows.of(changed, "key", lambda: [b"new"]) == [b"new"]


def test_what_is_kept_has_a_bound() -> None:
    rows = ConfigRows()
    config = BrokerConfig(SETTINGS)
    for number in range(MAX_KEPT):
        rows.of(config, number, lambda: [b"old"])
    assert rows.of(config, -1, lambda: [b"old"]) == [b"old"]
    assert rows.of(config, 0, lambda: [b"new"]) == [b"new"]
