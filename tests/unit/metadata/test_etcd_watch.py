"""A watch whose connections break, stall, lie, and bring revisions in pieces."""

import asyncio
from typing import Any

import pytest
from tests.support.etcd_world import PREFIX, EtcdWorld, play
from tests.support.fake_etcd import Stream, header, key_of, ok, put_event, refusal, text

from ottla.metadata.store import Changes, CompactedError, Put
from ottla.model.errors import StorageError

COMPACTED = "etcdserver: mvcc: required revision has been compacted"


def event(key: str, revision: int, value: bytes = b"v") -> dict[str, Any]:
    return put_event(PREFIX + key, revision, value)


def deletion(key: str, revision: int) -> dict[str, Any]:
    kv = {"key": text((PREFIX + key).encode()), "mod_revision": str(revision)}
    return {"type": "DELETE", "kv": kv}


def changes(revision: int, *keys: str) -> Changes:
    return Changes(revision, tuple(Put(key, b"v", revision) for key in keys), ())


def remembers(world: EtcdWorld, revisions: dict[str, int], now: int = 100) -> None:
    """Every member has these keys at these revisions."""

    def answer(path: str, body: Any) -> bytes:
        if path != "kv/range":
            return ok({"header": header(now), "succeeded": True})
        key = key_of(body).removeprefix(PREFIX)
        found = [event(key, revisions[key])["kv"]] if key in revisions else []
        return ok({"header": header(now), "kvs": found})

    for etcd in world.etcds:
        etcd.answer = answer


async def created(world: EtcdWorld, member: int = 0) -> tuple[int, Stream]:
    """Return where the next watch of a member starts, and its stream, which is begun."""
    request, stream = await world.etcds[member].streams.get()
    assert request["progress_notify"] is True
    assert request["fragment"] is True
    assert world.etcds[member].headers[-1]["grpc-metadata-hasleader"] == "true"
    stream.send(created=True)
    return int(request["start_revision"]), stream


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_lost_between_fragments_costs_nothing_and_doubles_nothing(seed: int) -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {"a": 1})
        watch = world.watch(world.client(), 0).changes()
        first = asyncio.ensure_future(anext(watch))
        start, stream = await created(world)
        assert start == 1
        stream.send(events=[event("a", 1), event("b", 2)], fragment=True)
        assert await first == changes(1, "a")
        second = asyncio.ensure_future(anext(watch))
        stream.close()
        start, stream = await created(world)
        assert start == 2
        stream.send(events=[event("b", 2)], fragment=True)
        stream.send(events=[event("c", 2)])
        stream.send(events=[deletion("c", 5), event("a", 5)])
        assert await second == changes(2, "b", "c")
        assert await anext(watch) == Changes(5, (Put("a", b"v", 5),), ("c",))
        await watch.aclose()

    play(case, seed=seed)


def test_a_watch_goes_on_at_the_next_member() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {"a": 7})
        watch = world.watch(world.client(), 6).changes()
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world, 0)
        stream.send(events=[event("a", 7)])
        assert await seen == changes(7, "a")
        seen = asyncio.ensure_future(anext(watch))
        world.network.die("10.0.0.11", silently=False)
        start, stream = await created(world, 1)
        assert start == 8
        stream.send(events=[event("b", 9)])
        assert await seen == changes(9, "b")
        await watch.aclose()

    play(case, members=2)


@pytest.mark.parametrize(
    "end",
    [
        {"canceled": True, "cancel_reason": "etcdserver: no leader"},
        b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}\n',
        b'{"error":{"code":16,"message":"etcdserver: invalid auth token"}}\n',
        b"not json\n",
        b"[]\n",
        b'{"result":{}}\n',
    ],
)
def test_whatever_ends_a_watch_it_is_made_again(end: dict[str, Any] | bytes) -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {})
        watch = world.watch(world.client(), 0).changes()
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world)
        if isinstance(end, bytes):
            stream.send_bytes(end)
        else:
            stream.send(**end)
        _, stream = await created(world)
        stream.send(events=[event("a", 1)])
        assert await seen == changes(1, "a")
        await watch.aclose()

    play(case)


def test_a_watch_that_asks_for_what_is_forgotten_is_told_so() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {})
        seen = asyncio.ensure_future(anext(world.watch(world.client(), 3).changes()))
        _, stream = await created(world)
        stream.send(canceled=True, compact_revision="50")
        with pytest.raises(CompactedError, match="up to revision 50"):
            await seen

    play(case)


def test_changes_that_come_too_late_are_a_reason_to_load_again() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {})
        watch = world.watch(world.client(), 0).changes()
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world)
        stream.send(events=[event("a", 4)])
        stream.send(events=[event("b", 4)])
        assert await seen == changes(4, "a")
        with pytest.raises(CompactedError, match="missing"):
            await anext(watch)

    play(case)


