"""Four brokers for the commands, and none of their waits."""

from collections.abc import Iterator

import pytest
from tests.support.command import Ottla

from ottla.testing.embedded_cluster import EmbeddedCluster


@pytest.fixture
def ottla(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ottla]:
    """Four brokers in two racks, and a topic of three partitions with three replicas."""
    for command in ("cluster", "moving"):
        monkeypatch.setattr(f"ottla.cli.{command}.LOOK_S", 0.001)
    racks = {number: {"broker.rack": "ab"[number % 2]} for number in range(1, 5)}
    with EmbeddedCluster(4, topics={"rides": 3}, settings_of=racks) as cluster:
        yield Ottla(cluster, capsys)
