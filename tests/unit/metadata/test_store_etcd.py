"""What the store asks of etcd, and what it makes of the answers."""

import asyncio
import logging
from typing import Any

import pytest
from tests.support.etcd_world import PREFIX, EtcdWorld, always, play
from tests.support.fake_etcd import header, key_of, ok, put_event, refusal, text

from ottla.metadata.etcd_messages import Keys
from ottla.metadata.etcd_options import EtcdOptions
from ottla.metadata.store import (
    Compare,
    KeyVersion,
    LeaseNotFoundError,
    RevisionKind,
    TooLargeError,
    TransactResult,
)
from ottla.metadata.store_etcd import FIRST_PAGE_KEYS, LOADS, PAGE_KEYS
from ottla.model.errors import PeerError, StorageError

COMPACTED = refusal(11, "etcdserver: mvcc: required revision has been compacted")


def kv(key: str, revision: int) -> dict[str, Any]:
    found: dict[str, Any] = put_event(PREFIX + key, revision, b"v")["kv"]
    return found


def encoded(key: str) -> str:
    return text((PREFIX + key).encode())


STATUS = "maintenance/status"


def ranges(world: EtcdWorld) -> list[Any]:
    return [body for path, body in world.etcds[0].asked if path != STATUS]


def pages(world: EtcdWorld, keys: list[str], failures: list[bytes]) -> None:
    """Answer ranges over `keys`, all of them put at revision 3; first come the failures."""

    def answer(path: str, body: Any) -> bytes:
        if path == STATUS:
            return ok({"header": header(9), "version": "3.5.9"})
        if failures and body["revision"] != "0":
            return failures.pop(0)
        start = key_of(body).removeprefix(PREFIX)
        found = [key for key in keys if key >= start]
        cut = found[: body["limit"]]
        return ok(
            {"header": header(9), "kvs": [kv(key, 3) for key in cut], "more": len(found) > len(cut)}
        )

    world.etcds[0].answer = answer


NAMES = [f"{n:05}" for n in range(FIRST_PAGE_KEYS + PAGE_KEYS + 1)]


def test_a_load_is_paged_at_the_revision_of_its_first_page() -> None:
    async def case(world: EtcdWorld) -> None:
        pages(world, [*NAMES, "_progress"], [])
        snapshot = await world.store().load()
        assert snapshot.revision == 9
        assert list(snapshot.items) == NAMES
        assert set(snapshot.versions.values()) == {KeyVersion(3, 3)}
        bodies = ranges(world)
        assert [body["revision"] for body in bodies] == ["0", "9", "9"]
        assert [key_of(body) for body in bodies] == [
            PREFIX, PREFIX + NAMES[FIRST_PAGE_KEYS - 1] + "\0", PREFIX + NAMES[-2] + "\0",
        ]  # fmt: skip
        assert [body["limit"] for body in bodies] == [FIRST_PAGE_KEYS, PAGE_KEYS, PAGE_KEYS]

    play(case)


def test_a_load_whose_revision_is_compacted_begins_anew() -> None:
    async def case(world: EtcdWorld) -> None:
        pages(world, NAMES, [COMPACTED] * (LOADS - 1))
        assert len((await world.store().load()).items) == len(NAMES)
        pages(world, NAMES, [COMPACTED] * LOADS)
        with pytest.raises(PeerError, match="5 times"):
            await world.store().load()

    play(case)


