"""Are the files of a log directory what a broker left there?

Batches are checked by structure, checksum and order; every other file is
compared with what the batches say. Nothing is changed and nothing is trusted.

A single flipped bit is found wherever it is: under the CRC by the checksum; in
length and magic by structure; in the base offset because offsets follow each
other without holes (where compaction has been, only by order); in the leader
epoch by `leader-epoch-checkpoint`.

The walk over a segment runs its indexes, the producers and the epochs along
with the batches, so memory does not grow with the log.
"""

from ottla.storage.verify.batches import walk
from ottla.storage.verify.directory import (
    checkpointed,
    compacted_below,
    log_bytes,
    partitions_in,
    stopped_cleanly,
    verify_directory,
)
from ottla.storage.verify.findings import Checked, Finding, Kind, Progress
from ottla.storage.verify.partition import verify_partition

__all__ = [
    "Checked",
    "Finding",
    "Kind",
    "Progress",
    "checkpointed",
    "compacted_below",
    "log_bytes",
    "partitions_in",
    "stopped_cleanly",
    "verify_directory",
    "verify_partition",
    "walk",
]
