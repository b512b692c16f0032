"""Compacting a log here and now, as the broker does it bit by bit."""

from ottla.storage.compaction.job import CompactionJob
from ottla.storage.compaction.plan import Cleaned, CompactionPlan, Finished
from ottla.storage.compaction.survey import Resources, plan, survey
from ottla.storage.compaction.swap import Swap
from ottla.storage.log import Log
from ottla.storage.segment import Segment

RESOURCES = Resources()


def plan_for(
    log: Log, now_ms: int, clean_offset: int | None = None, resources: Resources = RESOURCES
) -> CompactionPlan | None:
    """Return what would be done with `log`, None if there is nothing it could be done with."""
    dirt = survey(log, clean_offset, now_ms)
    return plan(log, dirt, now_ms, resources) if dirt.dirty_bytes else None


def compact(
    log: Log, now_ms: int, clean_offset: int | None = None, resources: Resources = RESOURCES
) -> int | None:
    """Compact `log`; return up to where it is clean now, None if nothing was done."""
    planned = plan_for(log, now_ms, clean_offset, resources)
    if planned is None:
        return None
    end = None
    generation = log.generation
    for step in CompactionJob(log.directory.disk, planned).steps():
        if isinstance(step, Cleaned):
            put_in_place(log, generation, step, now_ms)
        elif isinstance(step, Finished):
            end = step.end_offset
    return end


def put_in_place(log: Log, generation: int, cleaned: Cleaned, now_ms: int) -> list[Segment]:
    swap = Swap(log, generation, cleaned)
    assert swap.is_current()
    disk = log.directory.disk
    swap.stage()
    disk.sync_directory(log.path)
    old = swap.put_in_place(now_ms)
    disk.sync_directory(log.path)
    swap.finish()
    disk.sync_directory(log.path)
    return old
