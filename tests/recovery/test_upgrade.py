"""Three real brokers of the build before, rolled to this one under load, and back.

Nobody is told an error and nothing is lost. The older build's level is kept until all are of this
one; raised, an older broker does not get in any more.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.test_cli import Command
from tests.support.etcd import binary_or_skip
from tools.cluster.cluster import Broker, Cluster
from tools.cluster.shapes import SETTINGS
from tools.cluster.stage import Stage
from tools.subject import until
from tools.subject.build import build_of

from ottla.metadata.features import OTTLA_VERSION, SUPPORTED

BEFORE = "c48e8209ed7e4e0fcce77a0b36aa4082f57aaad4"
"""The last build that knew of no `ottla.version`."""

LEASE_MS = 2_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Of the build before; `broker.sources` is another one's where it is started again."""
    binary_or_skip()
    settings = {"broker.session.timeout.ms": str(LEASE_MS), **SETTINGS}
    made = Cluster(tmp_path / "cluster", network=False, settings=settings)
    before = build_of(BEFORE, tmp_path / "before")
    for broker in made.brokers.values():
        broker.sources = before
    with made:
        yield made


def roll(stage: Stage, broker: Broker, sources: str) -> None:
    """Stop it as asked, and start it of another build, when all that was is whole again."""
    with stage.disturbance(f"{broker.name} rolled"):
        broker.stop()
        broker.sources = sources
        broker.start()


def known(cluster: Cluster, number: int) -> dict[str, list[int]] | None:
    """What a broker's build supports, by its registration."""
    told = cluster.etcd.control("get", "--print-value-only", f"/ottla/registered/{number}")
    features: dict[str, list[int]] | None = json.loads(told).get("features")
    return features


def is_put_out(cluster: Cluster, number: int) -> bool:
    """Whether others saw a broker come, and it is not registered any more."""
    said = f"broker {number} is put out of the cluster: its build supports {OTTLA_VERSION} 1 to 1"
    others = [each for each in cluster.brokers.values() if each.number != number]
    lives = cluster.etcd.control("get", f"/ottla/broker/{number}")
    return not lives and any(said in each.log.read_text() for each in others)


def decisions(cluster: Cluster) -> int:
    """How many the controllers counted; what level 2 adds."""
    told = cluster.etcd.control("get", "--print-value-only", "/ottla/decided")
    return int(json.loads(told)["count"]) if told else 0


def level(ottla: Command) -> int:
    rows = ottla("feature", "list", "--format", "json").json
    return int({row["feature"]: row["level"] for row in rows}[OTTLA_VERSION])


def test_a_rolling_upgrade_and_downgrade(cluster: Cluster) -> None:
    one, two, three = cluster.brokers.values()
    before, here = one.sources, str(Path(__file__).parents[2] / "src")
    newest = SUPPORTED[OTTLA_VERSION][1]
    up = f"{OTTLA_VERSION}={newest}"
    ottla = Command(cluster.bootstrap)
    stage = Stage(cluster, "t", random.Random(1), print, members=2)
    stage.create()
    with stage.load():
        roll(stage, one, here)
        assert known(cluster, 1) == {name: list(each) for name, each in SUPPORTED.items()}
        assert known(cluster, 2) is None
        roll(stage, two, here)
        if stage.scene.controller() is three:
            roll(stage, three, before)  # it knows no such feature; another is to refuse
        assert "Broker 3 only supports versions 1-1" in ottla.fails("feature", "upgrade", up)
        roll(stage, three, here)
        assert level(ottla) == 1
        assert decisions(cluster) == 0
        ottla("feature", "upgrade")
        assert level(ottla) == newest
        ottla("topic", "create", "counted")
        assert decisions(cluster) > 0

        stage.scene.ended.add(3)
        three.stop()
        three.sources = before
        three.launch()
        until("it is put out", lambda: is_put_out(cluster, 3))
        three.kill9()  # it ends by itself, unless it was ready already

        ottla("feature", "downgrade", f"{OTTLA_VERSION}=1")
        counted = decisions(cluster)
        ottla("topic", "create", "not-counted")
        stage.scene.ended.clear()
        for broker in three, two, one:
            roll(stage, broker, before)
        assert decisions(cluster) == counted
        assert known(cluster, 1) is None
        roll(stage, one, here)  # its copy of the metadata was written at another level
    stage.compare()
    assert stage.journal.lines == []
    assert stage.journal.acknowledged_count > 0
