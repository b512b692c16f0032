"""The shell around shards, with a shard that keeps a list of words."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.support.log_port import MemoryPort

from ottla.coordinator.outcome import Outcome, Waiter
from ottla.coordinator.replay import RECORDS_PER_SLICE
from ottla.coordinator.runtime import CoordinatorRuntime
from ottla.model.errors import ApiError, ErrorCode, ProtocolError
from ottla.record.builder import build_batch
from ottla.record.control import build_end_txn_marker
from ottla.record.records import Record
from ottla.testing.clock import ManualClock

Out = Outcome[str]


class Words:
    """Its state is the words of its log, and who waits for the next one."""

    def __init__(self) -> None:
        self.words: list[tuple[str, int, int]] = []
        self.markers: list[tuple[int, bool]] = []
        self.parked: list[Waiter] = []
        self.deadlines: list[int] = []
        self.woken: list[int] = []
        self.loaded_at: int | None = None

    def encode(self, record: str) -> tuple[bytes, bytes | None]:
        return record.encode(), b""

    def decode(self, key: bytes, value: bytes | None) -> str | None:
        if key == b"unknown":
            return None
        if key == b"malformed":
            raise ProtocolError("malformed")
        return key.decode()

    def apply(self, record: str, offset: int, producer_id: int) -> None:
        self.words.append((record, offset, producer_id))

    def apply_marker(self, producer_id: int, committed: bool) -> None:
        self.markers.append((producer_id, committed))

    def loaded(self, now_ms: int) -> Out:
        self.loaded_at = now_ms
        return Out()

    def unloaded(self) -> Sequence[Waiter]:
        return self.parked

    def next_deadline_ms(self) -> int | None:
        return min(self.deadlines, default=None)

    def wake(self, now_ms: int) -> Out | None:
        due = [when for when in self.deadlines if when <= now_ms]
        if not due:
            return None
        self.deadlines.remove(min(due))
        self.woken.append(now_ms)
        return Out([f"woken at {now_ms}"])

    # Commands

    def say(self, word: str, waiter: Waiter) -> Out:
        answers: list[Any] = [(parked, f"heard {word}") for parked in self.parked]
        self.parked = []
        return Out([word], [*answers, (waiter, f"said {word}")])

    def listen(self, waiter: Waiter) -> Out:
        self.parked.append(waiter)
        return Out()


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.transport = ManualClock()
        self.port = MemoryPort()
        self.runtime: CoordinatorRuntime[Words] = CoordinatorRuntime(
            "words",
            lambda partition: Words(),
            self.clock,
            self.transport,
            partition_count=4,
            commit_timeout_ms=5_000,
        )

    async def load(self) -> None:
        self.runtime.load(0, self.port)
        while not self.runtime.is_active(0):
            await asyncio.sleep(0)

    async def say(self, word: str) -> Any:
        return await self.runtime.write(0, lambda shard, waiter, now_ms: shard.say(word, waiter))

    async def listen(self) -> Any:
        return await self.runtime.write(0, lambda shard, waiter, now_ms: shard.listen(waiter))

    async def words(self) -> list[str]:
        return await self.runtime.read(0, lambda shard: [word for word, _, _ in shard.words])

    @property
    def shard(self) -> Words:
        shard = self.runtime.peek(0)
        assert shard is not None
        return shard


def play(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario(World()))


async def started(asking: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.get_running_loop().create_task(asking)
    await asyncio.sleep(0)
    return task


async def code_of(asking: Any) -> ErrorCode:
    with pytest.raises(ApiError) as caught:
        await asking
    return caught.value.code


def test_an_append_that_commits_at_once_is_answered_without_a_turn_of_the_loop() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        asking = world.say("a")
        with pytest.raises(StopIteration) as done:
            asking.send(None)
        assert done.value.value == "said a"
        assert world.shard.words == [("a", 0, -1)]

    play(scenario)


def test_answers_wait_for_the_commit_and_reads_with_them() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.port.holds = True
        first = await started(world.say("a"))
        second = await started(world.say("b"))
        reading = await started(world.words())
        assert not first.done()
        world.port.commit(1)
        await asyncio.sleep(0)
        assert await first == "said a"
        await asyncio.sleep(0)
        assert not second.done()
        assert not reading.done()
        world.port.commit()
        assert await second == "said b"
        assert await reading == ["a", "b"]

    play(scenario)


def test_an_error_made_of_uncommitted_state_waits_too() -> None:
    async def scenario(world: World) -> None:
        def object_to_it(shard: Words, waiter: Waiter, now_ms: int) -> Out:
            raise ApiError(ErrorCode.INVALID_REQUEST)

        await world.load()
        assert await code_of(world.runtime.write(0, object_to_it)) is ErrorCode.INVALID_REQUEST
        world.port.holds = True
        await started(world.say("a"))
        failing = await started(world.runtime.write(0, object_to_it))
        assert not failing.done()
        world.port.commit()
        assert await code_of(failing) is ErrorCode.INVALID_REQUEST

    play(scenario)


def test_a_parked_request_is_answered_by_a_later_one() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        listening = await started(world.listen())
        assert not listening.done()
        await world.say("a")
        assert await listening == "heard a"

    play(scenario)


def test_what_is_refused_leaves_the_shard_untouched() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.port.refuse = ApiError(ErrorCode.NOT_ENOUGH_REPLICAS)
        assert await code_of(world.say("a")) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.port.refuse = ApiError(ErrorCode.MESSAGE_TOO_LARGE)
        assert await code_of(world.say("a")) is ErrorCode.UNKNOWN_SERVER_ERROR
        world.port.refuse = None
        assert await world.words() == []
        await world.say("b")
        assert world.shard.words == [("b", 0, -1)]

    play(scenario)


def test_what_nobody_waits_for_is_divided_where_it_is_too_large_for_one_batch() -> None:
    async def scenario(world: World) -> None:
        def decide(shard: Words, now_ms: int) -> Out:
            return Out(list("abcde"))

        await world.load()
        world.port.most = 100
        world.runtime.tell_all(decide)
        assert await world.words() == list("abcde")
        assert await code_of(world.say("a" * 100)) is ErrorCode.UNKNOWN_SERVER_ERROR
        assert await world.words() == list("abcde")

    play(scenario)


def test_refused_may_answer_instead() -> None:
    async def scenario(world: World) -> None:
        def decide(shard: Words, waiter: Waiter, now_ms: int) -> Out:
            outcome = shard.say("a", waiter)
            outcome.refused = lambda code: Out(answers=[(waiter, f"not: {code.name}")])
            return outcome

        await world.load()
        world.port.refuse = ApiError(ErrorCode.KAFKA_STORAGE_ERROR)
        assert await world.runtime.write(0, decide) == "not: NOT_COORDINATOR"

    play(scenario)


def test_what_is_not_committed_in_time_fails_and_stays() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.port.holds = True
        saying = await started(world.say("a"))
        world.clock.advance(100_000)
        world.transport.advance(4_999)
        await asyncio.sleep(0)
        assert not saying.done()
        world.transport.advance(1)
        assert await code_of(saying) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.port.commit()
        assert await world.words() == ["a"]

    play(scenario)


def test_whoever_asks_after_one_was_late_has_time_of_their_own() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.port.holds = True
        saying = await started(world.say("a"))
        world.transport.advance(5_000)
        assert await code_of(saying) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        reading = await started(world.words())
        world.transport.advance(4_999)
        await asyncio.sleep(0)
        assert not reading.done()
        world.transport.advance(1)
        await asyncio.sleep(0)
        assert reading.done()
        assert await code_of(reading) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        again = await started(world.words())
        world.port.commit()
        assert await again == ["a"]

    play(scenario)


def test_a_deposed_leader_sends_everyone_away() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        listening = await started(world.listen())
        world.port.holds = True
        saying = await started(world.runtime.read(0, lambda shard: 1))
        saying = await started(world.say("a"))
        world.port.depose()
        # The listener was answered by the same record, which nobody will commit.
        assert await code_of(listening) is ErrorCode.NOT_COORDINATOR
        assert await code_of(saying) is ErrorCode.NOT_COORDINATOR
        assert await code_of(world.words()) is ErrorCode.NOT_COORDINATOR

    play(scenario)


def test_unloading_sends_parked_requests_away() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        listening = await started(world.listen())
        world.runtime.unload(0)
        assert await code_of(listening) is ErrorCode.NOT_COORDINATOR
        assert await code_of(world.say("a")) is ErrorCode.NOT_COORDINATOR

    play(scenario)


def test_a_closed_runtime_is_not_available() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        listening = await started(world.listen())
        world.runtime.close()
        assert await code_of(listening) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert await code_of(world.say("a")) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.runtime.load(1, MemoryPort())
        assert world.runtime.partitions() == []

    play(scenario)


def test_an_append_of_unknown_outcome_makes_the_log_decide() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        await world.say("a")
        listening = await started(world.listen())
        world.port.refuse = OSError("the disk is gone")
        assert await code_of(world.say("b")) is ErrorCode.NOT_COORDINATOR
        world.port.refuse = None
        assert await code_of(world.say("c")) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        assert await code_of(listening) is ErrorCode.NOT_COORDINATOR
        while not world.runtime.is_active(0):
            await asyncio.sleep(0)
        assert await world.words() == ["a"]

    play(scenario)


def test_an_append_that_failed_after_writing_counts() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        write = world.port.append

        def write_and_fail(batch: bytes) -> int:
            write(batch)
            raise OSError("written, but who knows")

        world.port.append = write_and_fail  # type: ignore[method-assign]
        assert await code_of(world.say("a")) is ErrorCode.NOT_COORDINATOR
        world.port.append = write  # type: ignore[method-assign]
        while not world.runtime.is_active(0):
            await asyncio.sleep(0)
        assert await world.words() == ["a"]

    play(scenario)


def test_what_cannot_be_encoded_is_refused() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        assert await code_of(world.say("\ud800")) is ErrorCode.UNKNOWN_SERVER_ERROR
        assert await world.say("a") == "said a"
        assert world.shard.words == [("a", 0, -1)]

    play(scenario)


def test_loading_replays_the_log() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        for word in ("a", "b"):
            await world.say(word)
        world.port.append(build_batch([Record(key=b"c"), Record(key=b"d")]))
        before = [*world.shard.words, ("c", 2, -1), ("d", 3, -1)]
        world.runtime.unload(0)
        await world.load()
        assert world.shard.words == before
        await world.say("e")
        assert world.shard.words[-1] == ("e", 4, -1)

    play(scenario)


def test_loading_begins_at_the_start_of_the_log() -> None:
    async def scenario(world: World) -> None:
        world.port.append(build_batch([Record(key=b"a"), Record(key=b"b"), Record(key=b"c")]))
        world.port.log_start_offset = 1
        await world.load()
        assert world.shard.words == [("b", 1, -1), ("c", 2, -1)]

    play(scenario)


def test_loading_knows_transactions_and_passes_over_what_it_cannot_read() -> None:
    async def scenario(world: World) -> None:
        port = world.port
        words = [Record(key=b"a"), Record(key=b"unknown"), Record(key=b"malformed"), Record()]
        port.append(
            build_batch(words, producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
        )
        port.append(
            build_end_txn_marker(
                producer_id=7, producer_epoch=0, committed=True, coordinator_epoch=0, timestamp=1
            )
        )
        port.append(
            build_batch([Record(key=b"b")], producer_id=8, producer_epoch=0, base_sequence=0)
        )
        await world.load()
        assert world.shard.words == [("a", 0, 7), ("b", 5, -1)]
        assert world.shard.markers == [(7, True)]

    play(scenario)


def test_loading_takes_one_slice_a_turn() -> None:
    async def scenario(world: World) -> None:
        count = RECORDS_PER_SLICE * 3
        for number in range(3):
            world.port.append(build_batch([Record(key=b"%d" % number)] * RECORDS_PER_SLICE))
        world.runtime.load(0, world.port)
        turns = 0
        while not world.runtime.is_active(0):
            assert await code_of(world.say("x")) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 3
        assert len(world.shard.words) == count

    play(scenario)


def test_who_is_asked_for_is_loaded_first() -> None:
    async def scenario(world: World) -> None:
        for partition in range(1, 4):
            port = MemoryPort()
            port.append(build_batch([Record(key=b"x")] * RECORDS_PER_SLICE * 5))
            world.runtime.load(partition, port)
        world.runtime.load(0, world.port)
        assert await code_of(world.say("x")) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        await asyncio.sleep(0)
        assert world.runtime.is_active(0)
        assert not world.runtime.is_active(1)

    play(scenario)


def test_a_log_that_cannot_be_read_is_not_served() -> None:
    async def scenario(world: World) -> None:
        world.port.append(build_batch([Record(key=b"a")]))
        base, end, data = world.port.batches[0]
        broken = bytearray(data)
        broken[16] = 1  # the magic
        world.port.batches[0] = (base, end, bytes(broken))
        world.runtime.load(0, world.port)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await code_of(world.say("x")) is ErrorCode.NOT_COORDINATOR

    play(scenario)


def test_a_newer_epoch_loads_anew_and_an_older_one_changes_nothing() -> None:
    async def scenario(world: World) -> None:
        world.port.leader_epoch = 5
        await world.load()
        first = world.shard
        world.runtime.load(0, MemoryPort(leader_epoch=5))
        assert world.shard is first
        world.runtime.unload(0, leader_epoch=4)
        assert world.shard is first
        listening = await started(world.listen())
        world.port.leader_epoch = 6
        world.runtime.load(0, world.port)
        assert await code_of(listening) is ErrorCode.NOT_COORDINATOR
        await world.load()
        assert world.shard is not first
        world.runtime.unload(0, leader_epoch=7)
        assert world.runtime.peek(0) is None

    play(scenario)


def test_a_deadline_is_met_when_the_domain_clock_gets_there() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        now_ms = world.clock.now_ms()
        world.shard.deadlines += [now_ms + 1_000, now_ms + 3_000]
        await world.say("a")
        world.transport.advance(10_000)
        assert world.shard.woken == []
        world.clock.advance(999)
        assert world.shard.woken == []
        world.clock.advance(5_000)
        assert world.shard.woken == [now_ms + 1_000, now_ms + 3_000]
        assert await world.words() == [
            "a",
            f"woken at {now_ms + 1_000}",
            f"woken at {now_ms + 3_000}",
        ]

    play(scenario)


def test_an_earlier_deadline_replaces_the_timer() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        now_ms = world.clock.now_ms()
        world.shard.deadlines.append(now_ms + 3_000)
        await world.say("a")
        world.shard.deadlines.append(now_ms + 1_000)
        await world.say("b")
        world.clock.advance(1_000)
        assert world.shard.woken == [now_ms + 1_000]

    play(scenario)


def test_a_deadline_that_is_due_is_met_in_the_next_turn() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.shard.deadlines += [world.clock.now_ms()] * 100
        await world.say("a")
        assert world.shard.woken == []
        await asyncio.sleep(0)
        assert 0 < len(world.shard.woken) < 100
        await asyncio.sleep(0)
        assert len(world.shard.woken) == 100

    play(scenario)


def test_timers_of_an_older_incarnation_do_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        old = world.shard
        old.deadlines.append(world.clock.now_ms() + 1_000)
        await world.say("a")
        world.runtime.unload(0)
        await world.load()
        world.clock.advance(2_000)
        assert old.woken == []
        assert world.shard.woken == []

    play(scenario)


def test_a_cancelled_request_stays_decided() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        listening = await started(world.listen())
        listening.cancel()
        await asyncio.sleep(0)
        await world.say("a")
        assert await world.words() == ["a"]

    play(scenario)


def test_all_active_shards_are_told() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.runtime.load(1, MemoryPort())
        world.runtime.tell_all(lambda shard, now_ms: Out(["told"]))
        assert await world.words() == ["told"]

    play(scenario)
