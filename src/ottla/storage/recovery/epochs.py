"""The leader epochs of a log: from their file, and from the batches what it does not say."""

import logging

from ottla.model.ids import Offset
from ottla.storage import names
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Disk
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.recovery.batches import headers_from
from ottla.storage.segments import Segments

logger = logging.getLogger(__name__)


def load_epochs(
    disk: Disk,
    path: str,
    segments: Segments,
    log_end_offset: Offset,
    trusted: Offset | None = None,
    log_start_offset: Offset | None = None,
) -> LeaderEpochs:
    """Read the epoch file; from `trusted` on, or without one, ask the batches.

    So too for what lies before its first entry, if `log_start_offset` says that
    there is anything: records may have been deleted, and be back.
    """
    file = f"{path}/{names.LEADER_EPOCH_CHECKPOINT}"
    epochs = None
    try:
        epochs = LeaderEpochs.parse(disk.read(file))
    except FileNotFoundError:
        pass
    except CheckpointError as error:
        logger.warning("%s is made anew: %s", file, error)
    if epochs is None:
        epochs = LeaderEpochs()
        trusted = segments.first.base_offset
    elif log_start_offset is not None:
        epochs = _with_older(epochs, segments, log_start_offset)
    if trusted is None or trusted >= log_end_offset:
        epochs.truncate_from_end(log_end_offset)
        return epochs
    epochs.truncate_from_end(trusted)
    for header in headers_from(segments, trusted):
        if header.leader_epoch > epochs.latest:
            epochs.assign(header.leader_epoch, header.base_offset)
    if epochs.dirty:
        disk.write(file, epochs.text(), sync=False)
        epochs.dirty = False
    return epochs


def _with_older(epochs: LeaderEpochs, segments: Segments, start: Offset) -> LeaderEpochs:
    """Return `epochs` with those of the records between `start` and its first entry."""
    known = list(epochs)
    if not known or known[0][1] <= start:
        return epochs
    whole = LeaderEpochs()
    for header in headers_from(segments, start):
        if header.base_offset >= known[0][1]:
            break
        whole.assign(header.leader_epoch, max(header.base_offset, start))
    for epoch, offset in known:
        whole.assign(epoch, offset)
    return whole
