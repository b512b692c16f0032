import pytest

from ottla.wire.apis import API, request_class, response_class
from ottla.wire.generated.produce import ProduceRequest, ProduceResponse


def test_every_api_has_classes_of_its_versions() -> None:
    for key, api in API.items():
        for cls in (request_class(key), response_class(key)):
            assert cls.API_KEY == api.key == key  # type: ignore[attr-defined]
            assert api.min_version == cls.MIN_VERSION
            assert (api.max_version if api.unstable is None else api.unstable) == cls.MAX_VERSION
            assert api.flexible_from == cls.FLEXIBLE_FROM


def test_classes_are_found_by_key() -> None:
    assert request_class(0) is ProduceRequest
    assert response_class(0) is ProduceResponse
    assert API[0].name == "PRODUCE"


def test_an_unstable_version_is_not_served() -> None:
    api = API[22]
    assert (api.name, api.max_version, api.unstable) == ("INIT_PRODUCER_ID", 5, 6)


def test_flexible_versions() -> None:
    assert [API[0].is_flexible(version) for version in (8, 9)] == [False, True]
    assert not API[17].is_flexible(1)


@pytest.mark.parametrize("key", [-1, 4, 52, 1000])
def test_apis_of_old_and_of_controllers_are_unknown(key: int) -> None:
    assert key not in API
    with pytest.raises(KeyError):
        request_class(key)
