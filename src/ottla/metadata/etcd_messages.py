"""etcd's requests and answers, in the JSON of its gateway (`/v3/...`, etcd 3.4 and later).

Bytes are base64, 64-bit integers are decimal text, and what is 0, false or
empty is left out of an answer. Every answer has a header with the id of etcd's
cluster and the revision of the member that answered. Source: etcd's
`rpc.proto` and "gRPC gateway" in its documentation.
"""

import json
from base64 import b64decode, b64encode
from typing import Any, NamedTuple, TypeAlias

from ottla.metadata.store import (
    Compare,
    KeyVersion,
    LeaseId,
    Revision,
    RevisionKind,
)
from ottla.metadata.store_request import Request
from ottla.model.errors import PeerError

JsonObject: TypeAlias = dict[str, Any]

PROGRESS_KEY = "_progress"
"""A key of the store's own: who watches sees it change, who loads does not see it."""

_TARGETS = {
    RevisionKind.MODIFIED: ("MOD", "mod_revision"),
    RevisionKind.CREATED: ("CREATE", "create_revision"),
}


class Header(NamedTuple):
    cluster_id: int
    revision: Revision


class Event(NamedTuple):
    """What became of a key at a revision; `value` is None when it was deleted."""

    revision: Revision
    key: str
    value: bytes | None
    create_revision: Revision


class WatchAnswer(NamedTuple):
    """One message of a watch. With `is_fragment`, the rest of it is in the next one."""

    revision: Revision
    events: tuple[Event, ...]
    is_fragment: bool
    is_created: bool
    is_canceled: bool
    compact_revision: Revision
    reason: str


class Page(NamedTuple):
    """Some keys of a range, ascending, and whether more follow."""

    items: dict[str, bytes]
    versions: dict[str, KeyVersion]
    more: bool


class Keys:
    """Our keys as etcd's: below a prefix, which ends with a slash."""

    def __init__(self, prefix: str) -> None:
        """Raise ValueError if the prefix is empty: the rest of etcd is not ours."""
        if not prefix.strip("/"):
            raise ValueError("the prefix of the keys in etcd may not be empty")
        self.prefix = prefix.rstrip("/") + "/"
        self._prefix = self.prefix.encode()
        self.end = _text(self._prefix[:-1] + b"0")  # "0" is what follows "/"

    def encode(self, key: str) -> str:
        return _text(self._prefix + key.encode())

    def after(self, key: str) -> str:
        return _text(self._prefix + key.encode() + b"\0")

    def decode(self, text: str) -> str:
        """Raise PeerError if the key is not below the prefix."""
        key = b64decode(text)
        if not key.startswith(self._prefix):
            raise PeerError(f"etcd sent a key that is not below {self.prefix!r}: {key!r}")
        return key[len(self._prefix) :].decode()

    def range(self, start: str, limit: int, revision: Revision) -> JsonObject:
        """Ask for up to `limit` keys from `start` (encoded) on, as of `revision`; 0 is now."""
        return {"key": start, "range_end": self.end, "limit": limit, "revision": str(revision)}

    def page(self, answer: JsonObject) -> Page:
        items: dict[str, bytes] = {}
        versions: dict[str, KeyVersion] = {}
        for kv in answer.get("kvs", ()):
            key = self.decode(kv["key"])
            items[key] = b64decode(kv.get("value", ""))
            versions[key] = KeyVersion(int(kv["create_revision"]), int(kv["mod_revision"]))
        return Page(items, versions, answer.get("more", False))

    def transaction(self, request: Request) -> JsonObject:
        puts = [
            {"request_put": self._put(key, value, request.leases.get(key, 0))}
            for key, value in request.puts
        ]
        deletes = [{"request_delete_range": {"key": self.encode(key)}} for key in request.deletes]
        # A transaction that does nothing is answered by the member alone, however far behind
        # it is, unless there is something to read.
        read = {"request_range": {"key": self.encode(""), "count_only": True}}
        return {
            "compare": [self._compare(compare) for compare in request.compare],
            "success": [*puts, *deletes] or [read],
        }

    def progress(self, revision: Revision) -> JsonObject:
        """Put the progress key, unless it was put after `revision` already."""
        key = self.encode(PROGRESS_KEY)
        older = {
            "key": key, "target": "MOD", "result": "LESS", "mod_revision": str(revision + 1),
        }  # fmt: skip
        return {"compare": [older], "success": [{"request_put": {"key": key}}]}

    def watch(self, after_revision: Revision) -> JsonObject:
        """Watch every key; huge answers may come in fragments, and now and then an empty one."""
        create = {
            "key": self.encode(""),
            "range_end": self.end,
            "start_revision": str(after_revision + 1),
            "progress_notify": True,
            "fragment": True,
        }
        return {"create_request": create}

    def watch_answer(self, answer: JsonObject) -> WatchAnswer:
        return WatchAnswer(
            revision=header(answer).revision,
            events=tuple(self._event(event) for event in answer.get("events", ())),
            is_fragment=answer.get("fragment", False),
            is_created=answer.get("created", False),
            is_canceled=answer.get("canceled", False),
            compact_revision=int(answer.get("compact_revision", 0)),
            reason=answer.get("cancel_reason", ""),
        )

    def _compare(self, compare: Compare) -> JsonObject:
        target, field = _TARGETS[compare.kind]
        return {
            "key": self.encode(compare.key),
            "target": target,
            "result": "EQUAL",
            field: str(compare.revision),
        }

    def _put(self, key: str, value: bytes, lease: LeaseId) -> JsonObject:
        put: JsonObject = {"key": self.encode(key), "value": _text(value)}
        if lease:
            put["lease"] = str(lease)
        return put

    def _event(self, event: JsonObject) -> Event:
        kv = event["kv"]
        key, revision = self.decode(kv["key"]), int(kv["mod_revision"])
        if event.get("type") == "DELETE":
            return Event(revision, key, None, 0)
        value = b64decode(kv.get("value", ""))
        return Event(revision, key, value, int(kv["create_revision"]))


def header(answer: JsonObject) -> Header:
    """Raise PeerError if the answer has none."""
    try:
        found = answer["header"]
        return Header(int(found["cluster_id"]), int(found.get("revision", 0)))
    except (KeyError, TypeError, ValueError) as error:
        raise PeerError("an answer of etcd has no header") from error


def decode(text: bytes) -> JsonObject:
    """Raise PeerError if the text is no JSON object."""
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise PeerError(f"etcd did not answer in JSON: {text[:100]!r}") from error
    if not isinstance(answer, dict):
        raise PeerError(f"etcd did not answer with an object: {text[:100]!r}")
    return answer


def request_size(request: Request) -> int:
    """Return the bytes of the transaction as etcd counts them, rounded up."""
    compares = sum(len(compare.key.encode()) for compare in request.compare)
    puts = sum(len(key.encode()) + len(value) for key, value in request.puts)
    deletes = sum(len(key.encode()) for key in request.deletes)
    return compares + puts + deletes


def operation_count(request: Request) -> int:
    """Return what etcd limits: it counts compares, and what is to be done, each by themselves."""
    return max(len(request.compare), len(request.puts) + len(request.deletes))


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")
