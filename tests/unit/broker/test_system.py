"""The real clocks, threads, randomness and sockets keep the promises of their protocols."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from ottla.broker.system import (
    HOSTS,
    SocketNetwork,
    System,
    SystemRandomness,
    ThreadWorkers,
    WallClock,
)
from ottla.model.ids import uuid_text
from ottla.model.workers import Lane


def run(case: Callable[[System], Awaitable[None]]) -> None:
    async def main() -> None:
        system = System.real(asyncio.get_running_loop())
        try:
            await case(system)
        finally:
            await system.workers.close()

    asyncio.run(main())


def test_a_timer_finds_its_millisecond_reached() -> None:
    async def case(system: System) -> None:
        for clock in (system.clock, system.steady_clock, system.transport_clock):
            when_ms = clock.now_ms() + 3
            fired: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            clock.call_at(
                when_ms, lambda clock=clock, fired=fired: fired.set_result(clock.now_ms())
            )
            clock.call_at(when_ms, fired.cancel).cancel()
            assert await fired >= when_ms

    run(case)


def test_a_timer_waits_on_when_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        clock = WallClock(asyncio.get_running_loop())
        shown_ms = [1_000]
        monkeypatch.setattr(WallClock, "now_ms", lambda self: shown_ms[0])
        fired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = clock.call_at(1_001, lambda: fired.set_result(None))
        shown_ms[0] = 999
        timer._fire()  # type: ignore[attr-defined]
        assert not fired.done()
        shown_ms[0] = 1_001
        await fired

    asyncio.run(main())


def test_setting_the_time_of_day_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(system: System) -> None:
        clock = system.steady_clock
        most_ns, time_ns = 3_500 * 10**9, time.time_ns
        before_ms = clock.now_ms()
        for set_by_ns in (-50 * most_ns, most_ns):
            monkeypatch.setattr(time, "time_ns", lambda by=set_by_ns: time_ns() + by)
            now_ms = clock.now_ms()
            assert before_ms <= now_ms < before_ms + 1_800_000
            fired = asyncio.Event()
            clock.call_at(now_ms + 1, fired.set)
            await fired.wait()

    run(case)


def test_a_machine_that_kept_no_time_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(system: System) -> None:
        week_ns, time_ns = 7 * 86_400 * 10**9, time.time_ns
        before_ms = system.steady_clock.now_ms()
        monkeypatch.setattr(time, "time_ns", lambda: time_ns() + week_ns)
        assert system.steady_clock.now_ms() >= before_ms + week_ns // 10**6
        assert abs(system.steady_clock.now_ms() - system.clock.now_ms()) < 1_000

    run(case)


def test_the_domain_clock_counts_from_1970() -> None:
    async def case(system: System) -> None:
        before = time.time_ns() // 1_000_000
        assert before <= system.clock.now_ms() <= time.time_ns() // 1_000_000
        assert abs(system.steady_clock.now_ms() - system.clock.now_ms()) < 1_000

    run(case)


def test_lanes_have_threads_of_their_own_started_when_needed() -> None:
    async def case(system: System) -> None:
        def names() -> set[str]:
            return {thread.name for thread in threading.enumerate() if "ottla" in thread.name}

        assert not names()
        gate = threading.Event()
        read = system.workers.submit(Lane.READ, gate.wait)
        name = await system.workers.submit(Lane.FSYNC, lambda: threading.current_thread().name)
        assert name.startswith("ottla-fsync")
        assert not read.done()  # type: ignore[attr-defined]
        assert {name.rsplit("_", 1)[0] for name in names()} == {"ottla-fsync", "ottla-read"}
        gate.set()
        assert await read

    run(case)


def test_closing_waits_for_the_jobs_under_way_and_takes_no_more() -> None:
    async def main() -> None:
        workers = ThreadWorkers(asyncio.get_running_loop())
        gate = threading.Event()
        job = workers.submit(Lane.FSYNC, gate.wait)
        closing = asyncio.ensure_future(workers.close())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="closed"):
            workers.submit(Lane.FSYNC, gate.wait)
        assert not closing.done()
        gate.set()
        await closing
        assert job.done()

    asyncio.run(main())


def test_what_a_job_raises_is_raised() -> None:
    async def case(system: System) -> None:
        with pytest.raises(ZeroDivisionError):
            await system.workers.submit(Lane.CODEC, lambda: 1 // 0)

    run(case)


def test_random_uuids_are_version_4_and_never_begin_with_a_dash() -> None:
    uuids = [SystemRandomness().uuid() for _ in range(2_000)]
    assert len(set(uuids)) == 2_000
    assert {UUID(bytes=uuid).version for uuid in uuids} == {4}
    assert "-" not in {uuid_text(uuid)[0] for uuid in uuids}


def test_random_integers_reach_every_value_below_their_bound() -> None:
    for bound in (1, 2, 5):
        assert {SystemRandomness().below(bound) for _ in range(200)} == set(range(bound))
    assert max(SystemRandomness().below(2**63) for _ in range(100)) > 2**55


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Listener(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


def test_localhost_is_one_port_on_both_families() -> None:
    async def case(system: System) -> None:
        server = await system.network.listen("localhost", 0, Greeter)
        hosts = ["127.0.0.1", "::1"] if has_ipv6_loopback() else ["127.0.0.1"]
        assert [address.host for address in server.addresses] == hosts
        assert len({address.port for address in server.addresses}) == 1
        for address in server.addresses:
            transport, listener = await system.network.connect(*address, Listener)
            connected = transport.get_extra_info("socket")
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await listener.lost
            assert listener.heard == b"hello"
        server.close()
        server.close()
        with pytest.raises(OSError):
            await system.network.connect(*server.addresses[0], Listener)

    run(case)


def test_where_there_is_no_ipv6_the_other_address_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HOSTS, "localhost", ("127.0.0.1", "2001:db8::1"))

    async def case(system: System) -> None:
        server = await system.network.listen("localhost", 0, Greeter)
        assert [address.host for address in server.addresses] == ["127.0.0.1"]
        server.close()

    run(case)


def test_a_taken_port_is_an_error() -> None:
    async def case(system: System) -> None:
        server = await system.network.listen("127.0.0.1", 0, Greeter)
        with pytest.raises(OSError, match="in use"):
            await system.network.listen("localhost", server.addresses[0].port, Greeter)
        server.close()

    run(case)


def test_a_free_port_taken_on_the_other_address_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []
    listen = SocketNetwork._listen

    async def first_is_taken(self, hosts, port, factory):  # type: ignore[no-untyped-def]
        tries.append(port)
        if len(tries) == 1:
            raise OSError(98, "in use")
        return await listen(self, hosts, port, factory)

    monkeypatch.setattr(SocketNetwork, "_listen", first_is_taken)

    async def case(system: System) -> None:
        (await system.network.listen("localhost", 0, Greeter)).close()

    run(case)
    assert tries == [0, 0]
