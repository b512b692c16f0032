"""A setting that is said to have an effect is read somewhere, and no other one is."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.key import Key
from ottla.config.topic_keys import TOPIC_KEYS

SOURCE = Path(__file__).parents[2] / "src" / "ottla"

# Read inside ottla.config, which gives what follows from them.
READ_THERE = {
    "listener.security.protocol.map",
    "controller.listener.names",
    "max.connections.per.ip.overrides",
    "log.dir",
    "log.roll.hours",
    "log.roll.jitter.hours",
    "log.retention.minutes",
    "log.retention.hours",
    "log.flush.scheduler.interval.ms",
    # Defaults and bounds of what a group may set (`group_config`).
    *(
        f"group.{kind}.{bound}{name}"
        for kind in ("consumer", "streams")
        for bound in ("", "min.", "max.")
        for name in ("assignment.interval.ms", "heartbeat.interval.ms", "session.timeout.ms")
    ),
    "group.streams.initial.rebalance.delay.ms",
    "group.streams.num.standby.replicas",
    "group.streams.max.standby.replicas",
    *(
        f"group.share.{bound}{name}"
        for bound in ("", "min.", "max.")
        for name in (
            "assignment.interval.ms",
            "heartbeat.interval.ms",
            "session.timeout.ms",
            "delivery.count.limit",
            "partition.max.record.locks",
            "record.lock.duration.ms",
        )
    ),
}


def readers() -> Iterator[Path]:
    """The broker's own modules: a client and the messages have fields of the same names."""
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] not in ("config", "client", "cli", "wire"):
            yield path


def names_read(text: str) -> set[str]:
    """Return what a module reads: attributes, and texts between brackets or as arguments."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        quoted: list[ast.expr] = []
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.Subscript):
            quoted = [node.slice]
        elif isinstance(node, ast.Call):
            quoted = node.args
        found.update(
            one.value.replace(".", "_")
            for one in quoted
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
        )
    return found


def is_read(key: Key, names: set[str]) -> bool:
    """A topic's setting and the broker's default of it are one: either is read."""
    topic = next((one for one in TOPIC_KEYS.values() if key.name in one.synonyms[:1]), key)
    return any(name.replace(".", "_") in names for name in (key.name, topic.name))


def test_what_has_an_effect_is_read_and_nothing_else_is() -> None:
    names = set().union(*(names_read(path.read_text(encoding="utf-8")) for path in readers()))
    keys = (*BROKER_KEYS.values(), *TOPIC_KEYS.values())
    idle = {key.name for key in keys if key.has_effect and not is_read(key, names)}
    denied = {key.name for key in keys if not key.has_effect and is_read(key, names)}
    assert idle == READ_THERE
    assert denied == set()


def test_what_counts_as_read() -> None:
    text = """
config.node_id = config.log_dirs, values["num.partitions"], integer("log.dir")
topic = {"min.insync.replicas": 1}
"""
    assert names_read(text) == {"log_dirs", "num_partitions", "log_dir"}
