"""Logs against the obvious model, while the process dies and the power is cut at any operation.

`LogWorld` does what the rules say and compares after every death; here it is
Hypothesis that says it, so that what fails comes out small.
"""

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ottla.model.isolation import CompressionType
from ottla.testing.log_world import Death, LogWorld, Slot
from ottla.testing.randomness import SeededRandomness

PRODUCERS = 3
SLOTS = st.integers(0, 1)
DEATHS = st.sampled_from(list(Death))


class CrashMachine(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 2**32), durable=st.booleans(), page=st.sampled_from([64, 512, 4096])
    )
    def begin(self, seed: int, durable: bool, page: int) -> None:
        self.world = LogWorld(SeededRandomness(seed), durable=durable, page_bytes=page)

    def act(self, slot: int, action: Callable[[LogWorld, Slot], None]) -> None:
        self.world.act(lambda: action(self.world, self.world.slots[slot]))

    # Writing.

    @rule(
        slot=SLOTS,
        producer=st.none() | st.integers(0, PRODUCERS - 1),
        count=st.integers(1, 4),
        size=st.sampled_from([0, 40, 120, 300]),
        compression=st.sampled_from(list(CompressionType)),
        later_ms=st.integers(-60, 40),
    )
    def produce(
        self,
        slot: int,
        producer: int | None,
        count: int,
        size: int,
        compression: CompressionType,
        later_ms: int,
    ) -> None:
        self.world.now_ms += max(later_ms, 0)
        at_ms = self.world.now_ms + min(later_ms, 0)
        self.act(
            slot,
            lambda world, it: world.produce(
                it,
                producer=producer,
                count=count,
                size=size,
                compression=compression,
                timestamp_ms=at_ms,
            ),
        )

    @rule(slot=SLOTS, producer=st.integers(0, PRODUCERS - 1))
    def send_again(self, slot: int, producer: int) -> None:
        self.act(slot, lambda world, it: world.send_again(it, producer))

    @rule(slot=SLOTS, producer=st.integers(0, PRODUCERS - 1))
    def leave_a_gap(self, slot: int, producer: int) -> None:
        self.act(slot, lambda world, it: world.leave_a_gap(it, producer))

    @rule(slot=SLOTS)
    def roll(self, slot: int) -> None:
        self.act(slot, lambda world, it: world.roll(it))

    @rule(slot=SLOTS)
    def flush(self, slot: int) -> None:
        self.act(slot, lambda world, it: world.flush(it))

    @rule(slot=SLOTS)
    def flush_now(self, slot: int) -> None:
        self.act(slot, lambda world, it: world.flush_now(it))

    @rule(index=st.integers(0, 7))
    def work(self, index: int) -> None:
        self.act(0, lambda world, it: world.work(index))

    @rule()
    def checkpoint(self) -> None:
        self.act(0, lambda world, it: world.checkpoint())

    # Cutting.

    @rule(slot=SLOTS, back=st.integers(0, 30))
    def truncate(self, slot: int, back: int) -> None:
        self.act(slot, lambda world, it: world.truncate(it, max(it.model.end - back, 0)))

    @rule(slot=SLOTS, gap=st.integers(0, 20))
    def start_over(self, slot: int, gap: int) -> None:
        self.act(slot, lambda world, it: world.start_over(it, it.model.end + gap))

    @rule(slot=SLOTS, back=st.integers(0, 30))
    def delete_records(self, slot: int, back: int) -> None:
        self.act(slot, lambda world, it: world.delete_records(it, it.model.end - back))

    @rule(slot=SLOTS, size=st.integers(0, 5000))
    def retain_bytes(self, slot: int, size: int) -> None:
        self.act(slot, lambda world, it: world.retain(it, size=size))

    @rule(slot=SLOTS, age_ms=st.integers(1, 400))
    def retain_ms(self, slot: int, age_ms: int) -> None:
        self.act(slot, lambda world, it: world.retain(it, age_ms=age_ms))

    @rule()
    def remove_due(self) -> None:
        self.act(0, lambda world, it: world.remove_due())

    @rule(slot=SLOTS)
    def recreate(self, slot: int) -> None:
        self.act(slot, lambda world, it: world.recreate(it))

    # Ends, and looking.

    @rule(operations=st.integers(1, 40), death=DEATHS)
    def die_soon(self, operations: int, death: Death) -> None:
        self.world.die_in(operations, death)

    @rule(death=DEATHS)
    def die(self, death: Death) -> None:
        self.world.die(death)

    @rule()
    def restart(self) -> None:
        self.act(0, lambda world, it: world.restart())

    @rule(slot=SLOTS)
    def look(self, slot: int) -> None:
        self.act(slot, lambda world, it: world.check(it))


CrashMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLogsThroughCrashes = CrashMachine.TestCase
