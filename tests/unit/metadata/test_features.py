"""Feature levels: what can be finalized, by whom it must be supported, and what is told."""

import json

import pytest

from ottla.metadata import changes
from ottla.metadata.features import (
    EARLIER,
    OTTLA_VERSION,
    SAFE_DOWNGRADE,
    SUPPORTED,
    UNSAFE_DOWNGRADE,
    UPGRADE,
    FeatureUpdate,
    finalized,
    level,
    newest,
    not_supported,
    not_used,
    refuse_to_forget,
    refuse_unsupported,
    update,
)
from ottla.metadata.image import Image, KnownBroker, PartitionImage
from ottla.metadata.store import Changes, Put
from ottla.model.errors import ApiError, ErrorCode, StorageError

HERE = {1: SUPPORTED}
NEWER = {**SUPPORTED, OTTLA_VERSION: (2, 3), "raft.version": (0, 1)}


def refused(updates: list[FeatureUpdate], *, stored: dict[str, int], **known: object) -> str:
    with pytest.raises(ApiError) as caught:
        update(stored, updates, 1, known.get("registered", HERE))  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.INVALID_UPDATE_VERSION
    return str(caught.value)


def test_a_cluster_that_says_nothing_is_of_earlier_builds() -> None:
    assert finalized({}) == {name: high for name, (_, high) in EARLIER.items()}
    assert level({}, OTTLA_VERSION) == 1
    assert level({OTTLA_VERSION: 2}, OTTLA_VERSION) == 2


def test_a_new_cluster_has_everything() -> None:
    assert newest() == {name: high for name, (_, high) in SUPPORTED.items()}
    assert not_used(newest()) is None
    assert not_used({}) == "ottla.version 2"


def test_levels_go_down_and_up_again() -> None:
    down = FeatureUpdate("transaction.version", 1, SAFE_DOWNGRADE)
    lower = update(newest(), [down], 1, HERE)
    assert lower == {**newest(), "transaction.version": 1}
    up = FeatureUpdate("transaction.version", 2, UPGRADE)
    assert update(lower, [up], 1, HERE) == newest()


def test_down_goes_only_who_says_so() -> None:
    said = refused([FeatureUpdate(OTTLA_VERSION, 1, UPGRADE)], stored=newest())
    assert "upgrade type to either safe or unsafe downgrade" in said
    for kind in SAFE_DOWNGRADE, UNSAFE_DOWNGRADE:
        assert (
            update(newest(), [FeatureUpdate(OTTLA_VERSION, 1, kind)], 1, HERE)[OTTLA_VERSION] == 1
        )


def test_one_that_cannot_be_spoils_all() -> None:
    down = FeatureUpdate("transaction.version", 1, SAFE_DOWNGRADE)
    assert "share.version" in refused([down, FeatureUpdate("share.version", 7, UPGRADE)], stored={})


def test_a_level_must_be_supported_by_every_broker() -> None:
    up = FeatureUpdate(OTTLA_VERSION, 2, UPGRADE)
    said = refused([up], stored={}, registered={1: SUPPORTED, 3: {}})
    assert said.endswith(
        "Invalid update version 2 for feature ottla.version. Broker 3 only supports versions 1-1"
    )
    assert update({}, [up], 1, {1: SUPPORTED, 3: SUPPORTED})[OTTLA_VERSION] == 2
    down = FeatureUpdate(OTTLA_VERSION, 1, SAFE_DOWNGRADE)
    said = refused([down], stored=newest(), registered={1: SUPPORTED, 3: NEWER})
    assert said.endswith("Broker 3 only supports versions 2-3")


def test_who_does_not_support_what_is_finalized_is_refused() -> None:
    assert not_supported({}, {}) is None
    assert not_supported(newest(), SUPPORTED) is None
    assert not_supported({}, NEWER) == "supports ottla.version 2 to 3, and 1 is finalized"
    assert not_supported(newest(), {}) == "supports ottla.version 1 to 1, and 2 is finalized"
    assert not_supported({"raft.version": 0}, SUPPORTED) is None
    with pytest.raises(StorageError, match=r"supports raft\.version 0 to 0, and 1 is finalized"):
        refuse_unsupported({"raft.version": 1}, SUPPORTED)


def test_features_of_a_newer_build_stay() -> None:
    stored = {**newest(), "raft.version": 0}
    down = FeatureUpdate("transaction.version", 1, SAFE_DOWNGRADE)
    assert update(stored, [down], 1, HERE) == {**stored, "transaction.version": 1}


def test_levels_are_a_key_of_the_store() -> None:
    key, value = changes.features_key({"share.version": 0})
    image, _ = changes.apply(Image(), Changes(3, (Put(key, value, 3),), ()))
    assert image.features == {"share.version": 0}
    assert finalized(image.features)["share.version"] == 0


def test_brokers_register_what_they_support() -> None:
    key, value = changes.known_broker_key(KnownBroker(1, None, (), (), "boot", SUPPORTED))
    image, _ = changes.apply(Image(), Changes(3, (Put(key, value, 3),), ()))
    assert image.known_brokers[1].features == SUPPORTED
    content = json.loads(value)
    del content["features"]  # a build from before levels
    put = Put(key, json.dumps(content).encode(), 4)
    image, _ = changes.apply(image, Changes(4, (put,), ()))
    assert image.known_brokers[1].features == {}


def test_the_level_stays_while_a_partition_says_what_only_it_can_say() -> None:
    fine = PartitionImage(1, 0, 0, (1, 2), (1, 2))
    said = [fine._replace(offline_replicas=(2,)), fine._replace(isr=(), elr=(2,), doubtful=(2,))]
    refuse_to_forget({OTTLA_VERSION: 1}, [fine])
    for state in said:
        refuse_to_forget({OTTLA_VERSION: 2}, [fine, state])
        with pytest.raises(ApiError, match="offline log directory"):
            refuse_to_forget({OTTLA_VERSION: 1}, [fine, state])
