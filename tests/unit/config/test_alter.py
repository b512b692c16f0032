"""What operations make of settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.config.alter import Change, Operation, altered, check, check_request
from ottla.config.broker_config import BrokerConfig
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import ResourceType

TOPIC = ResourceType.TOPIC
POLICY = "cleanup.policy"


@pytest.mark.parametrize(
    ("present", "operation", "value", "outcome"),
    [
        ({}, Operation.APPEND, "compact", "delete,compact"),
        ({POLICY: ""}, Operation.APPEND, "compact", "compact"),
        ({POLICY: "compact"}, Operation.APPEND, "delete,compact", "compact,delete"),
        ({POLICY: "compact,delete"}, Operation.SUBTRACT, "compact", "delete"),
        ({POLICY: "compact"}, Operation.SUBTRACT, "delete", "compact"),
        ({}, Operation.SUBTRACT, "delete", ""),
        ({POLICY: "compact"}, Operation.SET, "delete", "delete"),
    ],
)
def test_lists_grow_and_shrink(
    present: dict[str, str], operation: Operation, value: str, outcome: str
) -> None:
    assert altered(TOPIC, present, [Change(POLICY, operation, value)]) == {POLICY: outcome}


def test_a_change_leaves_the_present_settings_alone() -> None:
    present = {POLICY: "compact", "flush.ms": "1"}
    assert altered(TOPIC, present, [Change("flush.ms", Operation.DELETE, None)]) == {
        POLICY: "compact"
    }
    assert len(present) == 2


ITEMS = st.lists(st.sampled_from("abcdef"), unique=True)


@given(ITEMS, ITEMS)
def test_what_is_appended_and_subtracted_again_leaves_the_rest(
    present: list[str], added: list[str]
) -> None:
    key = "leader.replication.throttled.replicas"
    before = {key: ",".join(present)}
    appended = altered(TOPIC, before, [Change(key, Operation.APPEND, ",".join(added))])
    assert set(appended[key].split(",")) - {""} == set(present) | set(added)
    after = altered(TOPIC, appended, [Change(key, Operation.SUBTRACT, ",".join(added))])
    assert [item for item in after[key].split(",") if item] == [
        item for item in present if item not in added
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([Change("a", 0, "1"), Change("a", 1, None)], "Error due to duplicate config keys"),
        (
            [Change("a", 0, None), Change("b", 2, None), Change("c", 1, None)],
            "Null value not supported for : a, b",
        ),
        ([Change("a", 4, "1")], "Unknown operations type 4"),
    ],
)
def test_a_malformed_request_is_refused(changes: list[Change], words: str) -> None:
    with pytest.raises(ApiError, match=words) as refused:
        check_request(changes)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_a_logger_has_no_stored_settings() -> None:
    with pytest.raises(ApiError, match="Unknown resource type 8"):
        check(BrokerConfig(), ResourceType.BROKER_LOGGER, "1", {}, {})
