"""Calls to members that refuse, stall, die and forget who we are."""

import asyncio
import logging

import pytest
from tests.support.etcd_world import HERE, EtcdWorld, always, play
from tests.support.fake_etcd import header, http, ok, refusal

from ottla.metadata.etcd_client import MAX_CALLS
from ottla.metadata.etcd_deadline import DeadlineError
from ottla.metadata.etcd_errors import EtcdError
from ottla.metadata.etcd_http import LostError, NotSentError
from ottla.model.errors import PeerError, StorageError

UNAVAILABLE = refusal(14, "etcdserver: no leader")
ANSWER = {"header": header(5)}


def test_the_next_member_is_asked_when_one_refuses_connections() -> None:
    async def case(world: EtcdWorld) -> None:
        world.network.die("10.0.0.11", silently=False)
        world.etcds[1].answer = always(ANSWER)
        client = world.client()
        for _ in range(3):
            await client.call("kv/txn", {}, may_repeat=False)
        assert world.etcds[1].asked == [("kv/txn", {})] * 3
        assert [str(at) for at in client.endpoints.failures] == ["http://10.0.0.11:2379"]
        assert world.seconds() < 0.1

    play(case, members=2)


def test_a_transaction_whose_answer_is_lost_is_not_sent_again() -> None:
    async def case(world: EtcdWorld) -> None:
        first, second = world.etcds
        second.answer = always(ANSWER)
        client = world.client()
        asking = asyncio.ensure_future(client.call("kv/txn", {}, may_repeat=False))
        while not first.asked:
            await asyncio.sleep(0.001)
        world.network.die("10.0.0.11", silently=False)
        with pytest.raises(LostError):
            await asking
        assert second.asked == []
        await client.call("kv/txn", {}, may_repeat=False)
        assert len(second.asked) == 1

    play(case, members=2)


def test_what_may_be_repeated_is_asked_of_the_next_member() -> None:
    async def case(world: EtcdWorld) -> None:
        first, second, third = world.etcds
        first.answer = lambda path, body: UNAVAILABLE
        second.answer = lambda path, body: None
        third.answer = always(ANSWER)
        client = world.client(attempt_timeout_ms=1_500)
        assert await client.call("kv/range", {}, may_repeat=True) == ANSWER
        assert [len(etcd.asked) for etcd in world.etcds] == [1, 1, 1]
        assert 1.5 <= world.seconds() < 1.6

    play(case, members=3)


def test_a_call_goes_on_while_no_member_has_a_leader() -> None:
    async def case(world: EtcdWorld) -> None:
        answers = [UNAVAILABLE] * 9 + [ok(ANSWER)]
        for etcd in world.etcds:
            etcd.answer = lambda path, body: answers.pop(0)
        await world.client().call("kv/range", {}, may_repeat=True)
        assert answers == []

    play(case, members=3)


@pytest.mark.parametrize("may_repeat", [False, True])
def test_a_call_ends_at_its_deadline(may_repeat: bool) -> None:
    async def case(world: EtcdWorld) -> None:
        client = world.client(call_timeout_ms=4_000)
        with pytest.raises(DeadlineError, match="4000 ms"):
            await client.call("kv/txn", {}, may_repeat=may_repeat)
        assert 4.0 <= world.seconds() < 4.1
        assert client.endpoints.current.host == "10.0.0.12" or may_repeat

    play(case, members=2)


def test_a_machine_that_is_off_does_not_use_up_the_deadline_of_a_transaction() -> None:
    async def case(world: EtcdWorld) -> None:
        world.network.die("10.0.0.11", silently=True)
        world.etcds[1].answer = always(ANSWER)
        await world.client(attempt_timeout_ms=1_000).call("kv/txn", {}, may_repeat=False)
        assert 1.0 <= world.seconds() < 1.1

    play(case, members=2)


def test_when_no_member_can_be_reached_nothing_was_sent() -> None:
    async def case(world: EtcdWorld) -> None:
        for host in world.hosts:
            world.network.die(host, silently=False)
        with pytest.raises(DeadlineError, match="cannot connect") as caught:
            await world.client().call("kv/txn", {}, may_repeat=False)
        assert isinstance(caught.value.__cause__, NotSentError)

    play(case, members=2)


def test_a_refusal_that_every_member_would_give_is_final() -> None:
    async def case(world: EtcdWorld) -> None:
        world.etcds[0].answer = lambda path, body: refusal(8, "mvcc: database space exceeded")
        with pytest.raises(EtcdError, match="space exceeded"):
            await world.client().call("kv/range", {}, may_repeat=True)
        assert [len(etcd.asked) for etcd in world.etcds] == [1, 0]

    play(case, members=2)


def test_something_else_at_the_address_is_told() -> None:
    async def case(world: EtcdWorld) -> None:
        world.etcds[0].answer = lambda path, body: (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found"
        )
        with pytest.raises(PeerError, match="no JSON gateway"):
            await world.client().call("kv/txn", {}, may_repeat=False)
        world.etcds[0].answer = lambda path, body: http(200, {"hello": "world"})
        with pytest.raises(PeerError, match="no header"):
            await world.client().call("kv/txn", {}, may_repeat=False)

    play(case)


