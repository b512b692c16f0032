"""What every store promises, asked of a real etcd.

The cases are those of the embedded stores; time that a test moves, revisions
that are forgotten at once, and ten thousand keys in one transaction are not
etcd's, which `test_etcd.py` is about.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import count

import pytest
from tests.support.etcd import etcd_or_skip
from tests.unit.metadata import test_store_contract as contract
from tools.subject.etcd import Etcd

from ottla.broker.system import SocketNetwork
from ottla.metadata.etcd_options import EtcdOptions
from ottla.metadata.store import (
    Changes,
    Compare,
    KeyVersion,
    LeaseId,
    Put,
    Revision,
    Snapshot,
    Store,
    TransactResult,
)
from ottla.metadata.store_etcd import EtcdStore
from ottla.testing.clock import ManualClock

PREFIXES = count()

test_a_new_store_is_empty_at_revision_0 = contract.test_a_new_store_is_empty_at_revision_0
test_each_transaction_that_changes_something_raises_the_revision_by_one = (
    contract.test_each_transaction_that_changes_something_raises_the_revision_by_one
)
test_a_key_put_again_after_its_deletion_is_new = (
    contract.test_a_key_put_again_after_its_deletion_is_new
)
test_a_transaction_happens_only_if_every_compare_holds = (
    contract.test_a_transaction_happens_only_if_every_compare_holds
)
test_of_two_that_compare_with_the_same_revision_one_wins = (
    contract.test_of_two_that_compare_with_the_same_revision_one_wins
)
test_one_transaction_may_not_change_a_key_twice = (
    contract.test_one_transaction_may_not_change_a_key_twice
)
test_all_is_there_when_the_store_is_opened_again = (
    contract.test_all_is_there_when_the_store_is_opened_again
)
test_a_watch_sees_each_transaction_whole_and_in_order = (
    contract.test_a_watch_sees_each_transaction_whole_and_in_order
)
test_a_failed_transaction_is_not_seen_by_a_watch = (
    contract.test_a_failed_transaction_is_not_seen_by_a_watch
)
test_what_was_before_a_compacted_revision_is_forgotten = (
    contract.test_what_was_before_a_compacted_revision_is_forgotten
)
test_watches_end_when_the_store_closes = contract.test_watches_end_when_the_store_closes
test_a_key_put_again_without_its_lease_stays = contract.test_a_key_put_again_without_its_lease_stays
test_a_lost_compare_is_told_before_a_lost_lease = (
    contract.test_a_lost_compare_is_told_before_a_lost_lease
)
test_a_closed_store_refuses = contract.test_a_closed_store_refuses


class FromZero:
    """etcd's revisions less one that was there before: those that the contract speaks of."""

    def __init__(self, store: EtcdStore, base: Revision) -> None:
        self._store = store
        self._base = base

    async def load(self) -> Snapshot:
        snapshot = await self._store.load()
        versions = {
            key: KeyVersion(version.create_revision - self._base, version.mod_revision - self._base)
            for key, version in snapshot.versions.items()
        }
        return Snapshot(snapshot.revision - self._base, snapshot.items, versions)

    async def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        async for changes in self._store.watch(after_revision + self._base):
            puts = (
                Put(put.key, put.value, put.create_revision - self._base) for put in changes.puts
            )
            yield Changes(changes.revision - self._base, tuple(puts), changes.deletes)

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        moved = [
            each._replace(revision=each.revision + self._base if each.revision else 0)
            for each in compare
        ]
        result = await self._store.transact(moved, puts, deletes, leases=leases)
        return result._replace(revision=result.revision - self._base)

    async def compact(self, revision: Revision, /) -> None:
        await self._store.compact(revision + self._base)

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        return await self._store.grant_lease(ttl_ms)

    async def keep_alive(self, lease: LeaseId, /) -> None:
        await self._store.keep_alive(lease)

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        await self._store.revoke_lease(lease)

    async def close(self) -> None:
        await self._store.close()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    with etcd_or_skip() as etcd:
        yield etcd


async def within_a_minute(case: Awaitable[None]) -> None:
    """The store's own deadlines stand still, with the clock."""
    async with asyncio.timeout(60):
        await case


@pytest.fixture
def run(etcd: Etcd) -> Callable[[contract.Case], None]:
    """Run a case with a way to open the same store, time and again."""
    clock = ManualClock()
    options = EtcdOptions(endpoints=etcd.endpoints, prefix=f"/contract/{next(PREFIXES)}/")
    bases: list[Revision] = []

    async def open_store() -> Store:
        network = SocketNetwork(asyncio.get_running_loop())
        store = EtcdStore(options, network, clock)
        bases.append((await store.load()).revision)
        return FromZero(store, bases[0])

    def run_case(case: Callable[..., Awaitable[None]]) -> None:
        asyncio.run(within_a_minute(case(open_store, clock)))

    return run_case
