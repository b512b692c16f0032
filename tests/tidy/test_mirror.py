"""Every module of the layers below the coordinator has a test file of its name, or a reason."""

import pytest
from tools.layers import REPOSITORY, SOURCE

PACKAGES = ("storage", "record", "replica", "coordinator", "metadata", "net")

#: Module -> (the tests that cover it, why they are not its own).
ELSEWHERE: dict[str, tuple[str, str]] = {
    "coordinator/transaction/markers.py": ("tests/unit/broker/test_transactions.py", "a protocol"),
    "coordinator/share/persister.py": ("tests/unit/broker/test_share_persister.py", "a protocol"),
    "metadata/quorum.py": ("tests/unit/metadata/test_etcd_quorum.py", "values only"),
    "coordinator/transaction/settings.py": (
        "tests/unit/coordinator/transaction/test_shard.py",
        "values only",
    ),
    "coordinator/group/administration.py": (
        "tests/transcripts/test_groups.py",
        "describing, listing and deleting, in conversations",
    ),
    "coordinator/group/classic_join.py": (
        "tests/transcripts/test_groups.py",
        "conversations with the core, readable line by line",
    ),
    "coordinator/group/classic_members.py": (
        "tests/unit/coordinator/group/test_migration.py",
        "classic members of a group that was upgraded",
    ),
    "coordinator/group/classic_rebalance.py": (
        "tests/transcripts/test_groups.py",
        "conversations with the core, readable line by line",
    ),
    "coordinator/group/classic_requests.py": (
        "tests/transcripts/test_groups.py",
        "conversations with the core, readable line by line",
    ),
    "coordinator/group/classic_state.py": (
        "tests/property/coordinator/test_group_reload.py",
        "every move of a random life is one of the table",
    ),
    "coordinator/group/classic_stored.py": (
        "tests/property/coordinator/test_group_reload.py",
        "a fresh group over the same log is compared",
    ),
    "coordinator/group/commits.py": (
        "tests/transcripts/test_groups.py",
        "conversations with the core, readable line by line",
    ),
    "coordinator/group/consumer.py": (
        "tests/unit/coordinator/group/test_consumer_requests.py",
        "what heartbeats lead to, and replays",
    ),
    "coordinator/group/consumer_records.py": (
        "tests/unit/coordinator/group/test_consumer_requests.py",
        "every record is made and replayed there",
    ),
    "coordinator/share/batches.py": (
        "tests/unit/coordinator/share/test_shard.py",
        "newer stretches over older ones",
    ),
    "coordinator/share/records.py": (
        "tests/unit/coordinator/share/test_shard.py",
        "written and read back",
    ),
    "coordinator/share/runs.py": (
        "tests/unit/coordinator/share/test_state.py",
        "seen through the state they make up",
    ),
    "coordinator/group/streams/describe.py": (
        "tests/interop/test_every_version.py",
        "every field, as Kafka describes it",
    ),
    "coordinator/group/streams/endpoints.py": (
        "tests/unit/coordinator/group/streams/test_heartbeat.py",
        "told in answers to heartbeats",
    ),
    "coordinator/group/streams/group.py": (
        "tests/unit/coordinator/group/streams/test_heartbeat.py",
        "what heartbeats lead to, and replays",
    ),
    "coordinator/group/streams/records.py": (
        "tests/unit/coordinator/group/streams/test_heartbeat.py",
        "every record is made and replayed there",
    ),
    "coordinator/group/streams/tasks.py": (
        "tests/unit/coordinator/group/streams/test_member.py",
        "tasks wanted and held, in every role",
    ),
    "coordinator/group/streams/topology.py": (
        "tests/unit/coordinator/group/streams/test_configured.py",
        "topologies as members send them",
    ),
    "coordinator/group/kinds.py": (
        "tests/unit/coordinator/group/test_consumer_requests.py",
        "a protocol",
    ),
    "coordinator/group/modern.py": (
        "tests/unit/coordinator/group/test_consumer_requests.py",
        "what every newer kind of group is made from",
    ),
    "coordinator/group/classic.py": (
        "tests/transcripts/test_groups.py",
        "conversations with the core, readable line by line",
    ),
    "coordinator/group/settings.py": (
        "tests/unit/coordinator/group/test_coordinator.py",
        "values only",
    ),
    "coordinator/group/shard.py": (
        "tests/property/coordinator/test_group_reload.py",
        "random commands, against a fresh shard over the same log",
    ),
    "coordinator/outcome.py": ("tests/unit/coordinator/test_runtime.py", "values and protocols"),
    "coordinator/replay.py": (
        "tests/property/coordinator/test_group_reload.py",
        "replaying a log gives the same groups",
    ),
    "metadata/etcd_deadline.py": (
        "tests/unit/metadata/test_etcd_client.py",
        "every deadline of a call, on virtual time",
    ),
    "metadata/etcd_endpoints.py": (
        "tests/unit/metadata/test_etcd_client.py",
        "members that fail and come back",
    ),
    "metadata/etcd_errors.py": (
        "tests/unit/metadata/test_etcd_client.py",
        "refusals as etcd writes them",
    ),
    "metadata/etcd_messages.py": (
        "tests/unit/metadata/test_store_etcd.py",
        "requests as etcd gets them; a real one answers in tests/recovery",
    ),
    "metadata/image.py": ("tests/unit/metadata/test_changes.py", "values only"),
    "metadata/store.py": ("tests/unit/metadata/test_store_contract.py", "a protocol"),
    "metadata/store_feed.py": (
        "tests/unit/metadata/test_store_contract.py",
        "what every store does, held to one contract",
    ),
    "metadata/store_leases.py": (
        "tests/unit/metadata/test_store_contract.py",
        "what every store does, held to one contract",
    ),
    "metadata/store_memory.py": (
        "tests/unit/metadata/test_store_contract.py",
        "what every store does, held to one contract",
    ),
    "metadata/store_request.py": (
        "tests/unit/metadata/test_store_contract.py",
        "what every store does, held to one contract",
    ),
    "metadata/store_sqlite_file.py": (
        "tests/unit/metadata/test_store_sqlite.py",
        "the file and its thread together",
    ),
    "net/network.py": ("tests/unit/testing/test_network.py", "a protocol"),
    "storage/compaction/plan.py": (
        "tests/property/storage/test_compaction_model.py",
        "values only",
    ),
    "storage/compaction/survey.py": (
        "tests/property/storage/test_compaction_model.py",
        "what a log says of itself, as values",
    ),
    "storage/verify/batches.py": (
        "tests/unit/storage/test_verify.py",
        "every flipped bit of a segment",
    ),
    "storage/verify/directory.py": (
        "tests/unit/storage/test_verify.py",
        "checkpoints against the partitions",
    ),
    "storage/verify/findings.py": (
        "tests/unit/storage/test_verify.py",
        "values only",
    ),
    "storage/verify/indexes.py": (
        "tests/unit/storage/test_verify.py",
        "every flipped bit of an index",
    ),
    "storage/verify/partition.py": (
        "tests/unit/storage/test_verify.py",
        "every file of a partition, garbled",
    ),
    "storage/recovery/batches.py": (
        "tests/unit/storage/test_recovery.py",
        "every flipped bit, cut or met",
    ),
    "storage/recovery/epochs.py": (
        "tests/unit/storage/test_recovery.py",
        "what an epoch file does not say",
    ),
    "storage/recovery/files.py": (
        "tests/unit/storage/test_recovery.py",
        "what deaths leave in a directory",
    ),
    "storage/recovery/opening.py": (
        "tests/unit/storage/test_recovery.py",
        "logs after every kind of stop",
    ),
    "storage/recovery/producers.py": (
        "tests/unit/storage/test_recovery.py",
        "snapshots lost, garbled, made anew",
    ),
    "storage/directory.py": (
        "tests/unit/storage/test_faults.py",
        "what failing system calls do to a directory and its logs",
    ),
    "storage/expiry.py": ("tests/unit/storage/test_logs.py", "what a round of retention does"),
    "storage/flush.py": (
        "tests/unit/storage/test_faults.py",
        "a job is made, run and handed back by its log",
    ),
    "storage/log_config.py": ("tests/unit/storage/test_log.py", "values only"),
    "storage/log_values.py": ("tests/unit/storage/test_log.py", "values only"),
    "storage/memory_disk.py": (
        "tests/unit/storage/test_disk.py",
        "the real disk and this one keep one contract",
    ),
    "storage/older_reads.py": (
        "tests/property/storage/test_log_model.py",
        "reads from anywhere against the obvious log",
    ),
    "storage/producer_history.py": (
        "tests/property/storage/test_log_model.py",
        "what a truncation and a restart leave of the producers",
    ),
    "storage/segment.py": (
        "tests/unit/storage/test_goldens.py",
        "byte for byte what Kafka writes; the log is its only user",
    ),
    "storage/segments.py": ("tests/unit/storage/test_log.py", "a list; the log is its only user"),
    "storage/timestamps.py": (
        "tests/property/storage/test_log_model.py",
        "look-ups against the obvious log",
    ),
    "storage/truncation.py": (
        "tests/property/storage/test_log_model.py",
        "cuts against the obvious log",
    ),
    "storage/unsynced.py": (
        "tests/unit/storage/test_log.py",
        "what one flush covers; the log is its only user",
    ),
}


def modules() -> list[str]:
    return [
        path.relative_to(SOURCE).as_posix()
        for package in PACKAGES
        for path in sorted((SOURCE / package).rglob("*.py"))
        if path.name != "__init__.py"
    ]


def test_every_module_has_its_tests() -> None:
    missing = []
    for module in modules():
        folder, _, name = module.rpartition("/")
        mirror = REPOSITORY / "tests" / "unit" / folder / f"test_{name}"
        if not mirror.exists() and module not in ELSEWHERE:
            missing.append(module)
    assert not missing


@pytest.mark.parametrize("module", ELSEWHERE)
def test_what_is_covered_elsewhere_is_there(module: str) -> None:
    tests, reason = ELSEWHERE[module]
    assert module in modules()
    assert (REPOSITORY / tests).exists()
    assert reason
