"""Three real brokers under load: bounced, restarted, cut short, moved, replaced; nobody notices.

Each test is one round of `tools.cluster.shapes` with another topic, on a cluster that they share;
`python -m tools.proof --only cluster-shapes` plays many.
"""

import random
from collections.abc import Iterator

import pytest
from tests.support.etcd import binary_or_skip
from tools.cluster.cluster import Cluster
from tools.cluster.network import NoNetworkError
from tools.cluster.shapes import SHAPES, Shape
from tools.proof import cluster_shapes
from tools.proof.cluster_faults import Outcome

LEASE_MS = 2_000
"""The shortest that etcd grants with its own settings."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    binary_or_skip()
    try:
        made = cluster_shapes.made(tmp_path_factory.mktemp("cluster"), LEASE_MS)
    except NoNetworkError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name.replace(" ", "-"))
def test_nothing_is_lost_and_clients_see_no_error(cluster: Cluster, shape: Shape) -> None:
    cluster.heal()
    outcome = Outcome()
    topic = shape.name.replace(" ", "-")
    cluster_shapes.play(cluster, shape, topic, random.Random(1), outcome, print)
    assert outcome.violations == []
    assert outcome.acknowledged > 0
    assert outcome.cycles
