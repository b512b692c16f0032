"""Names that cannot be, or that mean to escape: refused, and nothing appears on disk."""

from collections.abc import Iterator

import pytest
from tests.support.raw_client import RawClient
from tests.support.target import Site, Target, running_target
from tests.support.witness import PRODUCE_VERSION, batch, fetch_request, produce_request

from ottla.model.errors import ErrorCode
from ottla.wire.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        yield target


ILLEGAL = [
    "",
    ".",
    "..",
    "x" * 250,
    "a/b",
    "/etc/passwd",
    "../escape",
    "..\\escape",
    "nul\0",
    "line\nfeed",
    "spa ce",
    "ünïcode",
    "漢字",
    "💥",
    "a:b",
    "a,b",
    "%2e%2e%2f",
    "tab\t",
    "-\u202e",
]


def files(target: Target) -> set[str]:
    return {str(path.relative_to(target.subject.data.parent)) for path in
            target.subject.data.parent.rglob("*")}  # fmt: skip


async def create(client: RawClient, name: str, **configs: str | None) -> ErrorCode:
    topic = CreatableTopic(
        name=name,
        num_partitions=1,
        replication_factor=1,
        configs=[
            CreatableTopicConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )
    response = await client.call(CreateTopicsRequest(topics=[topic], timeout_ms=9_000), 5)
    return ErrorCode(response.topics[0].error_code)


@pytest.mark.parametrize("name", ILLEGAL)
def test_an_illegal_topic_name_is_refused_by_every_request(target: Target, name: str) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        before = files(target)
        assert await create(client, name) is ErrorCode.INVALID_TOPIC_EXCEPTION
        metadata = await client.call(
            MetadataRequest(
                topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=True
            ),
            4,
        )
        assert metadata.topics[0].error_code in (
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        )
        produced = await client.call(produce_request(name, batch(b"x")), PRODUCE_VERSION)
        assert produced.responses[0].partition_responses[0].error_code in (
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        )
        fetched = await client.call(fetch_request(name, 0), 12)
        assert fetched.responses[0].partitions[0].error_code in (
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        )
        assert files(target) == before

    target.withstands(case, log_lines=0)


@pytest.mark.parametrize("name", ["x" * 249, "...", "a..b", "-", "_", "..a", "CON", "a.log"])
def test_an_odd_but_legal_topic_name_is_served(target: Target, name: str) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        assert await create(client, name) is ErrorCode.NONE
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        while code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            produced = await client.call(produce_request(name, batch(b"x")), PRODUCE_VERSION)
            code = ErrorCode(produced.responses[0].partition_responses[0].error_code)
        assert code is ErrorCode.NONE

    target.withstands(case, log_lines=3)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("retention_ms", "soon", ErrorCode.INVALID_CONFIG),
        ("retention_ms", "1\n2", ErrorCode.INVALID_CONFIG),
        ("retention_ms", "9" * 100, ErrorCode.INVALID_CONFIG),
        ("segment_bytes", "-1", ErrorCode.INVALID_CONFIG),
        ("cleanup_policy", "../x", ErrorCode.INVALID_CONFIG),
        ("no_such_setting", "1", ErrorCode.INVALID_CONFIG),
        ("retention_ms\n", "1", ErrorCode.INVALID_CONFIG),
        ("", "1", ErrorCode.INVALID_CONFIG),
        ("retention_ms", None, ErrorCode.INVALID_CONFIG),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    target: Target, key: str, value: str | None, expected: ErrorCode
) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        assert await create(client, "unset", **{key: value}) is expected

    target.withstands(case)


NOT_YET = (
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
)


@pytest.mark.parametrize("group", ["line\nfeed", "nul\0", "../escape", "💥", "x" * 10_000, " "])
def test_a_group_may_have_any_name(target: Target, group: str) -> None:
    """Group names are keys of records, never of files."""

    async def case(site: Site) -> None:
        client = await site.connect()
        before = files(target)
        code = ErrorCode.NOT_COORDINATOR
        while code in NOT_YET:
            await client.call(FindCoordinatorRequest(key=group), 3)
            wanted = OffsetFetchRequestGroup(group_id=group, topics=None)
            response = await client.call(OffsetFetchRequest(groups=[wanted]), 8)
            code = ErrorCode(response.groups[0].error_code)
        assert code == ErrorCode.NONE
        created = files(target) - before
        assert not [file for file in created if "__consumer_offsets" not in file]

    target.withstands(case, log_lines=100)
