"""`ottla cluster export-metadata` and `rebuild-metadata`: what is shown, asked and refused."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ottla.cli import rebuild
from ottla.cli.cluster import cluster
from ottla.cli.exports import export_text, parse_export
from ottla.metadata import changes
from ottla.metadata.changes import KeyValue
from ottla.metadata.image import BrokerImage
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.model.holdings import HeldLog, Holdings, MetadataCopy
from ottla.model.randomness import Randomness
from ottla.storage.disk import RealDisk
from ottla.storage.logs import Logs
from ottla.testing.clock import LoopClock
from ottla.testing.randomness import SeededRandomness

TOPIC = bytes([7] * 16)
COPY = MetadataCopy(
    "c", 0, "e", 9, 4, dict([changes.cluster_key("c"), changes.topic_key(TOPIC, "rides", 0)]),
    {"partition/x/0": 8},
)  # fmt: skip
HELD = Holdings(
    "/data", "c", 1, bytes([1] * 16), "boot", False, 5,
    (HeldLog("rides", 0, TOPIC, 2, 3, 0, 10, 9), HeldLog("rides", 1, None, -1, -1, 0, 0, 0)),
    COPY, ("a file is torn",),
)  # fmt: skip


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cluster, [str(argument) for argument in arguments])


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> MemoryDatabase:
    """What stands for etcd."""
    found = MemoryDatabase()
    monkeypatch.setattr(rebuild, "etcd_store", lambda *given: opened(found))
    return found


def opened(database: MemoryDatabase) -> MemoryStore:
    return MemoryStore(LoopClock(asyncio.get_running_loop(), start_ms=0), database)


def put(database: MemoryDatabase, *puts: KeyValue) -> None:
    async def main() -> None:
        await opened(database).transact([], puts)

    asyncio.run(main())


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "1.json"
    path.write_text(export_text([HELD]))
    return path


def test_an_export_says_the_same_elsewhere(export: Path) -> None:
    assert parse_export(export.read_text()) == [HELD]
    for wrong in ("", "{}", '{"ottla_export": 2, "directories": []}'):
        with pytest.raises(ValueError, match="export-metadata"):
            parse_export(wrong)


def test_what_is_rebuilt_is_shown_and_written_once_it_is_confirmed(
    database: MemoryDatabase, export: Path
) -> None:
    asked = ("rebuild-metadata", "--etcd", "http://e:2379", "--export", export)
    shown = run(*asked)
    assert (shown.exit_code, database.items) == (1, {})
    assert "nothing was written" in shown.stderr
    assert "note: broker 1: a file is torn" in shown.stdout
    assert "cluster c: 1 topics, 2 partitions" in shown.stdout
    dry = run(*asked, "--dry-run", "--format", "json")
    assert (dry.exit_code, database.items) == (0, {})
    plan = json.loads(dry.stdout)
    assert plan["partitions"][0] == {
        "partition": "rides-0", "leader_epoch": 4, "replicas": [1], "in_sync": [1],
        "ends": ["1:10@2"],
    }  # fmt: skip
    written = run(*asked, "--yes")
    assert written.exit_code == 0, written.stderr
    assert "Start the brokers" in written.stderr
    assert len(database.items) == plan["keys"]


def test_a_store_that_somebody_uses_is_left_alone(database: MemoryDatabase, export: Path) -> None:
    asked = ("rebuild-metadata", "--etcd", "http://e:2379", "--export", export, "--yes")
    put(database, ("something", b"{}"))
    assert "1 keys of something else" in run(*asked).stderr
    put(database, changes.cluster_key("c"))
    assert "has metadata of cluster c" in run(*asked).stderr
    put(database, changes.broker_key(BrokerImage(3, 0, None, ())))
    assert "broker 3 is running" in run(*asked, "--merge").stderr
    database.items.pop("broker/3")
    assert run(*asked, "--merge").exit_code == 0
    assert "something" not in database.items


def test_what_is_not_given_must_be_named(database: MemoryDatabase, tmp_path: Path) -> None:
    state = changes.PartitionImage(2, 1, 0, (1, 2), (1, 2))
    keys = dict(
        [
            changes.cluster_key("c"),
            changes.partition_key(TOPIC, 0, state),
            changes.topic_key(TOPIC, "rides", 1),
        ]
    )
    path = tmp_path / "1.json"
    path.write_text(export_text([HELD._replace(copy=COPY._replace(keys=keys))]))
    asked = ("rebuild-metadata", "--etcd", "http://e:2379", "--export", path, "--yes")
    refused = run(*asked)
    assert (refused.exit_code, database.items) == (1, {})
    assert "REFUSED: the data of broker 2 is not given" in refused.stdout
    assert run(*asked, "--without", "2").exit_code == 0


def test_a_directory_is_read_unless_a_broker_has_it(tmp_path: Path) -> None:
    assert "no broker's data directory" in run("export-metadata", "--data", tmp_path).stderr
    randomness: Randomness = SeededRandomness(1)
    logs = Logs(RealDisk(), [str(tmp_path)], randomness)
    logs.start()
    logs.identify("c", 1)
    assert "in use by a broker" in run("export-metadata", "--data", tmp_path).stderr
    logs.release()
    (holdings,) = parse_export(run("export-metadata", "--data", tmp_path).stdout)
    assert (holdings.cluster_id, holdings.node_id, holdings.copy) == ("c", 1, None)


def test_directories_and_an_etcd_must_be_named(export: Path, tmp_path: Path) -> None:
    assert "--data DIR, or --export FILE" in run("rebuild-metadata", "--etcd", "http://e").stderr
    assert "Name the etcd" in run("rebuild-metadata", "--export", export).stderr
    other = tmp_path / "other.json"
    other.write_text("{}")
    asked = ("rebuild-metadata", "--etcd", "http://e", "--export", other)
    assert "other.json: not from" in run(*asked).stderr
