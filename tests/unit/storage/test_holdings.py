"""What a directory holds is what the broker would find in it when it starts."""

import pytest
from tests.unit.storage.parts import ROOT, CountingRandomness, append, batch

from ottla.model.holdings import HeldLog, Holdings, MetadataCopy
from ottla.model.ids import TopicPartition
from ottla.storage.holdings import read_holdings
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.metadata_copy import FILE, copy_text
from ottla.storage.roots import LogsError

TOPIC = bytes([7] * 16)
CONFIG = LogConfig()


def opened(disk: MemoryDisk) -> Logs:
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 4)
    logs.load(lambda partition, topic_id: CONFIG, 0)
    return logs


def filled(disk: MemoryDisk, batches: int = 5) -> tuple[Logs, Log]:
    logs = opened(disk)
    log = logs.create(TopicPartition("t", 0), TOPIC, CONFIG, 0)
    for number in range(batches):
        append(
            log,
            batch(2, producer_id=30 + number, producer_epoch=0, base_sequence=0),
            epoch=number // 2,
        )
    log.high_watermark = 6
    return logs, log


def only(holdings: Holdings) -> HeldLog:
    (log,) = holdings.logs
    return log


def test_after_a_clean_stop_it_says_what_that_left_written_down() -> None:
    disk = MemoryDisk()
    logs, _ = filled(disk)
    logs.close()
    holdings = read_holdings(disk, ROOT)
    assert (holdings.cluster_id, holdings.node_id, holdings.stopped_cleanly) == ("cluster", 4, True)
    assert holdings.highest_producer_id == 34
    assert only(holdings) == HeldLog("t", 0, TOPIC, 2, 2, 0, 10, 6)


def test_after_a_death_the_batches_are_asked() -> None:
    disk = MemoryDisk()
    logs, _ = filled(disk)
    for job in logs.checkpoint_jobs():
        job.run()
    logs.release()
    holdings = read_holdings(disk, ROOT)
    assert not holdings.stopped_cleanly
    assert holdings.highest_producer_id == 34
    assert only(holdings) == HeldLog("t", 0, TOPIC, 2, 2, 0, 10, 6)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_torn_tail_ends_where_recovery_ends_it(cut: int) -> None:
    disk = MemoryDisk()
    logs, log = filled(disk)
    path = f"{log.path}/00000000000000000000.log"
    logs.release()
    file = disk.open(path)
    file.truncate(file.size() - cut)
    held = only(read_holdings(disk, ROOT))
    # Epoch 2 began where the log ends now: all that was before it is there.
    assert (held.log_end_offset, held.last_epoch) == (8, 2)
    recovered = opened(disk).get(TopicPartition("t", 0))
    assert recovered is not None
    assert recovered.log_end_offset == held.log_end_offset


def test_an_epoch_that_began_behind_the_last_record_counts() -> None:
    disk = MemoryDisk()
    logs, log = filled(disk)
    logs.release()
    epochs = disk.read(f"{log.path}/leader-epoch-checkpoint").decode().splitlines()
    disk.write(
        f"{log.path}/leader-epoch-checkpoint",
        "\n".join(["0", "4", *epochs[2:], "9 10", ""]).encode(),
        sync=True,
    )
    assert only(read_holdings(disk, ROOT)).last_epoch == 9


def test_the_copy_is_there_unless_it_is_garbled() -> None:
    disk = MemoryDisk()
    filled(disk)[0].close()
    text = copy_text(MetadataCopy("cluster", 0, "", 3, 1, {}, {}), [])
    disk.write(f"{ROOT}/{FILE}", text, sync=True)
    copy = read_holdings(disk, ROOT).copy
    assert copy is not None
    assert copy.revision == 3
    disk.write(f"{ROOT}/{FILE}", text + b"x", sync=True)
    holdings = read_holdings(disk, ROOT)
    assert holdings.copy is None
    assert "checksum" in holdings.problems[0]


def test_a_partition_that_lost_its_topics_id_is_told_of() -> None:
    disk = MemoryDisk()
    logs, log = filled(disk)
    logs.close()
    disk.remove(f"{log.path}/partition.metadata")
    holdings = read_holdings(disk, ROOT)
    assert only(holdings).topic_id is None
    assert "does not say the topic's id" in holdings.problems[0]


def test_nothing_is_changed() -> None:
    disk = MemoryDisk()
    logs, log = filled(disk)
    logs.release()
    before = {name: disk.read(f"{log.path}/{name}") for name in disk.list(log.path)}
    roots = disk.list(ROOT)
    read_holdings(disk, ROOT)
    assert {name: disk.read(f"{log.path}/{name}") for name in disk.list(log.path)} == before
    assert disk.list(ROOT) == roots


def test_a_directory_of_nobody_is_refused() -> None:
    disk = MemoryDisk()
    disk.make_directories(ROOT)
    with pytest.raises(LogsError, match="no broker's data directory"):
        read_holdings(disk, ROOT)
