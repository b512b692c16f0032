"""A partition as a follower: what its leader sent, and where their histories part.

A follower's log is a beginning of its leader's, but for what an earlier leader gave it that
was never committed. Which that is the leader epochs say (KIP-101, KIP-279): the leader answers
a fetch with the largest epoch both may have in common and where it ended there, and the
follower cuts its log there, or where it ended here if that is less, and asks again.
"""

import logging

from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.checksum import Buffer
from ottla.replica.partition import Partition
from ottla.storage.log_config import DURABLE

logger = logging.getLogger("ottla.replica")


def append(partition: Partition, records: Buffer, now_ms: int) -> None:
    """Append the leader's batches, as they are; `now_ms` is by the domain clock.

    Raises:
        ApiError: CORRUPT_MESSAGE, OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR as
            `Log.append_as_follower`.
        StorageError: the log directory is offline now.
    """
    assert not partition.is_leader, partition
    log = partition.log
    log.append_as_follower(records, now_ms, partition.leader_epoch)
    if log.config.flush_messages == DURABLE:
        partition.request_flush(partition)
    else:
        partition.flush_if_due()


def learn(partition: Partition, high_watermark: Offset, log_start_offset: Offset) -> None:
    """Take over what the leader says is committed and where its log begins.

    Neither goes back, whatever a new leader knows: what was committed once still is.

    Raises:
        ApiError, StorageError: the log directory is offline.
    """
    if high_watermark > partition.leader_high_watermark:
        partition.leader_high_watermark = high_watermark
    partition.advance_high_watermark(0)
    log = partition.log
    start = min(log_start_offset, partition.high_watermark)
    if start > log.log_start_offset:
        log.advance_log_start(start)
        partition.tell_start()


def truncation_point(partition: Partition, leader_epoch: LeaderEpoch, end_offset: Offset) -> Offset:
    """Where to cut, if at the leader `leader_epoch` ended at `end_offset`."""
    log = partition.log
    if leader_epoch < 0:
        return min(partition.high_watermark, log.log_end_offset)
    epoch, own_end = log.leader_epochs.end_offset_for(leader_epoch, log.log_end_offset)
    point = min(end_offset, log.log_end_offset)
    return point if epoch < 0 else min(point, own_end)


def truncate(partition: Partition, offset: Offset, now_ms: int) -> bool:
    """Cut the log at `offset`; return whether there was anything to cut.

    Raises:
        StorageError: the log directory is offline now.
    """
    assert not partition.is_leader, partition
    log = partition.log
    end, high_watermark = log.log_end_offset, partition.high_watermark
    if not log.truncate_to(offset, now_ms):
        return False
    logger.info(
        "%s is cut from %d to %d, as its leader's epochs say",
        partition.name,
        end,
        log.log_end_offset,
    )
    _follow_end(partition)
    partition.flush_what_counts()  # the cut took back what was known to be on disk
    if partition.high_watermark < high_watermark:
        logger.warning(
            "%s lost records that were committed: below %d, from %d on; "
            "an unclean election, or replicas that lost what they had",
            partition.name,
            high_watermark,
            partition.high_watermark,
        )
    return True


def start_over(partition: Partition, offset: Offset, now_ms: int) -> None:
    """Drop everything, and begin where the leader does.

    Raises:
        StorageError: the log directory is offline now.
    """
    assert not partition.is_leader, partition
    log = partition.log
    logger.info(
        "%s, which has [%d, %d), begins anew at %d, where its leader does",
        partition.name,
        log.log_start_offset,
        log.log_end_offset,
        offset,
    )
    log.truncate_fully_and_start_at(offset, now_ms)
    partition.high_watermark = log.high_watermark
    partition.leader_high_watermark = max(partition.leader_high_watermark, offset)
    partition.tell_start()


def _follow_end(partition: Partition) -> None:
    """The high watermark is not above the log's end."""
    log = partition.log
    partition.high_watermark = min(partition.high_watermark, log.log_end_offset)
    partition.leader_high_watermark = min(partition.leader_high_watermark, partition.high_watermark)
    log.high_watermark = partition.high_watermark
    partition.tell_start()
