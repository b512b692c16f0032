"""What every test shares: tests that need Java say so, and are counted when they cannot run."""

import os

import pytest
from hypothesis import settings
from tools import kafka

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("ottla", deadline=None)
settings.load_profile("ottla")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `java` where Kafka cannot be run; where CI=true that is a failure."""
    if item.get_closest_marker("java") is None:
        return
    reason = kafka.missing()
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs Kafka's own classes, {reason}", pytrace=False)
    pytest.skip(f"java: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped for want of Java."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and "java: " in report.longrepr[2]
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {skipped[0].longrepr[2]}")
