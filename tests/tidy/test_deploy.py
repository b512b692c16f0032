"""What deploy/ and the page for who runs a cluster say can be said to the program.

Command lines are taken by its parsers, and settings by the broker's configuration; nothing is run.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.support.tree import texts
from tools.layers import REPOSITORY

from ottla.cli.main import cli
from ottla.config.broker_config import BrokerConfig
from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.environment import read_environment
from ottla.config.resolve import combine, from_file
from ottla.config.topic_keys import TOPIC_KEYS
from ottla.metadata.etcd_options import EtcdOptions

PAGE = Path("docs/cluster.md")
CLIENTS = {"delivery.timeout.ms", "socket.timeout.ms"}
"""Settings of clients that the page names."""

_SPAN = re.compile(r"`([^`\n]+)`")
_SHOWN = re.compile(r"^\$ (.*\bottla .*)$", re.MULTILINE)
_SHELL = re.compile(r"[|;&]|\bfor\b|\bdo\b|\bdone\b")
_LIST = re.compile(r"\[\"(?:CMD\", \")?ottla\".*\]|(?<=args: )\[.*\]")
_YAML_PAIR = re.compile(r"^ *(KAFKA_\w+): (.+)$", re.MULTILINE)
_YAML_ENV = re.compile(r"- name: (KAFKA_\w+)\n +value: (.+)$", re.MULTILINE)
_NAME = re.compile(r"(?!.*\.(?:yaml|env|service|properties)$)[a-z]+(\.[a-z]+)+")
_REFERENCE = re.compile(r"\$\((\w+)\)")


def deployed() -> dict[Path, str]:
    return {path: text for path, text in texts() if path.parts[0] == "deploy"}


def command_lines(path: Path, text: str) -> Iterator[list[str]]:
    """Every `ottla ...` that a text tells to run, without its first word."""
    found = []
    if path.suffix == ".md":
        found += [span for span in _SPAN.findall(text) if span.startswith("ottla ")]
        found += _SHOWN.findall(text)
    elif path.suffix == ".yaml":
        for listed in _LIST.finditer(text):
            words = [word for word in json.loads(listed.group()) if word not in ("CMD", "ottla")]
            yield words
    if path.suffix in (".yaml", ".service"):
        found += re.findall(r"^#? *(?:ExecStart=\S*/)?(ottla .*)$", text, re.MULTILINE)
        found += [span for span in _SPAN.findall(text) if span.startswith("ottla ")]
    for line in found:
        for part in _SHELL.split(line):
            words = shlex.split(part)
            while words and words[0] != "ottla":
                words = words[1:]
            if words:
                yield words[1:]


def check_command(words: list[str]) -> None:
    """Raise click.ClickException if the program would refuse these words."""
    command: click.Command = cli
    context = click.Context(cli, info_name="ottla")
    rest = list(words)
    while isinstance(command, click.Group):
        if not rest:
            return  # a group that is only named
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    if not rest and words:
        return  # a command that is only named
    command.make_context(context.info_name, rest, parent=context.parent)


def settings_problems(environment: dict[str, str], file: str = "") -> list[str]:
    """What a broker would warn about or refuse."""
    read = read_environment(environment)
    static = combine({}, read.settings, from_file(file, "server.properties"))
    problems = [*read.infos, *static.infos, *static.warnings]
    config = BrokerConfig(static.texts())
    endpoints = config.values["metadata.etcd.endpoints"]
    assert isinstance(endpoints, tuple)
    if len(EtcdOptions(endpoints=[str(each) for each in endpoints]).parsed_endpoints()) != 3:
        problems.append("there are not three members of etcd")
    reachable = {listener.name for listener in config.listeners} == set(config.advertised_listeners)
    return problems if reachable else [*problems, "a listener is not advertised"]


def test_command_lines_are_taken(tmp_path: Path) -> None:
    refused = {}
    seen = 0
    for path, text in {PAGE: (REPOSITORY / PAGE).read_text(), **deployed()}.items():
        for words in command_lines(path, text):
            known = [
                word if not word.startswith("/etc/") else str(REPOSITORY / PAGE) for word in words
            ]
            seen += 1
            try:
                check_command(known)
            except click.ClickException as error:
                refused[f"{path}: {shlex.join(words)}"] = error.format_message()
    assert not refused
    assert seen > 30


@pytest.mark.parametrize("name", ["compose/compose.yaml", "kubernetes/ottla.yaml"])
def test_brokers_in_containers_are_configured(name: str) -> None:
    text = (REPOSITORY / "deploy" / name).read_text()
    pairs = [*_YAML_PAIR.findall(text), *_YAML_ENV.findall(text)]
    values = {key: _REFERENCE.sub("pod", value.strip('"')) for key, value in pairs}
    assert not settings_problems(values)
    assert "KAFKA_NODE_ID" in text


def test_a_broker_of_systemd_is_configured() -> None:
    assert not settings_problems({}, (REPOSITORY / "deploy/server.properties").read_text())


def test_the_page_names_settings_that_there_are() -> None:
    text = re.sub(r"^```.*?^```", "", (REPOSITORY / PAGE).read_text(), flags=re.M | re.S)
    known = {*BROKER_KEYS, *TOPIC_KEYS, *CLIENTS}
    spans = {span.partition("=")[0] for span in _SPAN.findall(text)}
    named = {span for span in spans if _NAME.fullmatch(span)}
    assert len(named) > 15
    assert not sorted(named - known)


@pytest.mark.parametrize(
    "line", ["cluster helth", "cluster health --wait soon", "broker drain", "topic list -x"]
)
def test_what_is_refused(line: str) -> None:
    with pytest.raises(click.ClickException):
        check_command([*line.split(), *([] if " -" in line else ["x"])])


def test_what_is_warned_of() -> None:
    good = {
        "KAFKA_METADATA_ETCD_ENDPOINTS": "http://a:2379,http://b:2379,http://c:2379",
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://a:9092",
    }
    assert not settings_problems(good)
    assert settings_problems({**good, "KAFKA_MIN_INSINC_REPLICAS": "2"})
