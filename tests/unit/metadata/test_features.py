"""Feature levels: what can be finalized, and what is told."""

import pytest

from ottla.metadata import changes
from ottla.metadata.features import (
    SAFE_DOWNGRADE,
    SUPPORTED,
    UPGRADE,
    FeatureUpdate,
    finalized,
    update,
)
from ottla.metadata.image import Image
from ottla.metadata.store import Changes, Put
from ottla.model.errors import ApiError


def test_what_nobody_set_is_at_its_highest() -> None:
    assert finalized({}) == {name: high for name, (_, high) in SUPPORTED.items()}


def test_levels_go_down_and_up_again() -> None:
    lower = update({}, [FeatureUpdate("transaction.version", 1, SAFE_DOWNGRADE)], 1)
    assert lower == {**finalized({}), "transaction.version": 1}
    assert update(lower, [FeatureUpdate("transaction.version", 2, UPGRADE)], 1) == finalized({})


def test_one_that_cannot_be_spoils_all() -> None:
    with pytest.raises(ApiError, match=r"share\.version"):
        update(
            {},
            [
                FeatureUpdate("transaction.version", 1, SAFE_DOWNGRADE),
                FeatureUpdate("share.version", 7, UPGRADE),
            ],
            1,
        )


def test_levels_are_a_key_of_the_store() -> None:
    key, value = changes.features_key({"share.version": 0})
    image, _ = changes.apply(Image(), Changes(3, (Put(key, value, 3),), ()))
    assert image.features == {"share.version": 0}
    assert finalized(image.features)["share.version"] == 0
