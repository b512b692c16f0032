"""Whether the copies of a partition are the same, byte by byte, once nothing runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.cluster.cluster import Cluster


def content(folder: Path) -> bytes:
    """The batches of a partition in the order of their offsets, whatever segments they are in."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.log")))


def differences(
    cluster: Cluster, topic: str, partitions: int, replicas: int | None = None
) -> Iterator[str]:
    """A line for every copy that is not its first one's twin; nothing is written meanwhile.

    There must be as many copies as brokers, or as many as `replicas` says.
    """
    wanted = len(cluster.present) if replicas is None else replicas
    for partition in range(partitions):
        copies = {each.name: each.copy_of(topic, partition) for each in cluster.present}
        found = [(name, content(copy)) for name, copy in copies.items() if copy is not None]
        if len(found) == wanted:
            yield from _unlike(f"{topic}-{partition}", found)
        else:
            yield f"{topic}-{partition}: copies on {[name for name, _ in found]}, not {wanted}"


def _unlike(what: str, copies: Sequence[tuple[str, bytes]]) -> Iterator[str]:
    first, expected = copies[0]
    for other, found in copies[1:]:
        if found != expected:
            pairs = enumerate(zip(expected, found, strict=False))
            position = next((n for n, (a, b) in pairs if a != b), min(len(expected), len(found)))
            yield (
                f"{what}: {first} has {len(expected):,} bytes, {other} {len(found):,}; "
                f"they part at byte {position:,}"
            )
