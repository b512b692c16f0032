"""Share groups that are wrong on purpose; `broken.py` says how they are reached."""

from collections.abc import Callable
from typing import Any

from ottla.coordinator.share import state
from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.partitions import SharePartitions
from ottla.coordinator.share.runs import RecordState, Run, Transition
from ottla.coordinator.share.state import AcknowledgeType, ShareState
from ottla.testing.broken_transactions import Patch


def take_a_word_without_storing_it(patch: Patch) -> None:
    """Answer acknowledgements that are not written."""

    async def store(self: SharePartition, transition: Transition) -> None:
        self.state.stored(transition)
        self.wake()

    patch(SharePartition, "_store", store)


def give_what_another_holds(patch: Patch) -> None:
    """Take acquired records for free."""

    def is_available(self: Run) -> bool:
        return self.changing is None and not self.state.is_terminal

    patch(Run, "is_available", property(is_available))


def take_anybodys_word(patch: Patch) -> None:
    """Ask no acknowledgement from whom it comes."""
    patch(ShareState, "_check", lambda self, member_id, run, kind: None)


def count_no_deliveries(patch: Patch) -> None:
    """Let every delivery be the first."""
    real_acquire = ShareState.acquire

    def acquire(self: ShareState, *arguments: Any, **options: Any) -> Any:
        acquired = real_acquire(self, *arguments, **options)
        for first, last, _ in acquired:
            for run in self.runs.within(first, last):
                run.count = 1
        return [each._replace(delivery_count=1) for each in acquired]

    patch(ShareState, "acquire", acquire)


def begin_where_the_log_ends(patch: Patch) -> None:
    """Pass over what is there before a partition is first fetched from."""
    patch(SharePartitions, "_first_offset", lambda self, group_id, replica: replica.high_watermark)


def give_up_what_is_released(patch: Patch) -> None:
    """Take a release for a rejection."""
    becomes = {**state._BECOMES, AcknowledgeType.RELEASE: RecordState.ARCHIVED}
    patch(state, "_BECOMES", becomes)


SWITCHES: tuple[Callable[[Patch], None], ...] = (
    take_a_word_without_storing_it,
    give_what_another_holds,
    take_anybodys_word,
    count_no_deliveries,
    begin_where_the_log_ends,
    give_up_what_is_released,
)
