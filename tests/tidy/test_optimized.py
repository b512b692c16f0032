"""`python -O` is refused: assertions protect what is on disk."""

import os
import subprocess
import sys

import pytest
from tools.layers import REPOSITORY


@pytest.mark.parametrize("how", [["-O"], ["-OO"]])
def test_a_broker_without_assertions_does_not_start(how: list[str]) -> None:
    command = [sys.executable, *how, "-m", "ottla", "serve", "--memory", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "python -O is refused" in done.stderr
    assert done.stdout == ""


def test_assertions_are_on_in_tests() -> None:
    assert __debug__
