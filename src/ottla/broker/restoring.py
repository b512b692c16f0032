"""Rebuilt metadata, written to a store: in portions, and there for brokers only with the last one.

The key `cluster` goes first and comes last; without it a broker that has data does not start. Who
is interrupted begins anew.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from ottla.metadata import changes
from ottla.metadata.changes import BROKERS, CLUSTER, REBUILDING
from ottla.metadata.rebuild import Rebuilt
from ottla.metadata.store import Compare, Revision, Snapshot, Store
from ottla.model.errors import StorageError
from ottla.model.holdings import MetadataCopy
from ottla.model.ids import BrokerId

T = TypeVar("T")


class Found(NamedTuple):
    """What is in a store."""

    copy: MetadataCopy | None
    """None: nobody's metadata."""
    alive: tuple[BrokerId, ...]
    """Brokers whose lease has not run out."""
    foreign: int
    """Keys, where there is no cluster they could belong to."""
    is_unfinished: bool
    """An earlier rebuilding was interrupted."""
    revisions: dict[str, Revision]


async def look(store: Store) -> Found:
    """Raises PeerError, StorageError."""
    snapshot: Snapshot = await store.load()
    copy = changes.as_copy(snapshot, store.identity)
    alive = sorted(
        int(key.removeprefix(BROKERS)) for key in snapshot.items if key.startswith(BROKERS)
    )
    return Found(
        copy,
        tuple(alive),
        len(snapshot.items) if copy is None else 0,
        REBUILDING in snapshot.items,
        {key: version.mod_revision for key, version in snapshot.versions.items()},
    )


async def write(store: Store, found: Found, rebuilt: Rebuilt) -> None:
    """Leave exactly the rebuilt keys in the store.

    Raises:
        StorageError: somebody else wrote meanwhile.
        PeerError: the store could not be reached; begin anew.
    """
    revisions = found.revisions
    before = found.copy or MetadataCopy(rebuilt.cluster_id, 0, "", 0, 0, {}, {})
    unchanged = [Compare(key, revisions.get(key, 0)) for key in (CLUSTER, REBUILDING)]
    begun = await _transact(
        store,
        unchanged,
        [changes.rebuilding_key(before)],
        [CLUSTER] if CLUSTER in revisions else [],
    )
    ours = [Compare(REBUILDING, begun), Compare(CLUSTER, 0)]
    puts = [each for each in rebuilt.keys.items() if each[0] != CLUSTER]
    kept = {*rebuilt.keys, CLUSTER, REBUILDING}
    gone = sorted(set(revisions) - kept, reverse=True)  # "topic/..." before its "partition/..."
    limit = min(store.max_keys - len(ours), 1_000)
    for some in _cut(puts, limit):
        await _transact(store, ours, some, [])
    for keys in _cut(gone, limit):
        await _transact(store, ours, [], keys)
    await _transact(store, ours, [(CLUSTER, rebuilt.keys[CLUSTER])], [REBUILDING])


async def _transact(
    store: Store,
    compare: Iterable[Compare],
    puts: Iterable[changes.KeyValue],
    deletes: Iterable[str],
) -> Revision:
    result = await store.transact(compare, puts, deletes)
    if not result.ok:
        raise StorageError(
            "somebody else wrote to the metadata store meanwhile: is a broker running? Stop it, "
            "and run this again"
        )
    return result.revision


def _cut(keys: Sequence[T], limit: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(keys), limit):
        yield keys[start : start + limit]