@pytest.mark.parametrize("remembered", [{"a": 4}, {}])
def test_an_etcd_with_another_history_is_noticed_when_the_watch_is_made_again(
    remembered: dict[str, int],
) -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {"a": 5})
        client = world.client()
        watch = world.watch(client, 0).changes()
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world)
        stream.send(events=[event("a", 5)])
        await seen
        remembers(world, remembered)
        stream.close()
        with pytest.raises(StorageError, match="another one"):
            await anext(watch)
        asked, body = world.etcds[0].asked[-1]
        assert (asked, key_of(body), body["revision"]) == ("kv/range", PREFIX + "a", "5")

    play(case)


def test_a_watch_that_went_on_beyond_what_is_forgotten_goes_on() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {"a": 5})
        (etcd,) = world.etcds
        watch = world.watch(world.client(), 0).changes()
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world)
        stream.send(events=[event("a", 5)])
        await seen
        seen = asyncio.ensure_future(anext(watch))
        remembered = etcd.answer
        etcd.answer = lambda path, body: (
            refusal(11, COMPACTED) if body["revision"] == "5" else remembered(path, body)
        )
        stream.close()
        start, stream = await created(world)
        assert start == 6
        stream.send(events=[event("b", 9)])
        assert await seen == changes(9, "b")
        await watch.aclose()

    play(case)


def test_every_watch_hears_that_etcd_is_another_one() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {}, now=5)
        store = world.store()
        watching = [asyncio.ensure_future(anext(store.watch(5))) for _ in range(2)]
        for _ in watching:
            await created(world)
        world.etcds[0].answer = lambda path, body: ok({"header": header(5, cluster_id=8)})
        await asyncio.sleep(5)
        for each in watching:
            with pytest.raises(StorageError, match="cluster id was 7 and is 8"):
                await each

    play(case)


def test_a_silent_watch_is_made_anew_elsewhere_when_it_lags() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {}, now=9)
        store = world.store(progress_interval_ms=1_000, watch_timeout_ms=3_000)
        watch = store.watch(5)
        seen = asyncio.ensure_future(anext(watch))
        await created(world, 0)
        start, stream = await created(world, 1)
        assert start == 6
        assert 3.0 < world.seconds() < 6.0
        progress = [body for path, body in world.etcds[0].asked if path == "kv/txn"]
        assert progress, "the progress key was not put"
        assert {key_of(body["compare"][0]) for body in progress} == {PREFIX + "_progress"}
        stream.send(events=[event("_progress", 10)])
        assert await seen == Changes(10, (), ())
        await watch.aclose()

    play(case, members=2)


def test_a_watch_that_is_always_a_little_behind_keeps_its_connection() -> None:
    async def case(world: EtcdWorld) -> None:
        now = 5

        def answer(path: str, body: Any) -> bytes:
            return ok({"header": header(now + 3), "succeeded": True})

        world.etcds[0].answer = answer
        store = world.store(progress_interval_ms=1_000, watch_timeout_ms=3_000)
        watch = store.watch(4)
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world)
        for _ in range(30):
            stream.send(events=[event("a", now)])
            assert await seen == changes(now, "a")
            now += 1
            seen = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(2)
        assert world.etcds[0].streams.empty()
        await store.close()
        await asyncio.wait([seen])

    play(case)


def test_a_watch_nobody_reads_from_is_left_alone() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {}, now=9)
        store = world.store(progress_interval_ms=1_000, watch_timeout_ms=3_000)
        watch = store.watch(5)
        seen = asyncio.ensure_future(anext(watch))
        _, stream = await created(world)
        stream.send(events=[event("a", 6)])
        await seen
        await asyncio.sleep(60)
        assert world.etcds[0].streams.empty()
        assert not [path for path, _ in world.etcds[0].asked if path == "kv/txn"]
        await watch.aclose()

    play(case)


def test_a_watch_that_is_where_etcd_is_puts_nothing() -> None:
    async def case(world: EtcdWorld) -> None:
        remembers(world, {}, now=5)
        store = world.store()
        watch = store.watch(5)
        seen = asyncio.ensure_future(anext(watch, None))
        await created(world)
        await asyncio.sleep(600)
        assert {path for path, _ in world.etcds[0].asked} == {"kv/range", "watch"}
        assert len(world.etcds[0].asked) < 610
        await store.close()
        assert await seen is None

    play(case)


def test_a_watch_waits_for_etcd_to_come_back_and_ends_when_closed() -> None:
    async def case(world: EtcdWorld) -> None:
        for host in world.hosts:
            world.network.die(host, silently=True)
        store = world.store()
        seen = asyncio.ensure_future(anext(store.watch(0), None))
        await asyncio.sleep(3_600)
        assert not seen.done()
        await store.close()
        assert await seen is None

    play(case, members=3)
