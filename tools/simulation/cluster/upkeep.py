"""One seed: a cluster whose brokers delete old segments while it is read, copied, and fails.

Clients, faults and machines are those of `run`. Retention moves each log's start meanwhile; its
own checkers ask why a start moved, and whether what went had been committed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from tools.simulation.checkers import violations
from tools.simulation.cluster.checkers import CHECKERS
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.machine import TOPIC, Machine
from tools.simulation.cluster.run import Shape, lived
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.history import Deleted, Outcome
from tools.simulation.life import Ran, live_through

OFF = -1


@dataclass(frozen=True)
class UpkeepShape(Shape):
    """A cluster's shape, with what retention keeps."""

    keep_bytes: int = OFF
    keep_ms: int = OFF
    check_ms: int = 1_000

    @classmethod
    def of(cls, seed: int) -> "UpkeepShape":
        chance = random.Random(f"upkeep {seed}")
        base = Shape.of(seed)
        known = {each.name: getattr(base, each.name) for each in fields(base)}
        known["segment_ms"] = chance.choice((300, 1_000, 3_000))
        by_size, by_age = chance.choice(((True, False), (False, True), (True, True)))
        return cls(
            **known,
            keep_bytes=chance.choice((0, 300, 1_000)) if by_size else OFF,
            keep_ms=chance.choice((500, 2_000, 6_000)) if by_age else OFF,
            check_ms=chance.choice((200, 1_000, 4_000)),
        )

    @property
    def settings(self) -> dict[str, str]:
        return {**super().settings, "log.retention.check.interval.ms": str(self.check_ms)}

    @property
    def topic_configs(self) -> dict[str, str]:
        return {
            **super().topic_configs,
            "retention.bytes": str(self.keep_bytes),
            "retention.ms": str(self.keep_ms),
            "file.delete.delay.ms": "1000",
        }


class Begins(NamedTuple):
    """A replica's log was seen to begin later than before."""

    at: float
    partition: int
    broker: int
    start: int
    segment: int
    """Where its first segment begins."""
    size: int
    is_cut: bool
    """Its end went back meanwhile: `size` says nothing of what was left when the start moved."""
    ahead_ms: int
    """How far its machine's clock ever was ahead of the time."""
    committed: int
    """No high watermark is above: where the shortest log of those in sync ends."""


@dataclass
class UpkeepHistory(ClusterHistory):
    keep_bytes: int = OFF
    keep_ms: int = OFF
    begins: list[Begins] = field(default_factory=list)


class UpkeepWorld(ClusterWorld):
    """Looks where the logs begin, too."""

    history: UpkeepHistory

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        """Start and end of a log when it was seen last, by (broker, partition)."""
        self._ahead_ms = dict.fromkeys(self.machines, 0)

    async def look_now(self, last: dict[int, tuple[Any, ...]]) -> None:
        await super().look_now(last)
        topic = (await self.image()).topics.get(TOPIC)
        ends = {machine.id: machine.ends() for machine in self.machines.values()}
        for machine in self.machines.values():
            ahead_ms = machine.clock.now_ms() - self.clock.now_ms()
            self._ahead_ms[machine.id] = max(self._ahead_ms[machine.id], ahead_ms)
            for number, log in machine.logs().items():
                if topic is None or log._segments is None:
                    continue
                state = topic.partitions[number]
                in_sync = [each for each in state.isr if each not in state.offline_replicas]
                known = [ends[each].get(number) for each in in_sync]
                committed = min((end for end in known if end is not None), default=1 << 62)
                self._look_at(machine, number, log, committed)

    def _look_at(self, machine: Machine, number: int, log: Any, committed: int) -> None:
        start, end = log.log_start_offset, log.log_end_offset
        old_start, old_end = self._known.get((machine.id, number), (0, 0))
        self._known[machine.id, number] = start, end
        if start <= old_start:
            return
        self.history.begins.append(
            Begins(
                self.loop.time(),
                number,
                machine.id,
                start,
                log.segments.first.base_offset,
                log.size_bytes,
                end < old_end,
                self._ahead_ms[machine.id],
                committed,
            )
        )


def retained(history: UpkeepHistory) -> Iterator[str]:
    """D1: a log's start moves by a request, by what its settings let go, or with another's."""
    reasons: dict[int, int] = {}
    """The latest start that has one, by partition."""
    waiting: list[Begins] = []
    for each in history.begins:
        asked = [x.offset for x in history.deleted if _is_before(x, each)]
        if each.start <= max((*asked, reasons.get(each.partition, 0))) or _may_go(history, each):
            reasons[each.partition] = max(reasons.get(each.partition, 0), each.start)
        else:
            waiting.append(each)
    for each in waiting:
        # Of two that moved between two looks the one with the reason may be looked at second.
        same = [
            x
            for x in history.begins
            if (x.at, x.partition) == (each.at, each.partition) and _may_go(history, x)
        ]
        if each.start > max((x.start for x in same), default=0):
            yield (
                f"{each.partition} at broker {each.broker} starts at {each.start} at "
                f"{each.at:.3f} s, and {each.size} bytes are left"
            )


def _is_before(asked: Deleted, begins: Begins) -> bool:
    return asked.partition == begins.partition and asked.start <= begins.at


def _may_go(history: UpkeepHistory, begins: Begins) -> bool:
    """Whether the broker's own retention may have done it: it takes whole segments."""
    if begins.start != begins.segment:
        return False
    if history.keep_bytes >= 0 and (begins.is_cut or begins.size >= history.keep_bytes):
        return True
    return history.keep_ms >= 0 and all(
        (begins.at - ack.start) * 1_000 + begins.ahead_ms > history.keep_ms
        for ack in history.produced
        if ack.partition == begins.partition
        and ack.outcome is Outcome.OK
        and 0 <= ack.base_offset < begins.start
    )


def uncommitted(history: UpkeepHistory) -> Iterator[str]:
    """D1: nothing goes before it is committed."""
    for each in history.begins:
        if each.start > each.committed:
            yield (
                f"{each.partition} at broker {each.broker} starts at {each.start} at "
                f"{each.at:.3f} s, and at most {each.committed} is committed"
            )


def checked(history: UpkeepHistory) -> list[str]:
    """All that is wrong; for the checkers of every cluster, what went had been asked to go."""
    found = violations(history, {"retained": retained, "uncommitted": uncommitted})
    history.deleted += [Deleted(x.partition, x.start, x.at, x.at) for x in history.begins]
    return found + violations(history, CHECKERS)


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    shape = UpkeepShape.of(seed)
    history = UpkeepHistory(keep_bytes=shape.keep_bytes, keep_ms=shape.keep_ms)

    async def live(world: UpkeepWorld, faults: list[Fault]) -> None:
        await lived(seed, world, faults)

    return live_through(
        seed,
        shape,
        history,
        live,
        lambda: checked(history),
        make=UpkeepWorld,
        trace=trace,
        traced=traced,
    )
