"""What `ottla serve` was told on its command line."""

from collections.abc import Mapping
from typing import NamedTuple


class TopicToCreate(NamedTuple):
    """-1 and None leave a choice to the broker's defaults."""

    name: str
    partitions: int = -1
    replication_factor: int = -1
    cleanup_policy: str | None = None


class ServeOptions(NamedTuple):
    """What the flags said, and only that: None and empty mean that a flag was not given.

    `overrides` are settings under Kafka's names; they win over environment and
    file, and `--listen` and `--port` are not among them. `dev` chooses other defaults.
    """

    data: str | None
    memory: bool
    port: int | None
    listen: tuple[str, ...]
    topics: tuple[TopicToCreate, ...]
    config_file: str | None
    overrides: Mapping[str, str]
    dev: bool = False