@pytest.mark.parametrize(
    "expired",
    [
        refusal(16, "etcdserver: invalid auth token"),
        refusal(3, "etcdserver: revision of auth store is old"),
        refusal(3, "etcdserver: user name is empty"),
    ],
)
def test_a_token_that_expired_is_renewed_even_for_a_transaction(expired: bytes) -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        valid = 0

        def answer(path: str, body: object) -> bytes:
            nonlocal valid
            if path == "auth/authenticate":
                assert body == {"name": "ottla", "password": "secret"}
                valid += 1
                return ok(ANSWER | {"token": f"token-{valid}"})
            return (
                ok(ANSWER) if etcd.headers[-1].get("authorization") == f"token-{valid}" else expired
            )

        etcd.answer = answer
        client = world.client(user="ottla", password="secret")
        await client.call("kv/txn", {}, may_repeat=False)
        await client.call("kv/txn", {}, may_repeat=False)
        assert [path for path, _ in etcd.asked] == ["auth/authenticate", "kv/txn", "kv/txn"]
        valid += 1
        await asyncio.gather(*(client.call("kv/txn", {}, may_repeat=False) for _ in range(20)))
        asked = [path for path, _ in etcd.asked]
        assert asked.count("auth/authenticate") == 2
        await client.call("kv/txn", {}, may_repeat=False)
        assert [path for path, _ in etcd.asked[len(asked) :]] == ["kv/txn"]

    play(case)


def test_a_user_that_etcd_does_not_ask_for_does_no_harm() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        etcd.answer = lambda path, body: (
            refusal(9, "etcdserver: authentication is not enabled")
            if path == "auth/authenticate"
            else ok(ANSWER)
        )
        await world.client(user="ottla").call("kv/range", {}, may_repeat=True)
        assert "authorization" not in etcd.headers[-1]

    play(case)


def test_brokers_may_begin_at_different_members() -> None:
    async def case(world: EtcdWorld) -> None:
        for etcd in world.etcds:
            etcd.answer = always(ANSWER)
        for broker_id in range(6):
            await world.client(first_endpoint=broker_id).call("kv/range", {}, may_repeat=True)
        assert [len(etcd.asked) for etcd in world.etcds] == [2, 2, 2]

    play(case, members=3)


def test_idle_connections_that_are_dead_cost_one_deadline_together() -> None:
    async def case(world: EtcdWorld) -> None:
        world.etcds[0].answer = always(ANSWER)
        client = world.client(attempt_timeout_ms=1_000)
        await asyncio.gather(*(client.call("kv/range", {}, may_repeat=True) for _ in range(10)))
        for link in world.network.between(HERE, "10.0.0.11"):
            link.leave_half_open(link.server)
        before = world.seconds()
        await client.call("kv/range", {}, may_repeat=True)
        assert 1.0 <= world.seconds() - before < 1.2

    play(case)


def test_connections_are_used_again_and_bounded() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        etcd.answer = always(ANSWER)
        client = world.client()
        for _ in range(5):
            await client.call("kv/range", {}, may_repeat=True)
        assert etcd.connections == 1
        await asyncio.gather(*(client.call("kv/range", {}, may_repeat=True) for _ in range(100)))
        assert etcd.connections <= MAX_CALLS

    play(case)


def test_closing_waits_for_the_calls_under_way_and_refuses_new_ones() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        etcd.answer = always(ANSWER)
        world.network.slow(HERE, "10.0.0.11", 500)
        client = world.client()
        calls = [
            asyncio.ensure_future(client.call("kv/txn", {}, may_repeat=False)) for _ in range(30)
        ]
        await asyncio.sleep(0.001)
        await client.close()
        assert [call.result() for call in calls] == [ANSWER] * 30
        with pytest.raises(StorageError, match="closed"):
            await client.call("kv/txn", {}, may_repeat=False)
        await asyncio.sleep(1)
        assert world.network.links == [] or all(link.is_over for link in world.network.links)

    play(case)


def test_a_call_that_is_cancelled_leaves_no_connection_in_doubt() -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        client = world.client()
        asking = asyncio.ensure_future(client.call("kv/range", {"n": 1}, may_repeat=True))
        while not etcd.asked:
            await asyncio.sleep(0.001)
        asking.cancel()
        etcd.answer = always(ANSWER)
        await client.call("kv/range", {"n": 2}, may_repeat=True)
        assert etcd.connections == 2
        await client.close()

    play(case)


def test_a_failure_and_its_end_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def case(world: EtcdWorld) -> None:
        (etcd,) = world.etcds
        etcd.answer = lambda path, body: UNAVAILABLE
        client = world.client()
        for _ in range(3):
            with pytest.raises(PeerError):
                await client.call("kv/txn", {}, may_repeat=False)
        etcd.answer = always(ANSWER)
        await client.call("kv/txn", {}, may_repeat=False)

    with caplog.at_level(logging.INFO, "ottla.metadata"):
        play(case)
    assert [record.message.split(": ")[0] for record in caplog.records] == [
        "etcd at http://10.0.0.11:2379 fails",
        "etcd at http://10.0.0.11:2379 answers again",
    ]
