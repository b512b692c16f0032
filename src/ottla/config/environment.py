"""Settings from the environment, as the Docker images spell them.

apache/kafka and cp-kafka: `KAFKA_` and the name in capitals, with `.` as `_`,
`_` as `__` and `-` as `___`. Bitnami: `KAFKA_CFG_` instead. wurstmeister:
`KAFKA_CREATE_TOPICS`, `KAFKA_ADVERTISED_HOST_NAME`. A variable never makes the
start fail by being there: what is foreign is listed once, what is unknown is
warned about, both by `resolve.combine` or here.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from ottla.config.key import ConfigError
from ottla.config.resolve import Setting

SECRETS_DIRECTORY = "/etc/kafka/secrets"


class SeedTopic(NamedTuple):
    """A topic to create at the start; None leaves the choice to the broker."""

    name: str
    partitions: int | None = None
    replication_factor: int | None = None
    configs: Mapping[str, str] = {}


class Environment(NamedTuple):
    settings: Mapping[str, Setting]
    cluster_id: str | None = None
    topics: tuple[SeedTopic, ...] = ()
    secret_files: Mapping[str, str] = {}
    """Settings whose value is the content of a file: name -> path."""
    infos: tuple[str, ...] = ()


_JVM = frozenset(
    f"KAFKA_{name}"
    for name in (
        "HEAP_OPTS", "OPTS", "JVM_PERFORMANCE_OPTS", "GC_LOG_OPTS", "JMX_OPTS", "JMX_PORT",
        "JMX_HOSTNAME", "LOG4J_OPTS", "LOG4J_ROOT_LOGLEVEL", "LOG4J_LOGGERS", "VERSION", "HOME",
        "TOOLS_LOG4J_LOGLEVEL", "SCALA_VERSION", "DEBUG", "ENABLE_KRAFT", "BASE_DIR", "CONF_DIR",
        "CREATE_TOPICS_SEPARATOR", "VOLUME_DIR", "DATA_DIR", "CERTIFICATE_PASSWORD",
    )
)  # fmt: skip
_JVM_PREFIXES = ("KAFKA_JMX_", "KAFKA_LOG4J_", "KAFKA_ZOOKEEPER_")
# Kubernetes describes a service called "kafka" with variables of its own.
_SERVICE_LINK = r"KAFKA_(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP).*)?)"
_DOCKER_SECRETS = {
    "KAFKA_SSL_KEYSTORE_FILENAME": "ssl.keystore.location",
    "KAFKA_SSL_TRUSTSTORE_FILENAME": "ssl.truststore.location",
    "KAFKA_SSL_KEYSTORE_CREDENTIALS": "ssl.keystore.password",
    "KAFKA_SSL_KEY_CREDENTIALS": "ssl.key.password",
    "KAFKA_SSL_TRUSTSTORE_CREDENTIALS": "ssl.truststore.password",
}


def read_environment(environment: Mapping[str, str]) -> Environment:
    """Return what the environment says about the broker.

    Raises:
        ConfigError: KAFKA_CREATE_TOPICS cannot be read.
    """
    settings: dict[str, Setting] = {}
    secret_files: dict[str, str] = {}
    ignored: list[str] = []
    # Bitnami's prefix contains the other: read it first, so that the exact one wins.
    for variable in sorted(environment, key=lambda name: not name.startswith("KAFKA_CFG_")):
        text = environment[variable]
        if not variable.startswith("KAFKA_") or variable in _HANDLED:
            continue
        if re.fullmatch(_SERVICE_LINK, variable):
            continue
        if variable in _DOCKER_SECRETS:
            path = f"{SECRETS_DIRECTORY}/{text}"
            if variable.endswith("_FILENAME"):
                settings[_DOCKER_SECRETS[variable]] = Setting(path, variable)
            else:
                secret_files[_DOCKER_SECRETS[variable]] = path
        elif variable in _JVM or variable.startswith(_JVM_PREFIXES):
            ignored.append(variable)
        else:
            settings[setting_name(variable)] = Setting(text, variable)
    _wurstmeister(environment, settings)
    infos: tuple[str, ...] = ()
    if ignored:
        infos = (f"Environment without effect (JVM, ZooKeeper): {', '.join(ignored)}",)
    return Environment(
        settings,
        environment.get("CLUSTER_ID") or environment.get("KAFKA_KRAFT_CLUSTER_ID") or None,
        parse_create_topics(
            environment.get("KAFKA_CREATE_TOPICS", ""),
            environment.get("KAFKA_CREATE_TOPICS_SEPARATOR") or ",",
        ),
        secret_files,
        infos,
    )


_HANDLED = frozenset(
    (
        "KAFKA_CREATE_TOPICS",
        "KAFKA_CREATE_TOPICS_SEPARATOR",
        "KAFKA_KRAFT_CLUSTER_ID",
        "KAFKA_ADVERTISED_HOST_NAME",
        "KAFKA_ADVERTISED_PORT",
    )
)


def setting_name(variable: str) -> str:
    """Return the setting that a `KAFKA_` or `KAFKA_CFG_` variable means."""
    rest = variable.removeprefix("KAFKA_").removeprefix("CFG_").lower()
    return re.sub("_{1,3}", lambda run: "._-"[len(run[0]) - 1], rest)


def variable_name(setting: str) -> str:
    """Return the variable for a setting: the reverse of `setting_name`."""
    spelled = setting.replace("_", "__").replace("-", "___").replace(".", "_")
    return "KAFKA_" + spelled.upper()


def parse_create_topics(text: str, separator: str = ",") -> tuple[SeedTopic, ...]:
    """Read `name:partitions:replicas[:cleanup policy]`, several separated by commas."""
    topics = []
    for part in filter(
        None, (part.strip() for part in re.split(f"{re.escape(separator)}|\n", text))
    ):
        name, *fields = (field.strip() for field in part.split(":"))
        if len(fields) > 3 or not name:
            raise ConfigError(
                f"KAFKA_CREATE_TOPICS: {part} is not name:partitions:replicas[:cleanup policy]"
            )
        numbers: list[int | None] = [None, None]
        for index, field in enumerate(fields[:2]):
            if field and not re.fullmatch("[0-9]+", field):
                raise ConfigError(f"KAFKA_CREATE_TOPICS: {part}: {field} is not a number")
            numbers[index] = int(field) if field else None
        configs = {"cleanup.policy": fields[2]} if len(fields) == 3 and fields[2] else {}
        topics.append(SeedTopic(name, numbers[0], numbers[1], configs))
    return tuple(topics)


def _wurstmeister(environment: Mapping[str, str], settings: dict[str, Setting]) -> None:
    host = environment.get("KAFKA_ADVERTISED_HOST_NAME")
    if host and "advertised.listeners" not in settings:
        port = environment.get("KAFKA_ADVERTISED_PORT") or "9092"
        settings["advertised.listeners"] = Setting(
            f"PLAINTEXT://{host}:{port}", "KAFKA_ADVERTISED_HOST_NAME"
        )
    if "broker.id" in settings and settings["broker.id"].text.strip() == "-1":
        del settings["broker.id"]  # their word for "choose one"
