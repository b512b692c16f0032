"""What the real Kafka answered, kept; and comparing with it.

`tests/goldens/versions/answers.json.xz`: world -> API -> version -> case ->
[kind, answer]. The kind is what the request was meant to get: "good", "bad", or
"" for either.
"""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.versions.talk import CLOSED, NEVER, Told

FILE = Path(__file__).parents[2] / "goldens" / "versions" / "answers.json.xz"

Answers = dict[str, dict[str, dict[str, dict[str, tuple[str, Any]]]]]


def read() -> Answers:
    answers: Answers = json.loads(lzma.decompress(FILE.read_bytes()))
    return answers


def write(answers: Answers) -> None:
    text = json.dumps(answers, indent=0, ensure_ascii=False)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def plain(told: list[Told]) -> dict[str, tuple[str, Any]]:
    """As `read` gives it back."""
    return {one.case: (one.kind, one.answer) for one in told}


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every field that is not equal: (its path, theirs, ours)."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in {**theirs, **ours}:
            inner = f"{path}.{name}" if path else name
            yield from differences(theirs.get(name), ours.get(name), inner)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (their, our) in enumerate(zip(theirs, ours)):
            yield from differences(their, our, f"{path}[{index}]")
    elif theirs != ours:
        yield path, theirs, ours


UNORDERED = frozenset(
    {
        "CREATE_PARTITIONS",
        "CREATE_TOPICS",
        "DELETE_GROUPS",
        "DELETE_TOPICS",
        "DESCRIBE_CONFIGS",
        "DESCRIBE_GROUPS",
        "DESCRIBE_LOG_DIRS",
        "LIST_OFFSETS",
        "PRODUCE",
    }
)
"""APIs whose answers Kafka gives in the order of a hash map, or of threads."""


def compared(api: str, theirs: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    """The `differences` of two answers, their order left out where Kafka's is a hash map's."""
    if api in UNORDERED:
        theirs, ours = in_order(theirs), in_order(ours)
    yield from differences(theirs, ours)


def in_order(answer: Any) -> Any:
    """An answer with every list of dicts sorted by its names and numbers."""
    if isinstance(answer, dict):
        return {name: in_order(value) for name, value in answer.items()}
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return sorted((in_order(item) for item in answer), key=_identity)
    return answer


def _identity(item: dict[str, Any]) -> tuple[Any, ...]:
    names = ("name", "topic", "topic_id", "group_id", "resource_name", "key")
    numbers = ("resource_type", "partition_index", "partition", "index")
    return (
        *(str(item.get(name, "")) for name in names),
        *(item.get(name, -1) for name in numbers),
    )


def codes(answer: Any) -> Iterator[int]:
    """Every error code in a kept answer."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in ("error_code", "partition_error_code"):
                yield value
            else:
                yield from codes(value)
    elif isinstance(answer, list):
        for item in answer:
            yield from codes(item)


def fits(kind: str, answer: Any) -> bool:
    """Whether an answer is of the kind the request was meant to get."""
    failed = answer in (CLOSED, NEVER) or any(codes(answer))
    return not kind or failed == (kind == "bad")
