"""`ottla-metadata-copy`: the metadata as a broker followed it last, beside `meta.properties`.

The metadata is in etcd. Should etcd's data be lost, this has what logs do not know: settings,
which brokers are to have a replica, topics without records. It also says from which store it
is and how far that was, so that a store that went back is noticed. Text, a key a line:

    {"version":1,"cluster_id":..,"generation":..,"identity":..,"revision":..,"decisions":..,
     "keys":n,"crc32c":..}                                      (in one line)
    ["<key>",<its JSON value>,<of a partition: the revision at which it was put>]
"""

import json

from ottla.model.holdings import MetadataCopy
from ottla.record.checksum import crc32c
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk

FILE = "ottla-metadata-copy"
VERSION = 1

_to_json = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def copy_line(key: str, value: bytes, revision: int = 0) -> bytes:
    """One key; its value is JSON."""
    return b"[%s,%s,%d]\n" % (_to_json(key).encode(), value, revision)


def copy_text(head: MetadataCopy, lines: list[bytes]) -> bytes:
    """The file; `lines` are the keys of `head`, whose own are not looked at."""
    body = b"".join(lines)
    first = {
        "version": VERSION,
        "cluster_id": head.cluster_id,
        "generation": head.generation,
        "identity": head.identity,
        "revision": head.revision,
        "decisions": head.decisions,
        "keys": len(lines),
        "crc32c": crc32c(body),
    }
    return _to_json(first).encode() + b"\n" + body


def _parse_head(data: bytes) -> MetadataCopy:
    """The copy without its keys. Raise CheckpointError unless `data` is a whole copy."""
    first, _, body = data.partition(b"\n")
    try:
        head = json.loads(first)
        if head["version"] != VERSION:
            raise CheckpointError(f"version {head['version']}, not {VERSION}")
        if head["crc32c"] != crc32c(body):
            raise CheckpointError("its checksum is wrong")
        return MetadataCopy(
            head["cluster_id"],
            head["generation"],
            head["identity"],
            head["revision"],
            head["decisions"],
            {},
            {},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"not a copy of metadata: {error}") from None


def parse_copy(data: bytes) -> MetadataCopy:
    """Raise CheckpointError unless `data` is a whole copy."""
    head = _parse_head(data)
    try:
        keys: dict[str, bytes] = {}
        revisions: dict[str, int] = {}
        for line in data.splitlines()[1:]:
            key, value, revision = json.loads(line)
            keys[key] = _to_json(value).encode()
            if revision:
                revisions[key] = revision
        return head._replace(keys=keys, revisions=revisions)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"not a copy of metadata: {error}") from None


def read_copy(disk: Disk, root: str) -> MetadataCopy | None:
    """The copy in a log directory; None: there is none.

    Raises:
        CheckpointError: it cannot be used.
        OSError: it cannot be read.
    """
    try:
        return parse_copy(disk.read(f"{root}/{FILE}"))
    except FileNotFoundError:
        return None
