"""A sample of the hostile frames of `make proof`, from sixteen attackers beside a probe."""

from pathlib import Path

import pytest
from tests.support.target import running_target
from tools.proof import frames


@pytest.mark.parametrize("seed", [0, 1])
def test_mutated_frames_harm_nobody(tmp_path: Path, seed: int) -> None:
    with running_target(tmp_path) as target:
        if target.is_kafka:
            pytest.skip("noise is for us alone")
        outcome = frames.run(target, 1_000, seed, print)
    assert not outcome.violations
    assert outcome.frames >= 1_000
    assert outcome.closed > 100
    assert outcome.probes > 5