def test_pages_that_get_too_long_are_made_shorter() -> None:
    async def case(world: EtcdWorld) -> None:
        too_long = refusal(8, "grpc: received message larger than max (5000000 vs. 4194304)")
        pages(world, NAMES, [too_long])
        assert len((await world.store().load()).items) == len(NAMES)
        limits = [body["limit"] for body in ranges(world)]
        assert limits == [FIRST_PAGE_KEYS, PAGE_KEYS, PAGE_KEYS // 10, PAGE_KEYS]

    play(case)


def test_a_transaction_as_etcd_gets_it() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        etcd.answer = always({"header": header(12), "succeeded": True})
        store = world.store()
        compare = [Compare("a", 3), Compare("b", 0, RevisionKind.CREATED)]
        done = await store.transact(compare, [("a", b"1"), ("b", b"")], ["c"], leases={"b": 77})
        assert done == TransactResult(True, 12)
        assert etcd.asked == [
            (
                "kv/txn",
                {
                    "compare": [
                        {
                            "key": encoded("a"), "target": "MOD", "result": "EQUAL",
                            "mod_revision": "3",
                        },
                        {
                            "key": encoded("b"), "target": "CREATE", "result": "EQUAL",
                            "create_revision": "0",
                        },
                    ],
                    "success": [
                        {"request_put": {"key": encoded("a"), "value": text(b"1")}},
                        {"request_put": {"key": encoded("b"), "value": "", "lease": "77"}},
                        {"request_delete_range": {"key": encoded("c")}},
                    ],
                },
            )
        ]  # fmt: skip
        etcd.answer = always({"header": header(13)})
        assert await store.transact([Compare("a", 4)], []) == TransactResult(False, 13)
        assert etcd.asked[-1][1]["success"] == [
            {"request_range": {"key": encoded(""), "count_only": True}}
        ]

    play(case)


def test_refusals_of_a_transaction_that_say_that_nothing_was_done() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        store = world.store()
        etcd.answer = lambda path, body: refusal(5, "etcdserver: requested lease not found")
        with pytest.raises(LeaseNotFoundError):
            await store.transact([], [("a", b"")], leases={"a": 1})
        etcd.answer = lambda path, body: refusal(3, "etcdserver: request is too large")
        with pytest.raises(TooLargeError):
            await store.transact([], [("a", b"")])
        etcd.answer = lambda path, body: refusal(
            3, "etcdserver: too many operations in txn request"
        )
        with pytest.raises(TooLargeError):
            await store.transact([], [("a", b"")])

    play(case)


def test_leases_are_counted_in_whole_seconds_rounded_up() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        etcd.answer = always({"header": header(1), "ID": "7587862", "TTL": "5"})
        store = world.store()
        assert await store.grant_lease(4_001) == 7587862
        assert etcd.asked == [("lease/grant", {"TTL": "5"})]

    play(case)


def test_a_lease_that_has_run_out_is_told_as_one() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        store = world.store()
        etcd.answer = always({"result": {"header": header(1), "ID": "5", "TTL": "4"}})
        await store.keep_alive(5)
        etcd.answer = always({"result": {"header": header(1), "ID": "5"}})
        with pytest.raises(LeaseNotFoundError, match="lease 5"):
            await store.keep_alive(5)
        etcd.answer = lambda path, body: refusal(5, "etcdserver: requested lease not found")
        await store.revoke_lease(5)

    play(case)


def test_a_lagging_member_may_answer_about_leases_but_not_about_keys() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        store = world.store()
        etcd.answer = always({"header": header(9), "TTL": "4"})
        await store.load()
        etcd.answer = always({"header": header(8), "TTL": "4"})
        await store.keep_alive(1)
        assert store.revision == 9
        with pytest.raises(StorageError, match="went back from 9 to 8"):
            await store.load()
        with pytest.raises(StorageError, match="went back from 9 to 8"):
            await store.keep_alive(1)

    play(case)


def test_answers_that_overtake_each_other_are_no_step_back() -> None:
    """Which revision an answer must have reached is known when its request is sent."""

    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        revisions = iter(range(1, 100))
        etcd.answer = lambda path, body: ok({"header": header(next(revisions)), "succeeded": True})
        world.network.max_delay_ms = 200
        store = world.store()
        await asyncio.gather(*(store.transact([], [(str(n), b"")]) for n in range(50)))
        assert store.revision == 50

    for seed in range(5):
        play(case, seed=seed)


@pytest.mark.parametrize(
    ("version", "warns"), [("3.5.1", True), ("3.5.3", False), ("3.4.23", False), ("3.5.10", False)]
)
def test_an_etcd_that_may_lose_consistency_is_warned_of(
    version: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def case(world: EtcdWorld) -> None:
        world.etcds[0].answer = always({"header": header(1), "version": version})
        store = world.store()
        await store.load()
        await store.load()

    with caplog.at_level(logging.WARNING, "ottla.metadata"):
        play(case)
    assert len(caplog.records) == warns


def test_a_prefix_ends_with_a_slash_and_is_not_empty() -> None:
    assert Keys("/a").prefix == Keys("/a/").prefix == "/a/"
    assert Keys("/a").encode("k") == text(b"/a/k")
    assert Keys("/a").end == text(b"/a0")
    assert Keys("/a").decode(text(b"/a/k")) == "k"
    with pytest.raises(ValueError, match="prefix"):
        Keys("/")
    with pytest.raises(PeerError, match="not below"):
        Keys("/a").decode(text(b"/ab"))
    assert EtcdOptions(endpoints=["a"]).prefix == PREFIX
