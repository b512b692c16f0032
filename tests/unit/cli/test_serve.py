"""What the flags of `ottla serve` come to."""

from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from ottla.cli import serve as command
from ottla.cli.serve import ServeOptions, TopicToCreate


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str, status: int = 0) -> ServeOptions:
    seen: list[ServeOptions] = []

    def run(options: ServeOptions) -> int:
        seen.append(options)
        return status

    def broker(name: str) -> Any:
        assert name == "ottla.broker.serve"
        return SimpleNamespace(run=run)

    monkeypatch.setattr(command.importlib, "import_module", broker)
    answer = CliRunner().invoke(command.serve, arguments, standalone_mode=False)
    assert answer.exception is None
    assert answer.return_value == status
    return seen[0]


def test_without_flags_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch) == ServeOptions(None, False, None, (), (), None, {})


def test_every_flag_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    options = asked(
        monkeypatch,
        *(
            "--data",
            "d",
            "--port",
            "0",
            "--topic",
            "a:3",
            "--topic",
            "b",
            "--topic",
            "c:1:1:compact",
        ),
        *("--set", "log.retention.ms=5", "--set", "x= y=z ", "--config", __file__),
    )
    assert options == ServeOptions(
        "d",
        False,
        0,
        (),
        (TopicToCreate("a", 3), TopicToCreate("b"), TopicToCreate("c", 1, 1, "compact")),
        __file__,
        {"log.retention.ms": "5", "x": "y=z"},
    )


def test_listeners_are_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    options = asked(monkeypatch, "--memory", "--listen", "0.0.0.0:9092", "--listen", "B://[::1]:1")
    assert options.memory
    assert options.listen == ("0.0.0.0:9092", "B://[::1]:1")


def test_the_brokers_status_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, "--memory", status=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--memory", "--data", "d"],
        ["--listen", "h:1", "--port", "1"],
        ["--port", "70000"],
        ["--topic", "a:0"],
        ["--topic", "a:x"],
        ["--topic", "../a:1"],
        ["--topic", "a:1:1:shrink"],
        ["--topic", "a:1:1:compact:more"],
        ["--set", "novalue"],
        ["extra"],
    ],
)
def test_wrong_usage_starts_nothing(arguments: list[str]) -> None:
    answer = CliRunner().invoke(command.serve, arguments)
    assert answer.exit_code == 2
    assert "Usage:" in answer.output
