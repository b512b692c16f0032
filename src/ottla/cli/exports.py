"""What a data directory holds, as JSON: written on one machine, read on another."""

import json
from collections.abc import Iterable
from typing import Any

from ottla.model.holdings import HeldLog, Holdings, MetadataCopy
from ottla.model.ids import uuid_from_text, uuid_text

VERSION = 1


def export_text(holdings: Iterable[Holdings]) -> str:
    """One file for the directories of a machine."""
    return json.dumps(
        {"ottla_export": VERSION, "directories": [_encoded(each) for each in holdings]}
    )


def parse_export(text: str) -> list[Holdings]:
    """Raise ValueError unless `text` is an export of ours."""
    try:
        content = json.loads(text)
        if content["ottla_export"] != VERSION:
            raise ValueError(f"version {content['ottla_export']}, not {VERSION}")
        return [_decoded(each) for each in content["directories"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not from `ottla cluster export-metadata`: {error}") from None


def _encoded(holdings: Holdings) -> dict[str, Any]:
    logs = [
        {**each._asdict(), "topic_id": each.topic_id and uuid_text(each.topic_id)}
        for each in holdings.logs
    ]
    copy = holdings.copy
    return {
        **holdings._asdict(),
        "directory_id": uuid_text(holdings.directory_id),
        "logs": logs,
        "copy": copy
        and {**copy._asdict(), "keys": {k: json.loads(v) for k, v in copy.keys.items()}},
    }


def _decoded(content: dict[str, Any]) -> Holdings:
    logs = [
        HeldLog(**{**each, "topic_id": each["topic_id"] and uuid_from_text(each["topic_id"])})
        for each in content["logs"]
    ]
    copy = content["copy"]
    if copy is not None:
        keys = {
            key: json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
            for key, value in copy["keys"].items()
        }
        copy = MetadataCopy(**{**copy, "keys": keys})
    return Holdings(
        **{
            **content,
            "directory_id": uuid_from_text(content["directory_id"]),
            "logs": tuple(logs),
            "copy": copy,
            "problems": tuple(content["problems"]),
        }
    )
