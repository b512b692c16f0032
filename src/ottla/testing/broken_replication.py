"""Brokers that replicate wrongly on purpose; `broken.py` says how they are reached."""

from collections.abc import Callable, Container
from typing import Any

from ottla.broker.cluster import Cluster
from ottla.broker.control import Control
from ottla.broker.membership import Doubt, Found
from ottla.handlers.fetch import Fetch
from ottla.metadata import election
from ottla.metadata.image import Image, PartitionImage
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.replica import following, isr, isr_changes, partition
from ottla.replica.isr_changes import IsrChanges
from ottla.replica.leadership import Leadership
from ottla.replica.partition import Partition
from ottla.testing.broken_transactions import Patch


def acknowledge_before_replication(patch: Patch) -> None:
    """Take for committed what the leader has."""
    patch(Leadership, "committed", lambda self, own_end: own_end)


def ignore_epochs(patch: Patch) -> None:
    """Let a follower go on from its log's end, whoever gave it what is below."""
    patch(Fetch, "_divergence", staticmethod(lambda wanted, replica: None))


def shrink_isr_without_the_store(patch: Patch) -> None:
    """Leave a laggard behind, and tell nobody."""
    real_write = IsrChanges._write

    async def write(self: IsrChanges, proposed: list[Any]) -> None:
        rest = []
        for change in proposed:
            if len(change.after.isr) < len(change.before.isr):
                silent = change.after._replace(revision=change.before.revision)
                change.partition.settle_isr(silent, 0)
            else:
                rest.append(change)
        if rest:
            await real_write(self, rest)

    patch(IsrChanges, "_write", write)


def lead_for_ever(patch: Patch) -> None:
    """Who leads goes on when another was elected, and commits alone."""
    real_follow = Partition.become_follower

    def become_follower(self: Partition, state: PartitionImage) -> None:
        if not self.is_leader:
            real_follow(self, state)
            return
        self.leader_epoch = state.leader_epoch
        self.leadership, self.is_alone, self.is_under_min_isr = None, True, False
        self.advance_high_watermark(0)

    patch(Partition, "become_follower", become_follower)


def elect_anybody(patch: Patch) -> None:
    """Have any broker that lives lead, those that are not in sync first."""

    def leader_of(state: PartitionImage, usable: Container[BrokerId], *arguments: Any) -> BrokerId:
        alive = [broker for broker in state.replicas if broker in usable]
        if state.leader in alive:
            return state.leader
        outside = [broker for broker in alive if broker not in (*state.isr, *state.elr)]
        return (*outside, *alive, NO_BROKER)[0]

    patch(election, "_leader_of", leader_of)


def truncate_to_high_watermark(patch: Patch) -> None:
    """Cut what is not known to be committed, whenever another leads (before KIP-101)."""
    real_follow = Partition.become_follower

    def become_follower(self: Partition, state: PartitionImage) -> None:
        real_follow(self, state)
        if state.leader != NO_BROKER and self.log.log_end_offset > self.high_watermark:
            following.truncate(self, self.high_watermark, 0)

    patch(Partition, "become_follower", become_follower)


def join_with_anything(patch: Patch) -> None:
    """Take every follower that fetches into the ISR, whatever it has."""

    def joiners(leadership: Leadership, **known: Any) -> list[Any]:
        members = leadership.state.isr
        return [each for each in leadership.followers.values() if each.broker_id not in members]

    patch(isr_changes, "joiners", joiners)


def catch_up_at_once(patch: Patch) -> None:
    """Take every follower that fetches for one that has caught up, as in a reassignment."""
    patch(isr, "has_caught_up", lambda follower, **known: True)
    patch(partition, "has_caught_up", lambda follower, **known: True)


def trust_logs_after_power_cuts(patch: Patch) -> None:
    """Stay in every ISR with what the machine left of the logs."""
    patch(Cluster, "_found", lambda self, topic, number, as_found: Found(Doubt.NONE))


def count_before_flush(patch: Patch) -> None:
    """Count what is in memory, as leader and as follower, where what is on disk was promised."""
    patch(Partition, "counted_end", property(lambda self: self.log.log_end_offset))


def tell_ends_too_soon(patch: Patch) -> None:
    """Say where a log ends before all that an earlier leader told is known to be committed."""
    patch(Partition, "knows_its_end", True)


def answer_before_it_is_written(patch: Patch) -> None:
    """Say that topics are made, and now and then make none."""
    real_write = Control._write
    asked = 0

    async def write(self: Control, image: Image, decisions: list[Any]) -> None:
        nonlocal asked
        written = []
        for decided in decisions:
            asked += any(key.startswith("topic/") for key, _ in decided.writes.puts)
            if asked % 3 == 2:
                asked += 1
                decided.settle()
            else:
                written.append(decided)
        await real_write(self, image, written)

    patch(Control, "_write", write)


SWITCHES: tuple[Callable[[Patch], None], ...] = (
    acknowledge_before_replication,
    ignore_epochs,
    shrink_isr_without_the_store,
    lead_for_ever,
    elect_anybody,
    truncate_to_high_watermark,
    join_with_anything,
    catch_up_at_once,
    trust_logs_after_power_cuts,
    count_before_flush,
    tell_ends_too_soon,
    answer_before_it_is_written,
)
