"""What every store promises, asked of each of the embedded ones."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ottla.metadata.store import (
    Changes,
    CompactedError,
    Compare,
    KeyVersion,
    LeaseNotFoundError,
    Put,
    RevisionKind,
    Snapshot,
    Store,
    TransactResult,
)
from ottla.metadata.store_feed import MAX_CHANGES
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.metadata.store_sqlite import SqliteStore
from ottla.model.errors import StorageError
from ottla.testing.clock import ManualClock

Open = Callable[[], Awaitable[Store]]
Case = Callable[[Open, ManualClock], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Case], None]:
    """Run a case with a way to open the same store, time and again."""
    clock = ManualClock()
    database = MemoryDatabase()

    async def open_store() -> Store:
        if request.param == "memory":
            return MemoryStore(clock, database)
        return await SqliteStore.open(str(tmp_path / "metadata.sqlite"), clock)

    return lambda case: asyncio.run(case(open_store, clock))


Run = Callable[[Case], None]


def test_a_new_store_is_empty_at_revision_0(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        assert await store.load() == Snapshot(0, {}, {})
        await store.close()

    run(case)


def test_each_transaction_that_changes_something_raises_the_revision_by_one(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        assert await store.transact([], [("b", b"1"), ("a", b"2")]) == TransactResult(True, 1)
        assert await store.transact([], [("b", b"3")]) == TransactResult(True, 2)
        assert await store.transact([], []) == TransactResult(True, 2)
        assert await store.transact([], [], ["nothing"]) == TransactResult(True, 2)
        snapshot = await store.load()
        assert snapshot == Snapshot(
            2, {"a": b"2", "b": b"3"}, {"a": KeyVersion(1, 1), "b": KeyVersion(1, 2)}
        )
        assert list(snapshot.items) == list(snapshot.versions) == ["a", "b"]
        await store.close()

    run(case)


def test_a_key_put_again_after_its_deletion_is_new(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        await store.transact([], [("a", b"")])
        assert await store.transact([], [], ["a"]) == TransactResult(True, 2)
        await store.transact([], [("a", b"")])
        assert (await store.load()).versions == {"a": KeyVersion(3, 3)}
        await store.close()

    run(case)


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        ([Compare("a", 2)], True),
        ([Compare("a", 1)], False),
        ([Compare("a", 0)], False),
        ([Compare("a", 3)], False),
        ([Compare("a", 1, RevisionKind.CREATED)], True),
        ([Compare("a", 2, RevisionKind.CREATED)], False),
        ([Compare("absent", 0)], True),
        ([Compare("absent", 1)], False),
        ([Compare("absent", 0, RevisionKind.CREATED)], True),
        ([Compare("a", 2), Compare("absent", 1)], False),
        ([Compare("a", 2), Compare("absent", 0)], True),
    ],
)
def test_a_transaction_happens_only_if_every_compare_holds(
    run: Run, compare: list[Compare], holds: bool
) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        await store.transact([], [("a", b"old")])
        await store.transact([], [("a", b"old")])
        result = await store.transact(compare, [("a", b"new")], ["other"])
        assert result == TransactResult(holds, 3 if holds else 2)
        assert (await store.load()).items == {"a": b"new" if holds else b"old"}
        await store.close()

    run(case)


def test_of_two_that_compare_with_the_same_revision_one_wins(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        results = await asyncio.gather(
            *(store.transact([Compare("a", 0)], [("a", b"%d" % i)]) for i in range(50))
        )
        assert sorted(result.ok for result in results) == [False] * 49 + [True]
        winner = [result.ok for result in results].index(True)
        assert (await store.load()).items == {"a": b"%d" % winner}
        await store.close()

    run(case)


def test_one_transaction_may_not_change_a_key_twice(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        with pytest.raises(ValueError, match="twice"):
            await store.transact([], [("a", b""), ("a", b"")])
        with pytest.raises(ValueError, match="twice"):
            await store.transact([], [("a", b"")], ["a"])
        with pytest.raises(ValueError, match="not put"):
            await store.transact([], [], ["a"], leases={"a": 1})
        assert (await store.load()).revision == 0
        await store.close()

    run(case)


def test_all_is_there_when_the_store_is_opened_again(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        await store.transact([], [("a", b"\x00\xff"), ("ž", b"")])
        await store.transact([], [("a", b"2")])
        before = await store.load()
        await store.close()
        store = await open_store()
        assert await store.load() == before
        assert await store.transact([], [("b", b"")]) == TransactResult(True, 3)
        await store.close()

    run(case)


def test_a_watch_sees_each_transaction_whole_and_in_order(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        await store.transact([], [("a", b"1"), ("b", b"1")])
        from_start = store.watch(0)
        from_now = store.watch(1)
        waiting = asyncio.ensure_future(anext(from_now))
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.transact([], [("c", b"2"), ("a", b"2")], ["b", "absent"])
        second = Changes(2, (Put("c", b"2", 2), Put("a", b"2", 1)), ("b",))
        assert await waiting == second
        assert await anext(from_start) == Changes(1, (Put("a", b"1", 1), Put("b", b"1", 1)), ())
        assert await anext(from_start) == second
        await store.close()

    run(case)


def test_a_failed_transaction_is_not_seen_by_a_watch(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        watch = store.watch(0)
        await store.transact([Compare("a", 7)], [("a", b"")])
        await store.transact([], [("b", b"")])
        assert (await anext(watch)).puts == (Put("b", b"", 1),)
        await store.close()

    run(case)


def test_watches_end_when_the_store_closes(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()

        watch = store.watch(0)
        await store.transact([], [("a", b"")])
        assert (await anext(watch)).revision == 1
        waiting = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0)
        await store.close()
        assert await waiting is None

    run(case)


def test_an_embedded_store_yields_what_was_done_before_it_closed(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()

        async def revisions() -> list[int]:
            return [changes.revision async for changes in store.watch(0)]

        watching = asyncio.ensure_future(revisions())
        await asyncio.sleep(0)
        await store.transact([], [("a", b"")])
        await store.close()
        assert await watching == [1]

    run(case)


def test_a_watch_that_fell_too_far_behind_is_told_so(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        slow = store.watch(0)
        await asyncio.gather(
            *(store.transact([], [("a", b"%d" % i)]) for i in range(MAX_CHANGES + 1))
        )
        with pytest.raises(CompactedError):
            await anext(slow)
        assert (await anext(store.watch(1))).revision == 2
        await store.close()

    run(case)


def test_what_was_before_a_compacted_revision_is_forgotten(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        for number in range(4):
            await store.transact([], [("a", b"%d" % number)])
        for revision in (3, 3, 1):
            await store.compact(revision)
        with pytest.raises(CompactedError):
            await anext(store.watch(1))
        assert (await anext(store.watch(2))).revision == 3
        assert (await store.load()).items == {"a": b"3"}
        await store.close()

    run(case)


def test_after_reopening_a_watch_from_the_loaded_revision_goes_on(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        await store.transact([], [("a", b"")])
        await store.close()
        store = await open_store()
        watch = store.watch((await store.load()).revision)
        await store.transact([], [("b", b"")])
        assert (await anext(watch)).revision == 2
        with pytest.raises(CompactedError):
            await anext(store.watch(0))
        await store.close()

    run(case)


def test_a_lease_that_runs_out_takes_its_keys_along_in_one_transaction(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        lease = await store.grant_lease(4_000)
        other = await store.grant_lease(9_000)
        await store.transact(
            [], [("b", b""), ("a", b""), ("c", b""), ("d", b"")],
            leases={"a": lease, "b": lease, "c": other},
        )  # fmt: skip
        watch = store.watch(1)
        clock.advance(3_999)
        assert len((await store.load()).items) == 4
        clock.advance(1)
        assert await anext(watch) == Changes(2, (), ("a", "b"))
        assert list((await store.load()).items) == ["c", "d"]
        with pytest.raises(LeaseNotFoundError):
            await store.keep_alive(lease)
        with pytest.raises(LeaseNotFoundError):
            await store.transact([], [("a", b"")], leases={"a": lease})
        assert (await store.load()).revision == 2
        await store.close()

    run(case)


def test_a_lease_kept_alive_runs_its_full_time_again(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        lease = await store.grant_lease(4_000)
        await store.transact([], [("a", b"")], leases={"a": lease})
        for _ in range(10):
            clock.advance(3_999)
            await store.keep_alive(lease)
        clock.advance(3_999)
        assert list((await store.load()).items) == ["a"]
        clock.advance(1)
        assert list((await store.load()).items) == []
        await store.close()

    run(case)


def test_a_key_put_again_without_its_lease_stays(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        lease = await store.grant_lease(4_000)
        await store.transact([], [("a", b""), ("b", b"")], leases={"a": lease, "b": lease})
        await store.transact([], [("a", b"")])
        await store.revoke_lease(lease)
        await store.revoke_lease(lease)
        assert list((await store.load()).items) == ["a"]
        assert (await store.load()).revision == 3
        await store.close()

    run(case)


def test_a_lease_outlives_the_store_and_starts_anew_with_it(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        lease = await store.grant_lease(4_000)
        await store.transact([], [("a", b"")], leases={"a": lease})
        clock.advance(3_000)
        await store.close()
        clock.advance(10_000)
        store = await open_store()
        clock.advance(3_999)
        assert list((await store.load()).items) == ["a"]
        clock.advance(1)
        assert list((await store.load()).items) == []
        assert await store.grant_lease(1) != lease
        await store.close()

    run(case)


def test_a_lost_compare_is_told_before_a_lost_lease(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        result = await store.transact([Compare("a", 1)], [("a", b"")], leases={"a": 99})
        assert result == TransactResult(False, 0)
        await store.close()

    run(case)


def test_a_closed_store_refuses(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        await store.close()
        await store.close()
        with pytest.raises(StorageError, match="closed"):
            await store.transact([], [("a", b"")])
        with pytest.raises(StorageError, match="closed"):
            await store.load()

    run(case)


def test_ten_thousand_keys_in_one_transaction(run: Run) -> None:
    async def case(open_store: Open, clock: ManualClock) -> None:
        store = await open_store()
        puts = [(f"partition/{i:05}", b"x" * 100) for i in range(10_000)]
        await store.transact([], puts)
        await store.close()
        store = await open_store()
        assert list((await store.load()).items.items()) == puts
        await store.close()

    run(case)
