"""The store on three members of etcd that are killed, stopped and compacted: what it promised.

Three stores, as of three brokers, each begin at another member. Each writes
transactions of several keys, counts by compare-and-set in one key with the
others, keeps a lease alive, and watches everything. Afterwards every watch must
have come to what is there, have seen each acknowledged transaction whole at
its revision, and the counter must be what was acknowledged, or more by what was
left in doubt.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from tools.subject.etcd import Etcd, EtcdMember

from ottla.broker.system import MonotonicClock, SocketNetwork
from ottla.metadata.etcd_options import EtcdOptions
from ottla.metadata.store import CompactedError, Compare, LeaseNotFoundError, Revision, Snapshot
from ottla.metadata.store_etcd import EtcdStore
from ottla.model.errors import PeerError

MEMBERS = 3
KEYS = 4
"""Of one transaction."""

COUNTER = "counter"
LEASE_MS = 30_000
PAUSE_S = 0.01
DOWN_S = 3.0
"""At most, each time."""

END_S = 60.0
FAULTS = ("kill", "stop", "kill leader", "stop leader", "compact")


class Outcome(NamedTuple):
    faults: Counter[str]
    acknowledged: int
    """Transactions, those that count included."""

    in_doubt: int
    counted: int
    keep_alives: int
    reloads: int
    """By watches whose revision had been compacted."""

    violations: list[str]


class Broker:
    """What one broker would do with its store."""

    def __init__(self, name: str, store: EtcdStore) -> None:
        self.name = name
        self.store = store
        self.written: dict[Revision, dict[str, bytes]] = {}
        self.counted = 0
        self.in_doubt = 0
        self.keep_alives = 0
        self.reloads = 0
        self.violations: list[str] = []
        self.items: dict[str, bytes] = {}
        self.reached: Revision = 0
        self.seen: dict[Revision, dict[str, bytes]] = {}
        self.unseen: list[range] = []
        """Revisions between a watch's last and the load after it."""

    async def write(self, stop: asyncio.Event) -> None:
        for n in count():
            if stop.is_set():
                return
            puts = {f"{self.name}/{k}": b"%d" % n for k in range(KEYS)}
            try:
                done = await self.store.transact([], puts.items())
                self.written[done.revision] = puts
            except PeerError:
                self.in_doubt += 1
            await asyncio.sleep(PAUSE_S)

    async def count_up(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(PAUSE_S)
            try:
                snapshot = await self.store.load()
            except PeerError:
                continue
            version = snapshot.versions.get(COUNTER)
            compare = Compare(COUNTER, version.mod_revision if version else 0)
            value = b"%d" % (int(snapshot.items.get(COUNTER, b"0")) + 1)
            try:
                self.counted += (await self.store.transact([compare], [(COUNTER, value)])).ok
            except PeerError:
                self.in_doubt += 1

    async def keep_lease(self, stop: asyncio.Event) -> None:
        lease = None
        while not stop.is_set():
            await asyncio.sleep(PAUSE_S * 10)
            try:
                if lease is None:
                    lease = await self.store.grant_lease(LEASE_MS)
                await self.store.keep_alive(lease)
                self.keep_alives += 1
            except LeaseNotFoundError:
                self.violations.append(f"{self.name} lost its lease")
                lease = None
            except PeerError:
                pass

    async def follow(self, snapshot: Snapshot) -> None:
        while True:
            self.items, self.reached = dict(snapshot.items), snapshot.revision
            try:
                async for changes in self.store.watch(snapshot.revision):
                    if changes.revision <= self.reached:
                        self.violations.append(f"{self.name} saw {changes.revision} twice")
                    self.reached = changes.revision
                    puts = {put.key: put.value for put in changes.puts}
                    self.seen[changes.revision] = puts
                    self.items |= puts
                return
            except CompactedError:
                self.reloads += 1
                snapshot = await _insist(self.store)
                self.unseen.append(range(self.reached + 1, snapshot.revision + 1))

    def check(self, written: dict[Revision, dict[str, bytes]], end: Snapshot) -> None:
        """Compare what the watch brought with what was acknowledged and with what is there."""
        if self.items != end.items:
            self.violations.append(f"{self.name} came to other keys than there are")
        for revision, puts in written.items():
            if any(revision in unseen for unseen in self.unseen):
                continue
            if self.seen.get(revision) != puts:
                self.violations.append(f"{self.name} did not see revision {revision} as written")


def run(faults: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Do so many faults, one after the other, and tell each.

    Raises:
        EtcdNotFoundError: this machine has no etcd.
    """
    with Etcd(MEMBERS) as etcd:
        say(str(etcd.binary))
        return asyncio.run(_run(etcd, faults, random.Random(seed), say))


async def _run(
    etcd: Etcd, faults: int, chance: random.Random, say: Callable[[str], None]
) -> Outcome:
    loop = asyncio.get_running_loop()
    network, clock = SocketNetwork(loop), MonotonicClock(loop)
    brokers = []
    for n in range(MEMBERS):
        options = EtcdOptions(
            endpoints=etcd.endpoints,
            first_endpoint=n,
            call_timeout_ms=3_000,
            attempt_timeout_ms=700,
            progress_interval_ms=200,
        )
        brokers.append(Broker(f"broker{n}", EtcdStore(options, network, clock)))
    following = [
        asyncio.ensure_future(broker.follow(await broker.store.load())) for broker in brokers
    ]
    stop = asyncio.Event()
    busy = [
        asyncio.ensure_future(work(stop))
        for broker in brokers
        for work in (broker.write, broker.count_up, broker.keep_lease)
    ]
    done: Counter[str] = Counter()
    for n in range(faults):
        fault = chance.choice(FAULTS)
        done[fault] += 1
        say(f"{n + 1} of {faults}: {fault}, revision {brokers[0].store.revision}")
        await _inflict(fault, etcd, brokers[0].store, chance)
        await asyncio.sleep(chance.random() * DOWN_S / 2)
    stop.set()
    await asyncio.gather(*busy)
    end = await _insist(brokers[0].store)
    violations = await _conclude(brokers, end)
    for broker in brokers:
        await broker.store.close()
    await asyncio.gather(*following)
    written = sum(len(broker.written) for broker in brokers)
    counted, in_doubt = (
        sum(broker.counted for broker in brokers),
        sum(broker.in_doubt for broker in brokers),
    )
    if not counted <= int(end.items[COUNTER]) <= counted + in_doubt:
        violations.append(f"the counter is {end.items[COUNTER]!r} after {counted} + {in_doubt}")
    return Outcome(
        done,
        written + counted,
        in_doubt,
        counted,
        sum(broker.keep_alives for broker in brokers),
        sum(broker.reloads for broker in brokers),
        violations,
    )


async def _inflict(fault: str, etcd: Etcd, store: EtcdStore, chance: random.Random) -> None:
    if fault == "compact":
        with suppress(PeerError):  # nothing depends on it
            await store.compact(max(1, store.revision - chance.randrange(20)))
        return
    member = await asyncio.to_thread(_leader, etcd) if "leader" in fault else None
    member = member or chance.choice(etcd.members)
    if "kill" in fault:
        member.kill9()
        await asyncio.sleep(chance.random() * DOWN_S)
        await asyncio.to_thread(member.start)
    else:
        await asyncio.to_thread(member.pause)
        await asyncio.sleep(chance.random() * DOWN_S)
        member.resume()


def _leader(etcd: Etcd) -> EtcdMember | None:
    try:
        return etcd.leader()
    except (RuntimeError, ValueError):
        return None  # being elected


async def _conclude(brokers: list[Broker], end: Snapshot) -> list[str]:
    try:
        async with asyncio.timeout(END_S):
            while any(broker.reached < end.revision for broker in brokers):
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        stuck = [broker.name for broker in brokers if broker.reached < end.revision]
        return [f"{', '.join(stuck)} did not come to revision {end.revision}"]
    written: dict[Revision, dict[str, bytes]] = {}
    for broker in brokers:
        written |= broker.written
    for broker in brokers:
        broker.check(written, end)
    return [violation for broker in brokers for violation in broker.violations]


async def _insist(store: EtcdStore) -> Snapshot:
    async with asyncio.timeout(END_S):
        while True:
            try:
                return await store.load()
            except PeerError:
                await asyncio.sleep(PAUSE_S)
