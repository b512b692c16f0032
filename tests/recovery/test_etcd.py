"""The store on a real etcd that dies, stalls, forgets, is restored, and asks who is there."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.etcd import etcd_or_skip, follower_of, opened, options, until_done
from tools.subject.etcd import Etcd

from ottla.metadata.store import (
    CompactedError,
    Compare,
    LeaseNotFoundError,
    TooLargeError,
)
from ottla.metadata.store_etcd import MAX_OPERATIONS
from ottla.model.errors import PeerError, StorageError


@pytest.fixture(scope="module")
def shared() -> Iterator[Etcd]:
    """One member for the tests that leave it as it is."""
    with etcd_or_skip() as etcd:
        yield etcd


def test_a_lease_kept_alive_stays_and_one_left_alone_takes_its_keys_along(shared: Etcd) -> None:
    async def case() -> None:
        given = options(shared)
        async with opened(given) as store, opened(given) as other:
            kept, left = await store.grant_lease(1_000), await store.grant_lease(1_000)
            done = await store.transact(
                [], [("kept", b""), ("a", b""), ("b", b"")],
                leases={"kept": kept, "a": left, "b": left},
            )  # fmt: skip
            watch = other.watch(done.revision)
            gone = asyncio.ensure_future(anext(watch))
            while not gone.done():
                await store.keep_alive(kept)
                await asyncio.wait([gone], timeout=0.1)
            while (changes := gone.result()).deletes == ():
                gone = asyncio.ensure_future(anext(watch))
                await gone
            assert (sorted(changes.deletes), changes.puts) == (["a", "b"], ())
            assert list((await store.load()).items) == ["kept"]
            with pytest.raises(LeaseNotFoundError):
                await store.keep_alive(left)
            with pytest.raises(LeaseNotFoundError):
                await store.transact([], [("a", b"")], leases={"a": left})
            await store.revoke_lease(left)
            await store.revoke_lease(kept)
            assert (await store.load()).items == {}

    asyncio.run(case())


def test_what_etcd_would_refuse_as_too_large_is_refused_before(shared: Etcd) -> None:
    async def case() -> None:
        async with opened(options(shared)) as store:
            puts = [(str(n), b"x") for n in range(MAX_OPERATIONS)]
            compare = [Compare(str(n), 0) for n in range(MAX_OPERATIONS)]
            assert (await store.transact(compare, puts)).ok
            with pytest.raises(TooLargeError, match="129 operations"):
                await store.transact([], puts, ["another"])
            with pytest.raises(TooLargeError, match="129 operations"):
                await store.transact([*compare, Compare("another", 0)], [])
            assert (await store.transact([], [("big", bytes(1_499_000))])).ok
            with pytest.raises(TooLargeError, match="bytes"):
                await store.transact([], [("big", bytes(1_500_000))])
            assert len((await store.load()).items) == MAX_OPERATIONS + 1

    asyncio.run(case())


def test_a_load_of_many_pages_is_of_one_revision(shared: Etcd) -> None:
    async def case() -> None:
        given = options(shared)
        async with opened(given) as store, opened(given) as other:
            names = [f"{n:05}" for n in range(2_500)]
            for start in range(0, len(names), 100):
                await store.transact([], [(name, b"0") for name in names[start : start + 100]])

            async def write() -> None:
                for n in range(50):
                    value = b"%d" % n
                    await other.transact([], [(names[0], value), (names[-1], value)])

            writing = asyncio.ensure_future(write())
            loads = 0
            while not writing.done():
                snapshot = await store.load()
                loads += 1
                assert list(snapshot.items) == names
                assert snapshot.items[names[0]] == snapshot.items[names[-1]]
            await writing
            assert loads > 1

    asyncio.run(case())


def test_big_changes_come_whole(shared: Etcd) -> None:
    """Six transactions of 1.3 MB that wait for the watch: etcd cuts them into fragments."""

    async def case() -> None:
        async with opened(options(shared)) as store:
            before = (await store.load()).revision
            puts = [(f"{n:03}", bytes([n]) * 10_240) for n in range(MAX_OPERATIONS)]
            for _ in range(6):
                done = await store.transact([], puts)
            watch, seen = store.watch(before), []
            while not seen or seen[-1].revision < done.revision:
                seen.append(await anext(watch))
            for changes in seen:
                if changes.puts:
                    assert [(put.key, put.value) for put in changes.puts] == puts
            assert sum(bool(changes.puts) for changes in seen) == 6

    asyncio.run(case())


def test_a_watch_hears_of_revisions_that_are_not_ours(shared: Etcd) -> None:
    async def case() -> None:
        async with opened(options(shared)) as store, opened(options(shared)) as stranger:
            follower = await follower_of(store)
            await stranger.transact([], [("a", b"")])
            nothing = await store.transact([], [], ["absent"])
            await follower.reached(nothing.revision)
            assert all(not changes.puts for changes in follower.changes)
            assert (await store.load()).items == {}

    asyncio.run(case())


def test_a_watch_from_a_compacted_revision_is_told_so(shared: Etcd) -> None:
    async def case() -> None:
        async with opened(options(shared)) as store:
            first = await store.transact([], [("a", b"1")])
            follower = await follower_of(store)
            last = await store.transact([], [("a", b"2")])
            await store.compact(last.revision)
            await store.compact(last.revision)
            with pytest.raises(CompactedError):
                await anext(store.watch(first.revision - 1))
            again = await store.transact([], [("a", b"3")])
            await follower.reached(again.revision)
            assert follower.items == (await store.load()).items == {"a": b"3"}

    asyncio.run(case())


def test_a_watch_that_was_away_while_its_revision_was_compacted_is_told_so() -> None:
    async def case(etcd: Etcd) -> None:
        first, second, _ = etcd.members
        here = options(etcd, endpoints=[first.url])
        there = options(etcd, endpoints=[second.url], prefix=here.prefix, call_timeout_ms=1_500)
        async with opened(here) as store, opened(there) as other:
            follower = await follower_of(store)
            done = await store.transact([], [("a", b"1")])
            await follower.reached(done.revision)
            first.kill9()
            await until_done(lambda: other.transact([], [("a", b"2")]))
            last = await until_done(lambda: other.transact([], [("b", b"3")]))
            await other.compact(last.revision)
            await asyncio.to_thread(first.start)
            assert isinstance(await follower.failure(), CompactedError)
            assert (await store.load()).items == {"a": b"2", "b": b"3"}

    with etcd_or_skip(3) as etcd:
        asyncio.run(case(etcd))


def test_kill_9_and_restart_in_the_middle_of_watches_and_transactions() -> None:
    async def case(etcd: Etcd) -> None:
        (member,) = etcd.members
        async with opened(options(etcd)) as store:
            follower = await follower_of(store)
            acknowledged: dict[int, int] = {}
            stop = asyncio.Event()

            async def write(name: str) -> None:
                n = 0
                while not stop.is_set():
                    n += 1
                    try:
                        done = await store.transact([], [(name, b"%d" % n), ("all", b"")])
                        acknowledged[done.revision] = n
                    except PeerError:
                        await asyncio.sleep(0)

            writers = [asyncio.ensure_future(write(name)) for name in "abc"]
            for _ in range(2):
                await follower.reached(follower.revisions[-1] + 20)
                member.kill9()
                await asyncio.to_thread(member.start)
            await follower.reached(follower.revisions[-1] + 20)
            stop.set()
            await asyncio.gather(*writers)
            snapshot = await store.load()
            await follower.reached(snapshot.revision)
            assert follower.items == snapshot.items
            by_revision = {changes.revision: changes for changes in follower.changes}
            for revision, n in acknowledged.items():
                values = [put.value for put in by_revision[revision].puts if put.key != "all"]
                assert values == [b"%d" % n]
            for changes in follower.changes:
                assert [put.key for put in changes.puts][1:] in ([], ["all"])

    with etcd_or_skip() as etcd:
        asyncio.run(case(etcd))


def test_an_etcd_that_stalls_makes_transactions_fail_and_watches_wait() -> None:
    async def case(etcd: Etcd) -> None:
        (member,) = etcd.members
        async with opened(options(etcd, call_timeout_ms=300)) as store:
            lease = await store.grant_lease(60_000)
            follower = await follower_of(store)
            member.pause()
            with pytest.raises(PeerError, match="300 ms"):
                await store.transact([], [("a", b"1")])
            with pytest.raises(PeerError):
                await store.keep_alive(lease)
            with pytest.raises(PeerError):
                await store.load()
            member.resume()
            await until_done(lambda: store.transact([], [("b", b"2")]))
            await until_done(lambda: store.keep_alive(lease))
            snapshot = await store.load()  # perhaps with "a"
            await follower.reached(snapshot.revision)
            assert follower.items == snapshot.items
            assert follower.items["b"] == b"2"

    with etcd_or_skip() as etcd:
        asyncio.run(case(etcd))


def test_when_a_member_stalls_or_the_leader_dies_the_others_are_asked() -> None:
    async def case(etcd: Etcd) -> None:
        given = options(etcd, endpoints=[etcd.leader().url, *etcd.endpoints])
        async with opened(given) as store:
            lease = await store.grant_lease(20_000)
            done = await store.transact([], [("a", b"1")], leases={"a": lease})
            follower = await follower_of(store)
            stalled = etcd.leader()
            stalled.pause()
            await store.keep_alive(lease)
            done = await until_done(lambda: store.transact([], [("b", b"2")]))
            await follower.reached(done.revision)
            stalled.resume()
            leader = await asyncio.to_thread(etcd.leader)
            leader.kill9()
            await store.keep_alive(lease)
            done = await until_done(lambda: store.transact([], [("c", b"3")]))
            await follower.reached(done.revision)
            assert follower.items == {"a": b"1", "b": b"2", "c": b"3"}

    with etcd_or_skip(3) as etcd:
        asyncio.run(case(etcd))


@pytest.mark.parametrize("after", [0, 8])
def test_an_etcd_restored_from_a_backup_is_refused(
    after: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`after` so many transactions of others its revision is no lower than what was seen."""

    async def case(etcd: Etcd) -> None:
        (member,) = etcd.members
        given = options(etcd)
        async with opened(given) as store:
            await store.transact([], [("a", b"1")])
            etcd.control("snapshot", "save", str(tmp_path / "backup"))
            for _ in range(3):
                await store.transact([], [("a", b"2")])
            follower = await follower_of(store)
            member.kill9()
            etcd.restore(tmp_path / "backup")
            await asyncio.to_thread(member.launch)
            if after:
                async with opened(given) as other:
                    for n in range(after):
                        await other.transact([], [(f"b{n}", b"")])
            error = await follower.failure()
            assert isinstance(error, StorageError), error
            with pytest.raises(StorageError, match="refused until"):
                await store.load()
            with pytest.raises(StorageError, match="refused until"):
                await store.transact([], [("a", b"")])

    with etcd_or_skip() as etcd, caplog.at_level(logging.ERROR, "ottla.metadata"):
        asyncio.run(case(etcd))
    assert [
        record.message
        for record in caplog.records
        if "went back" in record.message or "another" in record.message
    ]
