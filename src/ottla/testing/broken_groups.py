"""Group coordinators that are wrong on purpose; `broken.py` says how they are reached."""

from collections.abc import Callable
from typing import Any

from ottla.coordinator.group import commits
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.members import Member, Members
from ottla.coordinator.group.records import OffsetStored
from ottla.testing.broken_transactions import Patch


def give_everybody_the_same(patch: Patch) -> None:
    """Give every member of a generation what the first of them is to have."""
    real_assign = ClassicGroup._assign

    def assign(self: ClassicGroup, request: Any, *arguments: Any) -> Any:
        if request.assignments:
            first = request.assignments[0].assignment
            for each in request.assignments:
                each.assignment = first
        return real_assign(self, request, *arguments)

    patch(ClassicGroup, "_assign", assign)


def take_what_is_not_given_up(patch: Patch) -> None:
    """Take every partition for free, whoever has it or has yet to give it up."""
    patch(ConsumerGroup, "holder", lambda self, topic_id, partition: None)


def let_replaced_members_go_on(patch: Patch) -> None:
    """Take whoever knows an instance id for the member that has it."""
    real_find = Members.find

    def find(self: Members, member_id: str, instance_id: str | None) -> Member:
        holder = None if instance_id is None else self._static_ids.get(instance_id)
        return real_find(self, holder or member_id, instance_id)

    patch(Members, "find", find)


def commit_in_any_generation(patch: Patch) -> None:
    """Ask no commit from whom it comes, nor from when."""
    for kind in (ClassicGroup, ConsumerGroup):
        patch(kind, "check_commit", lambda self, *arguments, **options: None)


def lose_a_commit_now_and_then(patch: Patch) -> None:
    """Answer some commits without writing them: every third offset."""
    real_commit = commits.commit

    def commit(*arguments: Any) -> Out:
        out = real_commit(*arguments)
        out.records = [
            record
            for record in out.records
            if not isinstance(record, OffsetStored)
            or record.committed is None
            or record.committed.offset % 3
        ]
        return out

    patch(commits, "commit", commit)


SWITCHES: tuple[Callable[[Patch], None], ...] = (
    give_everybody_the_same,
    take_what_is_not_given_up,
    let_replaced_members_go_on,
    commit_in_any_generation,
    lose_a_commit_now_and_then,
)
