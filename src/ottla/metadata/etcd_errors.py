"""What etcd refuses, and which refusals say that another member should be asked."""

from typing import Any, cast

from ottla.metadata.etcd_messages import JsonObject
from ottla.model.errors import PeerError

DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
OUT_OF_RANGE = 11
UNAUTHENTICATED = 16

_OF_THE_MEMBER = frozenset({1, 2, DEADLINE_EXCEEDED, 13, 14})
"""Cancelled, unknown, deadline exceeded, internal, unavailable: gRPC's status codes."""

_OLD_TOKEN = (
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",
)
_AUTH_IS_OFF = "authentication is not enabled"
_TOO_LARGE = ("request is too large", "too many operations")


class EtcdError(PeerError):
    """etcd answered with an error: gRPC's status code and a text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"etcd refuses: {message} (code {code})")
        self.code = code
        self.message = message

    @property
    def is_of_the_member(self) -> bool:
        """Another member may do better: this one has no leader, stops, or is overloaded."""
        return self.code in _OF_THE_MEMBER

    @property
    def is_old_token(self) -> bool:
        """Nothing was done: we must say again who we are."""
        return self.code == UNAUTHENTICATED or any(text in self.message for text in _OLD_TOKEN)

    @property
    def is_auth_off(self) -> bool:
        return _AUTH_IS_OFF in self.message

    @property
    def is_too_large(self) -> bool:
        return any(text in self.message for text in _TOO_LARGE)

    @property
    def is_compacted(self) -> bool:
        return self.code == OUT_OF_RANGE and "compacted" in self.message


def error_of(answer: JsonObject) -> EtcdError:
    """Read an error as the gateways of etcd 3.4 to 3.6 write it."""
    said: Any = answer.get("error")
    if isinstance(said, dict):  # in a stream
        said = cast(JsonObject, said)
        code = int(said.get("grpc_code", said.get("code", 2)))
        return EtcdError(code, str(said.get("message", "")))
    return EtcdError(int(answer.get("code", 2)), str(answer.get("message", said)))
