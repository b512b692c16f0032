"""Every API in every version answers as Kafka 4.3.1 does, field by field.

The requests are in `tests/support/versions`; what Kafka answered is in
`tests/goldens/versions`, captured by `tools/probes/every_version.py`.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.conftest import AGAINST, under_test
from tests.support.versions import golden
from tests.support.versions.differences import DIFFERENCES, allowed
from tests.support.versions.scenarios import SCENARIOS
from tests.support.versions.talk import hold
from tests.support.versions.worlds import WORLDS, World

from ottla.handlers.registry import HANDLERS
from ottla.wire.apis import API

KAFKA = golden.read()

CONVERSATIONS = [
    (world, API[key].name, version)
    for world, key in sorted(SCENARIOS, key=lambda row: (list(WORLDS).index(row[0]), row[1]))
    for version in range(API[key].min_version, API[key].max_version + 1)
]

_held: set[tuple[str, str, int]] = set()


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """The broker of each world, started when it is first asked for."""
    begun = Worlds(tmp_path_factory)
    yield begun
    for world in begun.values():
        world.subject.kill9()


class Worlds(dict[str, World]):
    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._folders = folders

    def __missing__(self, name: str) -> World:
        folder: Path = self._folders.mktemp(name)
        world = self[name] = World(name, under_test(folder, WORLDS[name]))
        world.begin()
        return world


@pytest.mark.parametrize(
    ("name", "api", "version"), CONVERSATIONS, ids=[f"{w}-{a}-v{v}" for w, a, v in CONVERSATIONS]
)
def test_the_answers_are_kafkas(
    worlds: dict[str, World], name: str, api: str, version: int
) -> None:
    key = next(key for key, info in API.items() if info.name == api)
    ours = golden.plain(asyncio.run(hold(worlds[name].talk(key, version), name)))
    _held.add((name, api, version))
    theirs = KAFKA[name][api][str(version)]
    assert list(ours) == list(theirs), "other requests than Kafka was asked: capture them again"
    differing = []
    for case, (kind, answer) in ours.items():
        their_answer = theirs[case][1]
        found = list(golden.compared(api, their_answer, answer))
        known = [allowed(api, case, *row) for row in found]
        differing += [(case, *row) for row, ok in zip(found, known) if not ok]
        if not any(known):
            assert golden.fits(kind, answer), (case, kind, answer)
    assert not differing, "\n".join(
        f"{case}: {path}: Kafka {theirs!r}, Ottla {ours!r}"
        for case, path, theirs, ours in differing
    )


def test_every_api_served_is_asked_in_every_version() -> None:
    for key in HANDLERS:
        info = API[key]
        if info.name in OURS:
            continue
        versions = KAFKA["default"].get(info.name, {})
        served = [str(v) for v in range(info.min_version, info.max_version + 1)]
        assert list(versions) == served, f"{info.name} wants a scenario, and Kafka's answers to it"
        for version, cases in versions.items():
            kinds = [kind for kind, _ in cases.values()]
            assert kinds.count("good") >= 1 - (info.name in NEVER_SUCCEEDS), (info.name, version)
            assert kinds.count("bad") >= 2 - (info.name in NEVER_FAILS), (info.name, version)


OURS = {"DESCRIBE_REBALANCES", "ENVELOPE"}
"""APIs that Kafka has not, or not for clients."""

NEVER_SUCCEEDS = {"UNREGISTER_BROKER"}
"""APIs that a broker alone has nothing to do with."""

NEVER_FAILS = {
    "LIST_PARTITION_REASSIGNMENTS",
    "DESCRIBE_SHARE_GROUP_OFFSETS",
    "API_VERSIONS",
    "LIST_GROUPS",
    "LIST_CONFIG_RESOURCES",
    "DESCRIBE_CLUSTER",
    "DESCRIBE_LOG_DIRS",
    "DESCRIBE_GROUPS",
    "OFFSET_FETCH",
    "FIND_COORDINATOR",
    "LIST_TRANSACTIONS",
}
"""APIs that have versions whose every well-formed request succeeds: only a cut one fails."""


def test_every_difference_listed_is_seen() -> None:
    """A difference that is none any more leaves the table."""
    if AGAINST == "kafka" or len(_held) < len(CONVERSATIONS):
        pytest.skip("Ottla was not asked everything in this run")
    assert not [row for row in DIFFERENCES if not row.seen]
