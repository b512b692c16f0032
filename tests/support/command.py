"""`ottla ...` in the process of a test, by its real entry."""

import json
from typing import Any, NamedTuple

import pytest

from ottla.cli.main import main
from ottla.testing.embedded_cluster import EmbeddedCluster


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Ottla:
    """Runs commands against a cluster."""

    def __init__(self, cluster: EmbeddedCluster, capsys: pytest.CaptureFixture[str]) -> None:
        self.cluster = cluster
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> Said:
        """Run, and check the exit status."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([*arguments, "-b", self.cluster.bootstrap])
        out, err = self._capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int)
        assert code == status, (arguments, out, err)
        return Said(code, out, err)

    def json(self, *arguments: str, status: int = 0) -> Any:
        return self(*arguments, "--format", "json", status=status).json

    def replicas(self, topic: str) -> list[list[int]]:
        """The replicas of each partition, the preferred first."""
        (described,) = self.json("topic", "describe", topic)
        return [row["replicas"] for row in described["partitions"]]
