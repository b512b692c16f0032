"""Which names are legal (`org.apache.kafka.common.internals.Topic`)."""

import re

from ottla.model.errors import ApiError, ErrorCode

MAX_TOPIC_NAME_LENGTH = 249

CONSUMER_OFFSETS = "__consumer_offsets"
TRANSACTION_STATE = "__transaction_state"
SHARE_GROUP_STATE = "__share_group_state"
CLUSTER_METADATA = "__cluster_metadata"

INTERNAL_TOPICS = frozenset({CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE})

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


def check_topic_name(name: str) -> None:
    """Raise INVALID_TOPIC_EXCEPTION, in Kafka's words, unless `name` may name a topic."""
    if not name:
        problem = "Topic name is invalid: the empty string is not allowed"
    elif name in (".", ".."):
        problem = f"Topic name is invalid: '{name}' is not allowed"
    elif len(name) > MAX_TOPIC_NAME_LENGTH:
        problem = (
            f"Topic name is invalid: the length of '{name}' is longer than "
            f"the max allowed length {MAX_TOPIC_NAME_LENGTH}"
        )
    elif not _LEGAL.fullmatch(name):
        problem = (
            f"Topic name is invalid: '{name}' contains one or more characters other than "
            "ASCII alphanumerics, '.', '_' and '-'"
        )
    else:
        return
    raise ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, problem)


def may_collide(name: str) -> bool:
    """Whether a topic of another name could have the same `collision_key`."""
    return "." in name or "_" in name


def collision_key(name: str) -> str:
    """Two topics whose keys are equal would have metrics of one name: '.' and '_' collide."""
    return name.replace(".", "_")
