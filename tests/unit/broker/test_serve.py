"""What `ottla serve` refuses before it starts anything, and when it ends by itself."""

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from ottla.broker import serve as serving
from ottla.broker.options import ServeOptions
from ottla.broker.serve import FAILED, USAGE, run
from ottla.storage.disk import RealDisk

STANDARD = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


def serve(
    capsys: pytest.CaptureFixture[str],
    *listen: str,
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return what it says on stderr when it refuses."""
    options = ServeOptions(None, True, None, listen, (), None, overrides or {})
    assert run(options, environment or {}) == USAGE
    return capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_a_listener_that_asks_for_protection_is_not_served_without(
    capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    said = serve(capsys, f"{protocol}://127.0.0.1:0")
    assert f"asks for {protocol}" in said


def test_a_listeners_protocol_counts_and_not_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    said = serve(
        capsys,
        "INSIDE://127.0.0.1:0",
        "OUTSIDE://127.0.0.1:0",
        overrides={"listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:SSL"},
    )
    assert "OUTSIDE://127.0.0.1:0 asks for SSL" in said


def test_permissions_that_would_not_be_checked_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "authorizer.class.name" in serve(capsys, overrides={"authorizer.class.name": STANDARD})


def test_a_container_is_told_what_to_advertise(capsys: pytest.CaptureFixture[str]) -> None:
    said = serve(capsys, "0.0.0.0:9092", environment={"container": "podman"})
    assert "advertised.listeners=PLAINTEXT://localhost:9092" in said


def test_wrong_settings_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert "log.retention.hours" in serve(capsys, overrides={"log.retention.hours": "soon"})


def test_a_port_that_is_taken_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        options = ServeOptions(None, True, port, (), (), None, {})
        assert run(options, {}) == FAILED
    captured = capsys.readouterr()
    assert f"PLAINTEXT://127.0.0.1:{port}" in captured.err
    assert "choose another with --port" in captured.err
    assert not captured.out


def test_a_directory_that_another_broker_has_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = RealDisk().lock(f"{tmp_path}/.lock")
    try:
        assert run(ServeOptions(str(tmp_path), False, 0, (), (), None, {}), {}) == FAILED
    finally:
        lock.release()
    captured = capsys.readouterr()
    assert f"log directory {tmp_path} is in use by another process" in captured.err
    assert not captured.out


def test_a_directory_that_cannot_be_made_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    options = ServeOptions(f"{tmp_path}/file/data", False, 0, (), (), None, {})
    assert run(options, {}) == FAILED
    captured = capsys.readouterr()
    assert "no log directory can be used" in captured.err
    assert not captured.out


@pytest.fixture
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("unfrozen")
def test_an_assertion_that_fails_anywhere_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a callback too, where no request could hear of it; and nothing says it was a clean end."""

    def wrong() -> NoReturn:
        raise AssertionError("an end below its start")

    def ready(broker: object) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(wrong)
        loop.call_later(30, signal.raise_signal, signal.SIGTERM)  # so that a failure is no hang

    monkeypatch.setattr(serving, "_say_ready", ready)
    options = ServeOptions(str(tmp_path), False, 0, (), (), None, {})
    assert run(options, {}) == FAILED
    assert "a check of the broker's own state failed: an end below its start" in caplog.text
    assert (tmp_path / "metadata.sqlite").exists()
    assert not (tmp_path / ".kafka_cleanshutdown").exists()
