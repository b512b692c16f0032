"""A setting that is said to have an effect is read somewhere."""

import re
from pathlib import Path

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.topic_keys import TOPIC_KEYS

SOURCE = Path(__file__).parents[2] / "src" / "ottla"

# Read inside ottla.config, which gives what follows from them.
READ_THERE = {
    "broker.id",
    "listener.security.protocol.map",
    "controller.listener.names",
    "log.dir",
    "log.roll.hours",
    "log.roll.jitter.hours",
    "log.retention.minutes",
    "log.retention.hours",
    "log.roll.ms",
    "log.roll.jitter.ms",
    "log.retention.ms",
    "log.flush.interval.ms",
    "log.flush.scheduler.interval.ms",
}
NAMED_OTHERWISE = {"max.connections.per.ip.overrides": "connections_per_ip"}


def test_what_has_an_effect_is_read() -> None:
    words: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        if "config" not in path.relative_to(SOURCE).parts[:1]:
            text = path.read_text(encoding="utf-8")
            words.update(re.findall(r"\w+", text))
            words.update(name.replace(".", "_") for name in re.findall(r'"([\w.]+)"', text))
    topic_default = {key.synonyms[0]: key.name for key in TOPIC_KEYS.values() if key.synonyms}
    idle = []
    for key in (*BROKER_KEYS.values(), *TOPIC_KEYS.values()):
        names = (key.name, topic_default.get(key.name, key.name))
        read = any(name.replace(".", "_") in words for name in names)
        if NAMED_OTHERWISE.get(key.name) in words or key.name in READ_THERE:
            read = True
        if key.has_effect and not read:
            idle.append(key.name)
    assert idle == []
