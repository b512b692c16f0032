"""Three whole brokers, a leader and two followers over links, on virtual time."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
from tests.support.cluster_world import ClusterWorld, host_of, simulate
from tests.unit.storage.parts import values

from ottla.client.producer import Producer
from ottla.metadata import changes
from ottla.metadata.store import Compare
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.replica.partition import Partition
from ottla.testing.clock import START_MS
from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic, ReplicaState

BROKERS = (1, 2, 3)


@asynccontextmanager
async def producing(world: ClusterWorld) -> AsyncIterator[Producer]:
    async with (
        world.view() as view,
        Producer(view, now_ms=lambda: START_MS, below=Random(1).randrange) as producer,
    ):
        yield producer


async def created(world: ClusterWorld, partitions: int = 1) -> None:
    """Three brokers, and a topic "t" with a replica on each."""
    await world.begin(*BROKERS)
    async with world.view() as view:
        await view.refresh([])
        link = await view.link(1)
        request = CreateTopicsRequest(
            topics=[CreatableTopic(name="t", num_partitions=partitions, replication_factor=3)],
            timeout_ms=5_000,
        )
        answer = await link.request(request, timeout_ms=10_000)
        assert answer.topics[0].error_code == 0, answer


def replica(world: ClusterWorld, broker: BrokerId, number: int = 0) -> Partition:
    found = world.brokers[broker].replicas.find_by_name("t", number)
    assert found is not None
    return found


def isr(world: ClusterWorld, number: int = 0) -> set[int]:
    alive = next(iter(world.brokers))
    return set(world.image(alive).topics["t"].partitions[number].isr)


def leader(world: ClusterWorld, number: int = 0) -> BrokerId:
    alive = next(iter(world.brokers))
    return world.image(alive).topics["t"].partitions[number].leader


def same_everywhere(world: ClusterWorld, number: int = 0) -> bool:
    """Whether all replicas have the same records, and all are known to be committed."""
    found = [replica(world, each, number) for each in world.brokers]
    ends = {partition.high_watermark for partition in found} | {
        partition.log.log_end_offset for partition in found
    }
    return len(ends) == 1 and len({str(values(partition.log)) for partition in found}) == 1


def test_what_is_acknowledged_by_all_is_on_all() -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world, partitions=3)
        async with producing(world) as producer:
            for number in range(30):
                await (await producer.send("t", b"%d" % number, partition=number % 3))
                for each in BROKERS:
                    assert replica(world, each, number % 3).log.log_end_offset == 1 + number // 3
        for number in range(3):
            await world.until("all is known", lambda number=number: same_everywhere(world, number))
            assert isr(world, number) == {1, 2, 3}

    simulate(program, min_insync_replicas="2")


def test_a_follower_that_stops_leaves_and_comes_back_with_everything() -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world)
        follower = next(each for each in BROKERS if each != leader(world))
        async with producing(world) as producer:
            await (await producer.send("t", b"before"))
            await world.stop(follower)
            await world.until("it is out", lambda: follower not in isr(world))
            for number in range(5):
                await (await producer.send("t", b"%d" % number))
        await world.start(follower)
        await world.until("it is in again", lambda: isr(world) == {1, 2, 3})
        await world.until("it has everything", lambda: same_everywhere(world))

    simulate(program, min_insync_replicas="2")


def test_a_client_that_says_it_is_the_followers_commits_nothing() -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world)
        at = leader(world)
        followers = [each for each in BROKERS if each != at]
        for each in followers:
            world.network.cut(host_of(at), host_of(each))
        topic = world.image(at).topics["t"]
        async with producing(world) as producer:
            sent = await producer.send("t", b"0")
            await world.until("it is appended", lambda: replica(world, at).log.log_end_offset == 1)
            async with world.view() as view:
                await view.refresh([])
                link = await view.link(at)
                for each in followers:
                    registered = world.image(at).brokers[each].epoch
                    for epoch in (-1, registered - 1, registered + 1):
                        asked = FetchPartition(
                            partition=0,
                            fetch_offset=1,
                            partition_max_bytes=1,
                            current_leader_epoch=-1,
                        )
                        answer = await link.request(
                            FetchRequest(
                                max_wait_ms=0,
                                replica_state=ReplicaState(replica_id=each, replica_epoch=epoch),
                                topics=[FetchTopic(topic_id=topic.topic_id, partitions=[asked])],
                            ),
                            timeout_ms=5_000,
                        )
                        (row,) = answer.responses[0].partitions
                        assert row.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
            assert replica(world, at).high_watermark == 0
            assert not sent.done()
            for each in followers:
                world.network.heal(host_of(at), host_of(each))
            await sent

    simulate(program)


def test_when_the_leader_stops_another_leads_and_nothing_is_lost() -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world)
        async with producing(world) as producer:
            for number in range(5):
                await (await producer.send("t", b"%d" % number))
            old = leader(world)
            await world.stop(old)
            await world.until("another leads", lambda: leader(world) not in (old, NO_BROKER))
            for number in range(5, 10):
                await (await producer.send("t", b"%d" % number))
        await world.start(old)
        await world.until("it is in again", lambda: isr(world) == {1, 2, 3})
        await world.until("all have everything", lambda: same_everywhere(world))
        found = [value for _, value in values(replica(world, old).log)]
        assert found == [b"%d" % number for number in range(10)]

    simulate(program, min_insync_replicas="2")


def test_who_was_taken_for_dead_is_in_sync_again_though_nothing_is_written() -> None:
    """It has everything, and nothing to fetch: what counts is who it is now."""

    async def program(world: ClusterWorld) -> None:
        await created(world)
        async with producing(world) as producer:
            await (await producer.send("t", b"before"))
        follower = next(each for each in BROKERS if each != leader(world))
        world.stores[follower].cut()
        others = [each for each in BROKERS if each != follower]
        await world.until(
            "it is out",
            lambda: all(
                follower not in world.image(each).topics["t"].partitions[0].isr for each in others
            ),
        )
        world.stores[follower].heal()
        await world.until("it is in again", lambda: isr(world) == {1, 2, 3})

    simulate(program, min_insync_replicas="2")


def test_who_lost_what_was_committed_does_not_lead_those_who_have_it() -> None:
    """Its process died, its log is garbled since: recovery cuts it below its high watermark."""

    async def program(world: ClusterWorld) -> None:
        await created(world)
        async with producing(world) as producer:
            for number in range(5):
                await (await producer.send("t", b"%d" % number))
        await asyncio.sleep(2)  # the high watermarks are written
        old = leader(world)
        for follower in [each for each in BROKERS if each != old]:
            await world.stop(follower)
            await world.until("it is out", lambda follower=follower: follower not in isr(world))
        left = world.disks[old].left_by_the_dead()
        await world.stop(old)
        world.disks[old] = left
        left.files["/data/t-0/00000000000000000000.log"].data[-1] ^= 1
        await world.start(*BROKERS)
        await world.until("all are in sync again", lambda: isr(world) == {1, 2, 3})
        await world.until("all have everything", lambda: same_everywhere(world))
        found = [value for _, value in values(replica(world, old).log)]
        assert found == [b"%d" % number for number in range(5)]

    simulate(program, min_insync_replicas="2", log_flush_offset_checkpoint_interval_ms="1000")


def test_who_has_caught_up_after_a_power_cut_is_in_doubt_no_more() -> None:
    """It may well be taken for dead once more, years later: it lacks nothing then."""

    async def program(world: ClusterWorld) -> None:
        await created(world)
        left = world.disks[2].left_by_the_dead()
        await world.stop(2)
        await world.until("it is out", lambda: isr(world) == {1, 3})
        left.boot = "another"
        world.disks[2] = left
        await world.start(2)
        await world.until("it is in again", lambda: isr(world) == {1, 2, 3})
        await world.stop(1)
        await world.stop(3)
        image = world.brokers[2].follower
        await world.until("it is alone", lambda: image.image.topics["t"].partitions[0].isr == (2,))
        cluster = world.brokers[2].cluster
        assert cluster is not None
        epoch = cluster.membership.epoch
        await world.store.connect().transact([], [], [changes.broker_name(2)])
        await world.until(
            "it leads as another",
            lambda: (
                image.image.topics["t"].partitions[0].leader == 2
                and image.image.brokers[2].epoch > epoch
            ),
            limit_s=2,
        )
        assert isr(world) == {2}

    simulate(program, min_insync_replicas="2")


@pytest.mark.parametrize("leads", [True, False])
def test_the_others_go_on_without_a_broker_whose_disk_is_full(leads: bool) -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world)
        full = next(each for each in BROKERS if (each == leader(world)) == leads)

        def fault(operation: str, path: str, size: int) -> int | None:
            if operation == "pwrite" and "/t-0/" in path:
                raise OSError(errno.ENOSPC, "full for the test", path)
            return None

        world.disks[full].fault = fault  # type: ignore[method-assign]
        async with producing(world) as producer:
            for number in range(5):
                await (await producer.send("t", b"%d" % number))
            assert isr(world) == {1, 2, 3} - {full}
            del world.disks[full].fault
            await world.until("it is in again", lambda: isr(world) == {1, 2, 3})
            await (await producer.send("t", b"5"))
        await world.until("all have everything", lambda: same_everywhere(world))
        found = [value for _, value in values(replica(world, full).log)]
        assert found == [b"%d" % number for number in range(6)]

    simulate(program, min_insync_replicas="2")


def test_a_full_disk_keeps_what_too_few_others_could_commit() -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world)
        state = world.image(1).topics["t"].partitions[0]
        for each in BROKERS:
            cluster = world.brokers[each].cluster
            assert cluster is not None
            cluster.leave_crowded([replica(world, each)])
        await asyncio.sleep(1)
        assert world.image(1).topics["t"].partitions[0] == state

    simulate(program, min_insync_replicas="3")


def test_who_is_put_out_after_it_had_fetched_all_is_in_sync_again_though_nothing_is_written() -> (
    None
):
    """As by a controller that heard late that it was gone, after it had come back."""

    async def program(world: ClusterWorld) -> None:
        await created(world)
        async with producing(world) as producer:
            await (await producer.send("t", b"before"))
        await asyncio.sleep(1)
        follower = next(each for each in BROKERS if each != leader(world))
        topic = world.image(1).topics["t"]
        (state,) = topic.partitions
        rest = tuple(each for each in state.isr if each != follower)
        out = state._replace(isr=rest, partition_epoch=state.partition_epoch + 1)
        key, value = changes.partition_key(topic.topic_id, 0, out)
        result = await world.store.connect().transact(
            [Compare(key, state.revision)], [(key, value)]
        )
        assert result.ok

        def is_in_again() -> bool:
            now = world.image(leader(world)).topics["t"].partitions[0]
            return follower in now.isr and now.partition_epoch > out.partition_epoch

        await world.until("it is in again", is_in_again, limit_s=2)

    simulate(program, min_insync_replicas="2")


def test_with_flushing_all_have_it_on_disk() -> None:
    async def program(world: ClusterWorld) -> None:
        await created(world)
        async with producing(world) as producer:
            for number in range(10):
                await (await producer.send("t", b"%d" % number))
                flushed = [replica(world, each).log.flushed_end_offset for each in BROKERS]
                assert flushed == [number + 1] * 3
        await asyncio.sleep(1)

    simulate(program, log_flush_interval_messages="1")


def heal(world: ClusterWorld) -> None:
    for each in BROKERS:
        world.stores[each].heal()
        for other in BROKERS:
            if each != other:
                world.network.heal(host_of(each), host_of(other))


async def disturb(world: ClusterWorld, random: Random) -> None:
    """Cut a broker off, from another, from all or from the store, or start it anew, or heal all."""
    broker = random.choice(BROKERS)
    others = [each for each in BROKERS if each != broker]
    match random.choice(["link", "link", "all", "store", "restart", "heal", "heal"]):
        case "link":
            world.network.cut(host_of(broker), host_of(random.choice(others)))
        case "all":
            for other in others:
                world.network.cut(host_of(broker), host_of(other))
        case "store":
            world.stores[broker].cut()
        case "restart":
            heal(world)
            await world.stop(broker)
            await asyncio.sleep(random.uniform(0, 6))
            await world.start(broker)
        case _:
            heal(world)


@pytest.mark.parametrize(("seed", "durable"), [(10, False), (33, True)])
def test_whatever_is_cut_what_was_acknowledged_stays(seed: int, durable: bool) -> None:
    async def program(world: ClusterWorld) -> None:
        random = Random(seed)
        await created(world)
        acknowledged: list[bytes] = []
        is_over = False

        async def produce() -> None:
            number = 0
            async with producing(world) as producer:
                while not is_over:
                    number += 1
                    value = b"%d" % number
                    with suppress(ApiError, PeerError):
                        await (await producer.send("t", value))
                        acknowledged.append(value)
                    await asyncio.sleep(random.random() / 20)

        task = asyncio.ensure_future(produce())
        for _ in range(15):
            await asyncio.sleep(random.uniform(0.2, 4))
            await disturb(world, random)
        heal(world)
        is_over = True
        await task
        await world.until("all are in sync", lambda: isr(world) == {1, 2, 3})
        await world.until("all have everything", lambda: same_everywhere(world))
        there = [value for _, value in values(replica(world, 1).log)]
        assert len(acknowledged) > 100
        assert set(acknowledged) <= set(there)

    flushes = {"log_flush_interval_messages": "1"} if durable else {}
    simulate(program, seed=seed, min_insync_replicas="2", replica_lag_time_max_ms="3000", **flushes)
